//! Level-triggered reports.

use std::io::{Read, Write};
use std::time::Duration;

use ropewalk_os::{Interest, Readiness};

use crate::support::{Fixture, allow_descriptors, drain, fill, pair};

pub(crate) fn undrained_input_is_reported_again(f: &mut Fixture) {
    let (mut near, mut far) = pair();
    f.register(&near, 1, Interest::READABLE);
    assert_eq!(f.now(), []);
    far.write_all(b"two").unwrap();
    for _ in 0..3 {
        assert_eq!(f.now(), [(1, Readiness::READABLE)]);
    }
    near.read_exact(&mut [0]).unwrap();
    assert_eq!(f.now(), [(1, Readiness::READABLE)]);
    drain(&mut near);
    assert_eq!(f.now(), []);
}

pub(crate) fn reading_and_writing_are_one_event(f: &mut Fixture) {
    let (near, mut far) = pair();
    far.write_all(b"x").unwrap();
    f.register(&near, 1, Interest::BOTH);
    assert_eq!(f.now(), [(1, Readiness::READABLE | Readiness::WRITABLE)]);
}

pub(crate) fn a_modified_interest_changes_what_is_reported(f: &mut Fixture) {
    let (near, mut far) = pair();
    far.write_all(b"x").unwrap();
    f.register(&near, 1, Interest::READABLE);
    assert_eq!(f.now(), [(1, Readiness::READABLE)]);
    f.modify(&near, 1, Interest::WRITABLE);
    assert_eq!(f.now(), [(1, Readiness::WRITABLE)]);
    f.modify(&near, 1, Interest::NONE);
    assert_eq!(f.now(), []);
    f.modify(&near, 1, Interest::READABLE);
    assert_eq!(f.now(), [(1, Readiness::READABLE)]);
}

pub(crate) fn a_modified_token_is_reported(f: &mut Fixture) {
    let (near, _far) = pair();
    f.register(&near, 1, Interest::WRITABLE);
    f.modify(&near, 2, Interest::WRITABLE);
    assert_eq!(f.now(), [(2, Readiness::WRITABLE)]);
}

pub(crate) fn a_deregistered_source_is_silent_at_once(f: &mut Fixture) {
    let (near, far) = pair();
    f.register(&near, 1, Interest::WRITABLE);
    f.register(&far, 2, Interest::WRITABLE);
    assert_eq!(f.now().len(), 2);
    f.deregister(&near);
    assert_eq!(f.now(), [(2, Readiness::WRITABLE)]);
    f.deregister(&far);
    assert_eq!(f.now(), []);
}

pub(crate) fn a_deregistered_source_can_be_registered_again(f: &mut Fixture) {
    let (near, _far) = pair();
    f.register(&near, 1, Interest::WRITABLE);
    f.deregister(&near);
    f.register(&near, 2, Interest::WRITABLE);
    assert_eq!(f.now(), [(2, Readiness::WRITABLE)]);
}

pub(crate) fn a_full_socket_is_not_writable_until_it_is_read(f: &mut Fixture) {
    let (mut near, mut far) = pair();
    f.register(&near, 1, Interest::WRITABLE);
    let sent = fill(&mut near);
    assert_eq!(f.now(), []);
    assert_eq!(drain(&mut far), sent);
    assert_eq!(f.now(), [(1, Readiness::WRITABLE)]);
}

pub(crate) fn a_wait_replaces_the_events_of_the_one_before(f: &mut Fixture) {
    let (mut near, mut far) = pair();
    f.register(&near, 1, Interest::READABLE);
    far.write_all(b"x").unwrap();
    assert_eq!(f.now().len(), 1);
    assert_eq!(f.now().len(), 1);
    drain(&mut near);
    assert_eq!(f.wait(Some(Duration::from_millis(1))), []);
}

/// By one wait or by several: a poller may report in portions, but may starve nobody.
pub(crate) fn a_thousand_ready_sources_are_all_reported(f: &mut Fixture) {
    allow_descriptors(4096);
    let mut pairs: Vec<_> = (0..1000).map(|_| pair()).collect();
    for (token, (near, far)) in (0..).zip(&mut pairs) {
        f.register(near, token, Interest::READABLE);
        far.write_all(b"x").unwrap();
    }
    let mut reports = vec![0; pairs.len()];
    for _ in 0..100 {
        for (token, readiness) in f.now() {
            assert_eq!(readiness, Readiness::READABLE);
            reports[token as usize] += 1;
        }
        if reports.iter().all(|count| *count > 0) {
            break;
        }
    }
    assert!(reports.iter().all(|count| *count > 0), "{reports:?}");
    // Having grown, it reports them all at once, and each one once.
    let slots: Vec<_> = f.now().into_iter().map(|(token, _)| token).collect();
    assert_eq!(slots, (0..1000).collect::<Vec<_>>());
}
