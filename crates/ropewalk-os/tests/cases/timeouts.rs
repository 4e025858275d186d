//! How long a wait takes.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use ropewalk_os::{Interest, Readiness};

use crate::support::{Fixture, SOON, pair};

pub(crate) fn a_wait_never_ends_before_its_timeout(f: &mut Fixture) {
    let (near, _far) = pair();
    f.register(&near, 1, Interest::READABLE);
    for nanoseconds in [1, 1_000, 400_000, 1_000_000, 1_500_000, 7_000_001] {
        let timeout = Duration::from_nanos(nanoseconds);
        for _ in 0..5 {
            let start = Instant::now();
            assert_eq!(f.wait(Some(timeout)), []);
            let took = start.elapsed();
            assert!(took >= timeout, "{took:?} instead of {timeout:?}");
        }
    }
}

pub(crate) fn a_zero_timeout_does_not_block(f: &mut Fixture) {
    let (near, _far) = pair();
    f.register(&near, 1, Interest::READABLE);
    let start = Instant::now();
    for _ in 0..100 {
        assert_eq!(f.wait(Some(Duration::ZERO)), []);
    }
    // A wait of one millisecond each would take longer; so would a blocking one.
    assert!(start.elapsed() < Duration::from_millis(90));
}

pub(crate) fn a_wait_without_limit_ends_with_an_event(f: &mut Fixture) {
    let (near, mut far) = pair();
    f.register(&near, 1, Interest::READABLE);
    let writer = thread::spawn(move || {
        far.write_all(b"x").unwrap();
        far
    });
    let events = f.wait(None);
    assert_eq!(events.len(), 1);
    assert!(events[0].1.contains(Readiness::READABLE));
    writer.join().unwrap();
}

/// What a timer for the end of time asks for; the event comes first.
pub(crate) fn an_enormous_timeout_is_no_error(f: &mut Fixture) {
    let (near, _far) = pair();
    f.register(&near, 1, Interest::WRITABLE);
    let centuries = Duration::from_secs(u64::from(u32::MAX));
    for timeout in [
        Duration::MAX,
        centuries,
        centuries + Duration::from_nanos(1),
    ] {
        let start = Instant::now();
        assert_eq!(f.wait(Some(timeout)).len(), 1);
        assert!(start.elapsed() < SOON);
    }
}
