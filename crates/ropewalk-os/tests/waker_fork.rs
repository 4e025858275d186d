//! A waker on both sides of a fork. Children do nothing but system calls and report by one byte per
//! question, as it is the rule after a fork of a program with threads.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ropewalk_os::{SignalSet, Waker};
use ropewalk_testkit::DescriptorCount;

/// Descriptors and signals are the process's: one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A child that goes on in steps: each answers one byte, and waits to be told to take the next.
struct Child {
    pid: libc::pid_t,
    talk: UnixStream,
}

/// Forks a child that takes `steps`, one per [`Child::answer`], and ends.
fn fork<const N: usize>(steps: [&dyn Fn() -> u8; N]) -> Child {
    let (talk, mut childs) = UnixStream::pair().unwrap();
    // SAFETY: the child makes system calls only, and leaves by `_exit`.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "{}", io::Error::last_os_error());
    if pid == 0 {
        // So that it hears of the end when the test fails.
        drop(talk);
        for step in steps {
            let ordered = childs.read_exact(&mut [0]);
            let answered = ordered.and_then(|()| childs.write_all(&[step()]));
            if answered.is_err() {
                break;
            }
        }
        // SAFETY: ends the child without running anything of the parent's.
        unsafe { libc::_exit(0) };
    }
    Child { pid, talk }
}

impl Child {
    /// Has it take its next step.
    fn answer(&mut self) -> u8 {
        let mut answer = [0];
        self.talk.write_all(&[0]).unwrap();
        self.talk.read_exact(&mut answer).unwrap();
        answer[0]
    }

    fn end(self) {
        drop(self.talk);
        let mut status = -1;
        // SAFETY: the call writes one int.
        assert_eq!(unsafe { libc::waitpid(self.pid, &mut status, 0) }, self.pid);
        assert_eq!(status, 0);
    }
}

/// How many bytes wait in the waker's pipe.
fn waiting(waker: &Waker) -> u8 {
    let mut count = -1;
    // SAFETY: the call writes one int.
    unsafe { libc::ioctl(waker.read_fd().as_raw_fd(), libc::FIONREAD, &mut count) };
    u8::try_from(count).unwrap_or(u8::MAX)
}

/// How many descriptors are open, found out by system calls alone.
fn open_descriptors() -> u8 {
    // SAFETY: the call reads the flags of a number and touches no memory.
    let is_open = |number: &RawFd| unsafe { libc::fcntl(*number, libc::F_GETFD) } >= 0;
    u8::try_from((0..1024).filter(is_open).count()).unwrap_or(u8::MAX)
}

fn numbers(waker: &Waker) -> [RawFd; 2] {
    [waker.read_fd(), waker.wake_fd()].map(|end| end.as_raw_fd())
}

fn has_its_flags(end: BorrowedFd<'_>) -> bool {
    let number = end.as_raw_fd();
    // SAFETY: the calls read the flags of a number and touch no memory.
    let (descriptor, status) = unsafe {
        (
            libc::fcntl(number, libc::F_GETFD),
            libc::fcntl(number, libc::F_GETFL),
        )
    };
    descriptor & libc::FD_CLOEXEC != 0 && status & libc::O_NONBLOCK != 0
}

fn renewed(waker: &Waker) -> u8 {
    u8::from(waker.renew().is_ok())
}

#[test]
fn without_renewal_a_child_wakes_its_parent() {
    let _alone = alone();
    let waker = Waker::new().unwrap();
    let mut child = fork([&|| {
        waker.wake();
        0
    }]);
    child.answer();
    assert_eq!(waiting(&waker), 1, "or the tests below show nothing");
    child.end();
}

#[test]
fn after_renewal_neither_process_wakes_the_other() {
    let _alone = alone();
    let _count = DescriptorCount::new();
    let waker = Waker::new().unwrap();
    let mut child = fork([
        &|| renewed(&waker),
        &|| {
            waker.wake();
            waiting(&waker)
        },
        &|| {
            waker.drain();
            waiting(&waker)
        },
        &|| waiting(&waker),
    ]);
    assert_eq!(child.answer(), 1, "it is renewed");
    assert_eq!(
        (child.answer(), waiting(&waker)),
        (1, 0),
        "the child's wake"
    );
    assert_eq!(child.answer(), 0, "it is drained");
    waker.wake();
    assert_eq!(
        (waiting(&waker), child.answer()),
        (1, 0),
        "the parent's wake"
    );
    child.end();
}

#[test]
fn renewal_keeps_numbers_flags_and_count_of_descriptors() {
    let _alone = alone();
    let _count = DescriptorCount::new();
    let waker = Waker::new().unwrap();
    let before = numbers(&waker);
    let mut child = fork([
        &open_descriptors,
        &|| renewed(&waker) + renewed(&waker),
        &open_descriptors,
        &|| u8::from(numbers(&waker) == before),
        &|| u8::from(has_its_flags(waker.read_fd()) && has_its_flags(waker.wake_fd())),
    ]);
    let count = child.answer();
    assert_eq!(child.answer(), 2, "it is renewed, and can be again");
    assert_eq!(child.answer(), count, "descriptors");
    assert_eq!(child.answer(), 1, "numbers");
    assert_eq!(child.answer(), 1, "flags");
    child.end();
}

#[test]
fn a_wake_not_yet_noticed_at_the_fork_is_noticed_by_both() {
    let _alone = alone();
    let waker = Waker::new().unwrap();
    waker.wake();
    let mut child = fork([&|| renewed(&waker), &|| waiting(&waker), &|| {
        waker.drain();
        waker.wake();
        waiting(&waker)
    }]);
    assert_eq!(child.answer(), 1, "it is renewed");
    assert_eq!((child.answer(), waiting(&waker)), (1, 1));
    waker.drain();
    assert_eq!((child.answer(), waiting(&waker)), (1, 0), "both go on");
    child.end();
}

#[test]
fn clones_and_signal_handlers_follow() {
    let _alone = alone();
    let waker = Waker::new().unwrap();
    let clone = waker.clone();
    let mut signals = SignalSet::new(waker.clone());
    signals.add(libc::SIGUSR1).unwrap();
    let mut child = fork([
        &|| renewed(&waker),
        &|| {
            // SAFETY: raises a signal that has a handler.
            unsafe { libc::raise(libc::SIGUSR1) };
            waiting(&waker)
        },
        &|| {
            waker.drain();
            clone.wake();
            waiting(&waker)
        },
    ]);
    assert_eq!(child.answer(), 1, "it is renewed");
    assert_eq!((child.answer(), waiting(&waker)), (1, 0), "a signal");
    assert_eq!((child.answer(), waiting(&waker)), (1, 0), "a clone");
    child.end();
}

#[test]
fn a_renewal_that_finds_no_descriptor_can_be_made_again() {
    let _alone = alone();
    let waker = Waker::new().unwrap();
    let mut limits = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the call writes the limits.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limits) };
    let allow = |rlim_cur| {
        let limits = libc::rlimit { rlim_cur, ..limits };
        // SAFETY: the limits live through the call, which reads them.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limits) };
    };
    let mut child = fork([
        &|| {
            allow(0);
            renewed(&waker)
        },
        &|| {
            allow(limits.rlim_cur);
            renewed(&waker)
        },
        &|| {
            waker.wake();
            waiting(&waker)
        },
    ]);
    assert_eq!(child.answer(), 0, "it is refused");
    assert_eq!(child.answer(), 1, "it is renewed");
    assert_eq!((child.answer(), waiting(&waker)), (1, 0));
    child.end();
}
