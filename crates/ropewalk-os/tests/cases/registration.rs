//! Register, modify, deregister.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use ropewalk_os::{Interest, PollerKind, Readiness, Token};
use ropewalk_testkit::socket_pair;

use super::readable_pair;
use crate::fixture::Fixture;

const TOKEN: Token = Token::new(1, 1);
const OTHER: Token = Token::new(2, 7);

pub(crate) fn modify_changes_what_is_reported(fixture: &mut Fixture) {
    let (near, _far) = readable_pair();
    let number = near.as_raw_fd();
    fixture.watch(number, TOKEN, Interest::READABLE).unwrap();
    assert_eq!(fixture.wait_for_some()[0].readiness, Readiness::READABLE);
    fixture.change(number, TOKEN, Interest::WRITABLE).unwrap();
    assert_eq!(fixture.wait_for_some()[0].readiness, Readiness::WRITABLE);
    fixture.change(number, TOKEN, Interest::BOTH).unwrap();
    let both = Readiness::READABLE | Readiness::WRITABLE;
    assert_eq!(fixture.wait_for_some()[0].readiness, both);
}

pub(crate) fn modify_changes_the_token(fixture: &mut Fixture) {
    let (near, _far) = readable_pair();
    let number = near.as_raw_fd();
    fixture.watch(number, TOKEN, Interest::READABLE).unwrap();
    fixture.change(number, OTHER, Interest::READABLE).unwrap();
    let events = fixture.wait_for_some();
    assert_eq!((events.len(), events[0].token), (1, OTHER));
}

pub(crate) fn deregistering_stops_reports_at_once(fixture: &mut Fixture) {
    let (near, _far) = readable_pair();
    fixture
        .watch(near.as_raw_fd(), TOKEN, Interest::BOTH)
        .unwrap();
    assert_eq!(fixture.wait_for_some().len(), 1);
    fixture.poller.deregister(near.as_raw_fd()).unwrap();
    assert_eq!(fixture.wait(Duration::ZERO), []);
}

pub(crate) fn a_deregistered_descriptor_can_be_registered_again(fixture: &mut Fixture) {
    let (near, _far) = readable_pair();
    let number = near.as_raw_fd();
    for token in [TOKEN, OTHER] {
        fixture.watch(number, token, Interest::READABLE).unwrap();
        assert_eq!(fixture.wait_for_some()[0].token, token);
        fixture.poller.deregister(number).unwrap();
    }
    assert_eq!(fixture.wait(Duration::ZERO), []);
}

pub(crate) fn deregistering_one_leaves_the_others(fixture: &mut Fixture) {
    let pairs: Vec<_> = (0..8).map(|_| readable_pair()).collect();
    for (slot, (near, _)) in (0..).zip(&pairs) {
        let token = Token::new(slot, 9);
        fixture
            .watch(near.as_raw_fd(), token, Interest::READABLE)
            .unwrap();
    }
    let mut left: Vec<u32> = (0..8).collect();
    // The last, the first, one in the middle: each place a dense table moves entries from or to.
    for gone in [7, 0, 3, 6] {
        let number = pairs[gone as usize].0.as_raw_fd();
        fixture.poller.deregister(number).unwrap();
        left.retain(|slot| *slot != gone);
        let mut reported: Vec<_> = fixture.wait_for_some().iter().map(|e| e.token).collect();
        reported.sort_by_key(|token| token.slot());
        let expected: Vec<_> = left.iter().map(|slot| Token::new(*slot, 9)).collect();
        assert_eq!(reported, expected);
    }
    let number = pairs[5].0.as_raw_fd();
    fixture.change(number, OTHER, Interest::READABLE).unwrap();
    let events = fixture.wait_for_some();
    assert!(events.iter().any(|event| event.token == OTHER));
    assert!(events.iter().all(|event| event.token != Token::new(5, 9)));
}

pub(crate) fn registering_twice_is_refused(fixture: &mut Fixture) {
    let (near, _far) = readable_pair();
    let number = near.as_raw_fd();
    fixture.watch(number, TOKEN, Interest::READABLE).unwrap();
    let error = fixture
        .watch(number, OTHER, Interest::WRITABLE)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    let events = fixture.wait_for_some();
    assert_eq!(
        (events[0].token, events[0].readiness),
        (TOKEN, Readiness::READABLE)
    );
}

pub(crate) fn what_is_not_watched_is_not_found(fixture: &mut Fixture) {
    let (near, _far) = socket_pair();
    let number = near.as_raw_fd();
    let error = fixture.change(number, TOKEN, Interest::BOTH).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = fixture.poller.deregister(number).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

pub(crate) fn a_closed_number_is_refused(fixture: &mut Fixture) {
    let (near, _far) = socket_pair();
    let number = near.as_raw_fd();
    drop(near);
    for number in [number, -1, i32::MAX] {
        let error = fixture.watch(number, TOKEN, Interest::BOTH).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF), "number {number}");
    }
    assert_eq!(fixture.wait(Duration::ZERO), []);
}

pub(crate) fn a_watch_without_interest_reports_no_readiness(fixture: &mut Fixture) {
    let (near, far) = readable_pair();
    let number = near.as_raw_fd();
    fixture.watch(number, TOKEN, Interest::NONE).unwrap();
    assert_eq!(fixture.wait(Duration::ZERO), []);
    drop(far);
    for event in fixture.wait(Duration::ZERO) {
        assert!(!event.readiness.is_readable() && !event.readiness.is_writable());
    }
    fixture.change(number, TOKEN, Interest::READABLE).unwrap();
    assert!(fixture.wait_for_some()[0].readiness.is_readable());
    fixture.poller.deregister(number).unwrap();
    assert_eq!(fixture.wait(Duration::ZERO), []);
}

pub(crate) fn a_descriptor_closed_behind_our_back_does_no_harm(fixture: &mut Fixture) {
    let (near, _far) = readable_pair();
    let (mut stays, mut peer) = socket_pair();
    let number = near.as_raw_fd();
    fixture.watch(number, TOKEN, Interest::READABLE).unwrap();
    fixture
        .watch(stays.as_raw_fd(), OTHER, Interest::READABLE)
        .unwrap();
    drop(near);
    for event in fixture.wait(Duration::ZERO) {
        assert_eq!(
            (event.token, event.readiness),
            (TOKEN, Readiness::INVALID),
            "{}",
            fixture.subject
        );
    }
    if let PollerKind::Poll | PollerKind::Select = fixture.poller.kind() {
        // These keep the number. The others forget it with the descriptor.
        assert_eq!(fixture.wait_for_some().len(), 1, "it is reported as closed");
    }
    peer.write_all(b"rope").unwrap();
    let events = fixture.wait_for_some();
    assert!(events.iter().any(|event| event.token == OTHER));
    stays.read_exact(&mut [0; 4]).unwrap();
    if let Err(error) = fixture.poller.deregister(number) {
        assert!(
            matches!(error.raw_os_error(), Some(libc::EBADF | libc::ENOENT)),
            "{error}"
        );
    }
    assert_eq!(fixture.wait(Duration::ZERO), []);
}

pub(crate) fn a_wait_replaces_older_events(fixture: &mut Fixture) {
    let (near, _far) = readable_pair();
    fixture
        .watch(near.as_raw_fd(), TOKEN, Interest::READABLE)
        .unwrap();
    assert_eq!(fixture.wait_for_some().len(), 1);
    assert_eq!(fixture.wait_for_some().len(), 1);
    fixture.poller.deregister(near.as_raw_fd()).unwrap();
    assert_eq!(fixture.wait(Duration::ZERO), []);
    assert!(fixture.events.is_empty());
}

pub(crate) fn a_pollable_poller_can_be_watched(fixture: &mut Fixture) {
    let pollable = fixture.poller.capabilities().pollable;
    assert_eq!(fixture.poller.as_fd().is_some(), pollable);
    let (near, mut far) = socket_pair();
    fixture
        .watch(near.as_raw_fd(), TOKEN, Interest::READABLE)
        .unwrap();
    fixture.poller.flush_changes().unwrap();
    if let Some(fd) = fixture.poller.as_fd() {
        let number = fd.as_fd().as_raw_fd();
        assert!(!is_readable(number));
        far.write_all(b"rope").unwrap();
        assert!(is_readable(number));
    }
}

fn is_readable(number: i32) -> bool {
    let mut entry = libc::pollfd {
        fd: number,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: the call reads and writes the one entry.
    unsafe { libc::poll(&mut entry, 1, 0) == 1 }
}
