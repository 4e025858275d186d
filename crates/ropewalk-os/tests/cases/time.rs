//! How long a wait lasts.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use ropewalk_os::{Interest, Token};
use ropewalk_testkit::socket_pair;

use super::readable_pair;
use crate::fixture::{Fixture, PATIENCE};

const TOKEN: Token = Token::new(0, 0);

pub(crate) fn a_wait_never_ends_before_its_timeout(fixture: &mut Fixture) {
    for microseconds in [1, 400, 999, 1000, 1001, 1500, 3300] {
        let timeout = Duration::from_micros(microseconds);
        for _ in 0..10 {
            let start = Instant::now();
            assert_eq!(fixture.wait(timeout), []);
            let elapsed = start.elapsed();
            assert!(elapsed >= timeout, "{elapsed:?} of {timeout:?}");
        }
    }
}

pub(crate) fn a_positive_timeout_never_becomes_zero(fixture: &mut Fixture) {
    let exact = fixture.poller.capabilities().sub_millisecond;
    let elapsed: Vec<_> = (0..50)
        .map(|_| {
            let start = Instant::now();
            fixture.wait(Duration::from_micros(200));
            start.elapsed()
        })
        .collect();
    let shortest = elapsed.iter().min().unwrap();
    if exact {
        assert!(*shortest < Duration::from_millis(1), "{shortest:?}");
    } else {
        assert!(*shortest >= Duration::from_millis(1), "{shortest:?}");
    }
}

pub(crate) fn a_deadline_is_met_with_one_wait(fixture: &mut Fixture) {
    for microseconds in [30, 400, 999, 1001, 2500] {
        let deadline = Instant::now() + Duration::from_micros(microseconds);
        let mut waits = 0;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            fixture.wait(left);
            waits += 1;
        }
        // None if this thread was held up until it was over.
        assert!(waits <= 1, "{waits} waits for {microseconds} µs");
    }
}

pub(crate) fn an_event_ends_a_wait_longer_than_one_call_can_take(fixture: &mut Fixture) {
    for timeout in [Duration::from_secs(25 * 24 * 3600), Duration::MAX] {
        let (mut near, mut far) = socket_pair();
        fixture
            .watch(near.as_raw_fd(), TOKEN, Interest::READABLE)
            .unwrap();
        let writer = thread::spawn(move || {
            // Most likely after the wait has begun; true of either order.
            thread::sleep(Duration::from_millis(5));
            far.write_all(b"rope").unwrap();
            far
        });
        assert_eq!(fixture.wait(timeout).len(), 1);
        writer.join().unwrap();
        near.read_exact(&mut [0; 4]).unwrap();
        fixture.poller.deregister(near.as_raw_fd()).unwrap();
    }
}

pub(crate) fn a_zero_timeout_does_not_block(fixture: &mut Fixture) {
    let start = Instant::now();
    for _ in 0..1000 {
        assert_eq!(fixture.wait(Duration::ZERO), []);
    }
    // Were each one millisecond, as the shortest wait of a coarse poller is, it would be a second.
    assert!(
        start.elapsed() < Duration::from_millis(900),
        "{:?}",
        start.elapsed()
    );
}

pub(crate) fn an_event_ends_the_wait(fixture: &mut Fixture) {
    let (near, _far) = readable_pair();
    fixture
        .watch(near.as_raw_fd(), TOKEN, Interest::READABLE)
        .unwrap();
    let start = Instant::now();
    assert_eq!(fixture.wait(PATIENCE).len(), 1);
    assert!(start.elapsed() < PATIENCE / 2);
}

pub(crate) fn a_timeout_beyond_all_limits_is_accepted(fixture: &mut Fixture) {
    let (near, _far) = readable_pair();
    fixture
        .watch(near.as_raw_fd(), TOKEN, Interest::READABLE)
        .unwrap();
    let days = Duration::from_secs(24 * 3600);
    for timeout in [25 * days, 25 * days + Duration::from_nanos(1)] {
        assert_eq!(fixture.wait(timeout).len(), 1);
    }
    let limit = Duration::from_secs(i64::MAX as u64);
    for timeout in [limit, limit + Duration::from_nanos(1), Duration::MAX] {
        assert_eq!(fixture.wait(timeout).len(), 1);
    }
    let mut events = ropewalk_os::Events::new();
    fixture.poller.wait(&mut events, None).unwrap();
    assert_eq!(events.len(), 1);
}
