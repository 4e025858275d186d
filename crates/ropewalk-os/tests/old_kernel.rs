//! epoll where `epoll_pwait2` is missing or forbidden: kernels before 5.11, and containers whose
//! system call filter does not know it. A filter of the test's own thread plays both.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::thread;
use std::time::{Duration, Instant};

use ropewalk_os::{Events, PollerKind};

/// From now on `epoll_pwait2` fails with `errno` in this thread. See seccomp(2).
fn forbid_pwait2(errno: i32) {
    let statement = |code: u32, jf: u8, k: u32| libc::sock_filter {
        code: u16::try_from(code).unwrap(),
        jt: 0,
        jf,
        k,
    };
    let number = u32::try_from(libc::SYS_epoll_pwait2).unwrap();
    let refuse = libc::SECCOMP_RET_ERRNO | u32::try_from(errno).unwrap();
    let mut program = [
        // The number of the call is the first field of `seccomp_data`.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, number),
        statement(libc::BPF_RET | libc::BPF_K, 0, refuse),
        statement(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap(),
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the program lives through the call, which copies it, and its length is its own.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, mode, &filter), 0);
    }
}

fn waits_in_whole_milliseconds(errno: i32) {
    let thread = thread::spawn(move || {
        forbid_pwait2(errno);
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
