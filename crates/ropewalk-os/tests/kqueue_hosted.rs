//! The kqueue poller's own promises to a loop around it, over the in-process kernel queue.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

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
