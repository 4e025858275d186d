//! epoll where `epoll_pwait2` is missing or forbidden: kernels before 5.11, and containers whose
//! system call filter does not know it. A filter of the test's own thread plays both.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod seccomp;

use std::thread;
use std::time::{Duration, Instant};

use ropewalk_os::{Events, PollerKind};

fn waits_in_whole_milliseconds(errno: i32) {
    let thread = thread::spawn(move || {
        seccomp::refuse(&[libc::SYS_epoll_pwait2], errno);
        let mut poller = PollerKind::Epoll.new_poller().unwrap();
        let mut events = Events::new();
        for microseconds in [400, 1500, 400] {
            let timeout = Duration::from_micros(microseconds);
            let start = Instant::now();
            poller.wait(&mut events, Some(timeout)).unwrap();
            assert!(start.elapsed() >= timeout);
            assert!(events.is_empty());
            assert!(!poller.capabilities().sub_millisecond);
        }
    });
    thread.join().unwrap();
}

#[test]
fn a_kernel_without_nanosecond_waits_waits_in_whole_milliseconds() {
    waits_in_whole_milliseconds(libc::ENOSYS);
}

/// What Docker's filter answered before version 20.10 for calls it did not know.
#[test]
fn a_filter_that_forbids_nanosecond_waits_has_whole_milliseconds() {
    waits_in_whole_milliseconds(libc::EPERM);
}
