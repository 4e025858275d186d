//! A write to a connection that is gone, in a process that dies of `SIGPIPE`.
//!
//! A Rust program ignores the signal before `main`; a host in another language need not. The tests
//! here are a process of their own, for the disposition is the process's.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{ErrorKind, IoSlice};
use std::os::fd::AsFd;

use ropewalk_os::{pipe, socket};
use ropewalk_testkit::tcp_pair;

#[test]
fn a_write_to_a_lost_connection_is_an_error_and_no_signal() {
    // SAFETY: nothing else in this process relies on the disposition.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let (near, _far) = tcp_pair();
    socket::shutdown_write(near.as_fd()).unwrap();
    let error = socket::send(near.as_fd(), b"rope").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    let slices = [IoSlice::new(b"ro"), IoSlice::new(b"pe")];
    let error = socket::send_vectored(near.as_fd(), &slices).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_write_to_a_pipe_that_nobody_reads_is_an_error_and_no_signal() {
    // SAFETY: as above.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let (read, write) = rustix::pipe::pipe().unwrap();
    assert_eq!(
        pipe::write_vectored(write.as_fd(), &[IoSlice::new(b"rope")]).unwrap(),
        4
    );
    assert!(!pipe::is_broken(write.as_fd()));
    drop(read);
    assert!(pipe::is_broken(write.as_fd()));
    let error = pipe::write_vectored(write.as_fd(), &[IoSlice::new(b"rope")]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    // The signal neither waits for this thread nor is kept from it: one that is sent counts.
    // SAFETY: all zeros is a valid set, which each call writes to.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigpending(&mut set);
        assert_eq!(libc::sigismember(&set, libc::SIGPIPE), 0);
        libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &mut set);
        assert_eq!(libc::sigismember(&set, libc::SIGPIPE), 0);
    }
}
