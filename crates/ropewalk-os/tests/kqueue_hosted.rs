//! The kqueue poller's own promises to a loop around it, over the in-process kernel queue.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::Write;
use std::os::fd::AsRawFd;
use std::time::Duration;

use ropewalk_os::kqueue::{InProcessKqueue, KqueuePoller};
use ropewalk_os::{Events, Interest, Poller, Readiness, Token};
use ropewalk_testkit::socket_pair;

const TOKEN: Token = Token::new(1, 1);

fn is_readable(poller: &dyn Poller) -> bool {
    let mut entry = libc::pollfd {
        fd: poller.as_fd().unwrap().as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: the call reads and writes the one entry.
    unsafe { libc::poll(&mut entry, 1, 0) == 1 }
}

/// A batched registration is refused only when it is made: the loop around has to hear of it.
#[test]
fn a_refused_registration_wakes_the_loop_around() {
    let mut poller = KqueuePoller::new(InProcessKqueue::new().unwrap());
    let (near, _far) = socket_pair();
    // SAFETY: that it is closed early is what this is about.
    unsafe {
        poller
            .register(near.as_raw_fd(), TOKEN, Interest::READABLE)
            .unwrap();
    }
    drop(near);
    poller.flush_changes().unwrap();
    assert!(is_readable(&poller));
    let mut events = Events::new();
    poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
    let reports: Vec<_> = events.iter().map(|e| (e.token, e.readiness)).collect();
    assert_eq!(reports, [(TOKEN, Readiness::INVALID)]);
    poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
    assert!(events.is_empty() && !is_readable(&poller));
}

/// Removing what was closed is refused, which says nothing about whoever has the number next.
#[test]
fn a_refused_removal_is_not_taken_for_the_next_registration_of_its_number() {
    /// Where no other test's descriptors are.
    const NUMBER: i32 = 700;
    let mut poller = KqueuePoller::new(InProcessKqueue::new().unwrap());
    let mut events = Events::new();
    let (former, _peer) = socket_pair();
    let (next, mut far) = socket_pair();
    // SAFETY: the number is this test's alone; it is registered while it is open, and removed
    // before it is closed.
    unsafe {
        assert_eq!(libc::dup2(former.as_raw_fd(), NUMBER), NUMBER);
        poller.register(NUMBER, TOKEN, Interest::READABLE).unwrap();
        poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
        poller.deregister(NUMBER).unwrap();
        libc::close(NUMBER);
        poller.flush_changes().unwrap();
        assert_eq!(libc::dup2(next.as_raw_fd(), NUMBER), NUMBER);
    }
    let token = Token::new(1, 2);
    // SAFETY: as above.
    unsafe { poller.register(NUMBER, token, Interest::READABLE).unwrap() };
    far.write_all(b"rope").unwrap();
    for _ in 0..2 {
        poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
        let reports: Vec<_> = events.iter().map(|e| (e.token, e.readiness)).collect();
        assert_eq!(reports, [(token, Readiness::READABLE)]);
    }
    poller.deregister(NUMBER).unwrap();
    // SAFETY: nobody else has the number.
    unsafe { libc::close(NUMBER) };
}
