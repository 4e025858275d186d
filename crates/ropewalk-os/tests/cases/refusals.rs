//! What a poller refuses, and what it survives.

use std::io::{ErrorKind, Write};
use std::os::fd::AsRawFd;

use ropewalk_os::{Interest, Readiness, Token};

use crate::support::{Fixture, pair};

pub(crate) fn a_closed_number_is_refused(f: &mut Fixture) {
    for number in [-1, 1_000_000_000] {
        let error = f.try_register(number, 1, Interest::READABLE).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{number}");
    }
    assert_eq!(f.now(), []);
}

pub(crate) fn a_second_registration_is_refused(f: &mut Fixture) {
    let (near, _far) = pair();
    f.register(&near, 1, Interest::WRITABLE);
    let error = f
        .try_register(near.as_raw_fd(), 2, Interest::READABLE)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(f.now(), [(1, Readiness::WRITABLE)]);
}

pub(crate) fn an_unknown_source_is_not_found(f: &mut Fixture) {
    let (near, _far) = pair();
    let number = near.as_raw_fd();
    // SAFETY: `near` is open.
    let modified = unsafe { f.poller.modify(number, Token::new(1, 0), Interest::BOTH) };
    assert_eq!(modified.unwrap_err().kind(), ErrorKind::NotFound);
    let deregistered = f.poller.deregister(number);
    assert_eq!(deregistered.unwrap_err().kind(), ErrorKind::NotFound);
    f.register(&near, 1, Interest::WRITABLE);
    f.deregister(&near);
    let deregistered = f.poller.deregister(number);
    assert_eq!(deregistered.unwrap_err().kind(), ErrorKind::NotFound);
}

pub(crate) fn a_number_closed_behind_our_back_does_no_harm(f: &mut Fixture) {
    let (near, mut far) = pair();
    let (other, mut other_far) = pair();
    let number = near.as_raw_fd();
    f.register(&near, 1, Interest::READABLE);
    f.register(&other, 2, Interest::READABLE);
    far.write_all(b"x").unwrap();
    other_far.write_all(b"x").unwrap();
    drop(near);
    for event in f.now() {
        let expected = [(1, Readiness::INVALID), (2, Readiness::READABLE)];
        assert!(expected.contains(&event), "{event:?}");
    }
    // Whether it is still watched depends on the poller; afterwards it is not.
    f.poller.deregister(number).ok();
    assert_eq!(f.now(), [(2, Readiness::READABLE)]);
}

pub(crate) fn a_descriptor_is_offered_if_the_capabilities_say_so(f: &mut Fixture) {
    let (near, mut far) = pair();
    f.register(&near, 1, Interest::READABLE);
    assert_eq!(f.poller.kind(), f.kind);
    assert_eq!(f.poller.as_fd().is_some(), f.poller.capabilities().pollable);
    let Some(fd) = f.poller.as_fd() else { return };
    let mut outer = Fixture::new(ropewalk_os::PollerKind::Poll);
    outer.register(&fd, 5, Interest::READABLE);
    assert_eq!(outer.now(), []);
    far.write_all(b"x").unwrap();
    assert_eq!(outer.now(), [(5, Readiness::READABLE)]);
}
