//! Descriptors that are closed while they are watched.

use std::io::Write;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use ropewalk_os::{Event, Interest, Readiness, Token};
use ropewalk_testkit::socket_pair;

use super::readable_pair;
use crate::fixture::{Fixture, at_number, lend};

const CLOSED: Token = Token::new(1, 1);
const OPEN: Token = Token::new(2, 7);

/// Watches idle sockets and closes them; answers their numbers, which nobody uses then. What else a
/// case opens it opens before, for the system gives these numbers to the next.
fn close_while_watched<const COUNT: usize>(fixture: &mut Fixture) -> [RawFd; COUNT] {
    let pairs = [(); COUNT].map(|()| socket_pair());
    let numbers = pairs.each_ref().map(|(near, _)| near.as_raw_fd());
    for number in numbers {
        fixture.watch(number, CLOSED, Interest::BOTH).unwrap();
    }
    numbers
}

/// What was reported, but for closed descriptors, which may be reported as such or not at all.
fn of_open(events: Vec<Event>) -> Vec<Event> {
    let (invalid, open): (Vec<_>, Vec<_>) = events
        .into_iter()
        .partition(|event| event.readiness.is_invalid());
    for event in invalid {
        assert_eq!((event.token, event.readiness), (CLOSED, Readiness::INVALID));
    }
    open
}

pub(crate) fn a_closed_descriptor_does_not_hide_the_others(fixture: &mut Fixture) {
    let (open, mut peer) = socket_pair();
    fixture
        .watch(open.as_raw_fd(), OPEN, Interest::READABLE)
        .unwrap();
    close_while_watched::<3>(fixture);
    assert_eq!(of_open(fixture.wait(Duration::ZERO)), []);
    peer.write_all(b"rope").unwrap();
    for _ in 0..3 {
        // The first wait that reports something reports it.
        let events = of_open(fixture.wait_for_some());
        let readiness = Readiness::READABLE;
        assert_eq!(
            events,
            [Event {
                token: OPEN,
                readiness
            }]
        );
    }
}

pub(crate) fn a_closed_descriptor_is_quiet_once_deregistered(fixture: &mut Fixture) {
    let (open, _peer) = socket_pair();
    fixture
        .watch(open.as_raw_fd(), OPEN, Interest::READABLE)
        .unwrap();
    let [number] = close_while_watched(fixture);
    assert_eq!(of_open(fixture.wait(Duration::ZERO)), []);
    if let Err(error) = fixture.poller.deregister(number) {
        let errno = error.raw_os_error();
        assert!(matches!(errno, Some(libc::EBADF | libc::ENOENT)), "{error}");
    }
    let timeout = Duration::from_millis(20);
    let start = Instant::now();
    assert_eq!(fixture.wait(timeout), []);
    assert!(start.elapsed() >= timeout, "it spins");
}

pub(crate) fn a_closed_number_is_watched_again(fixture: &mut Fixture) {
    let (fresh, _fresh_far) = readable_pair();
    let [number] = close_while_watched(fixture);
    assert_eq!(of_open(fixture.wait(Duration::ZERO)), []);
    // It may be gone by itself.
    drop(fixture.poller.deregister(number));
    let reused = at_number(&fresh, number);
    fixture
        .watch(reused.as_raw_fd(), OPEN, Interest::READABLE)
        .unwrap();
    let events = fixture.wait_for_some();
    assert_eq!((events.len(), events[0].token), (1, OPEN));
}

pub(crate) fn a_closed_source_is_quiet_once_removed(fixture: &mut Fixture) {
    let (near, _far) = socket_pair();
    let (open, _open_far) = readable_pair();
    let closed = fixture.add(lend(&near), 1, Interest::READABLE);
    let open = fixture.add(lend(&open), 2, Interest::READABLE);
    fixture.turn_until(open);
    drop(near);
    for event in fixture.turn(Duration::ZERO) {
        assert_eq!(event.readiness.is_invalid(), event.token == closed);
    }
    fixture.remove(closed);
    let events = fixture.turn(Duration::ZERO);
    assert_eq!((events.len(), events[0].token), (1, open));
    fixture.remove(open);
    assert_eq!(fixture.turn(Duration::from_millis(2)), []);
}
