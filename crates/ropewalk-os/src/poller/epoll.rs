//! `epoll(7)`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::timeout::{LONGEST_MILLISECONDS, milliseconds, wait_in_steps};
use super::{Capabilities, Poller, PollerKind};
use crate::{Event, Events, Interest, Readiness, Token};

/// A poller over `epoll`, level-triggered.
pub(super) struct Epoll {
    epoll: OwnedFd,
    /// Where the system writes its reports; grown when they filled it.
    buffer: Vec<libc::epoll_event>,
    /// Whether `epoll_pwait2`, which counts nanoseconds, is there (Linux 5.11).
    nanoseconds: bool,
}

const FIRST_CAPACITY: usize = 64;
const LARGEST_CAPACITY: usize = 4096;

impl Epoll {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: the call takes a flag and returns a descriptor or -1.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor is new and nobody else's.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        let buffer = Vec::with_capacity(FIRST_CAPACITY);
        Ok(Self {
            epoll,
            buffer,
            nanoseconds: true,
        })
    }

    fn control(&self, op: i32, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: flags(interest),
            u64: token.to_u64(),
        };
        // SAFETY: `event` lives through the call, which reads it and keeps nothing of it.
        check(unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), op, fd, &mut event) }).map(drop)
    }

    /// One call, which answers how many reports it wrote to the buffer.
    fn call(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let epoll = self.epoll.as_raw_fd();
        let room = i32::try_from(self.buffer.capacity()).unwrap_or(i32::MAX);
        let events = self.buffer.as_mut_ptr();
        if let (true, Some(fraction)) = (self.nanoseconds, timeout.and_then(with_fraction)) {
            // SAFETY: `events` has room for `room` reports and `fraction` lives through the call.
            let result = check(unsafe { pwait2(epoll, events, room, &fraction) });
            match result {
                Err(error) if is_missing(&error) => self.nanoseconds = false,
                result => return result.map(count),
            }
        }
        // SAFETY: `events` has room for `room` reports.
        check(unsafe { libc::epoll_wait(epoll, events, room, milliseconds(timeout)) }).map(count)
    }
}

/// Whether a call failed because it is not there: a system call filter that does not know it may
/// say `EPERM`, which `epoll_pwait2` itself never does.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM))
}

/// The timeout as `epoll_pwait2` takes it, if whole milliseconds would not say it exactly.
pub(super) fn with_fraction(timeout: Duration) -> Option<KernelTimespec> {
    if timeout.subsec_nanos() % 1_000_000 == 0 {
        return None;
    }
    Some(KernelTimespec {
        seconds: timeout.as_secs().try_into().ok()?,
        nanoseconds: timeout.subsec_nanos().into(),
    })
}

/// `struct __kernel_timespec`, which the system call takes on every architecture: the C library's
/// `timespec` has half the size where a `long` has 32 bits.
#[repr(C)]
pub(super) struct KernelTimespec {
    seconds: i64,
    nanoseconds: i64,
}

/// `epoll_pwait2(2)`, which old C libraries do not wrap.
///
/// # Safety
///
/// `events` has room for `room` events.
pub(super) unsafe fn pwait2(
    epoll: RawFd,
    events: *mut libc::epoll_event,
    room: i32,
    timeout: &KernelTimespec,
) -> i32 {
    let no_mask = std::ptr::null::<libc::sigset_t>();
    let timeout = std::ptr::from_ref(timeout);
    // SAFETY: the caller's promise, a timeout that is alive, and no signal mask.
    let result = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            epoll,
            events,
            room,
            timeout,
            no_mask,
            0,
        )
    };
    result as i32
}

impl Poller for Epoll {
    fn kind(&self) -> PollerKind {
        PollerKind::Epoll
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            pollable: true,
            sub_millisecond: self.nanoseconds,
            watches_regular_files: false,
            reports_hangups: true,
        }
    }

    unsafe fn register(&mut self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, interest)
    }

    unsafe fn modify(&mut self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, interest)
    }

    fn deregister(&mut self, fd: RawFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, Token::new(0, 0), Interest::NONE)
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        let count = wait_in_steps(timeout, LONGEST_MILLISECONDS, |step| self.call(step))?;
        // SAFETY: the system wrote `count` reports, which is at most the capacity.
        unsafe { self.buffer.set_len(count) };
        for report in &self.buffer {
            events.push(Event {
                token: Token::from_u64(report.u64),
                readiness: readiness(report.events),
            });
        }
        self.buffer.clear();
        if count == self.buffer.capacity() && count < LARGEST_CAPACITY {
            self.buffer.reserve(2 * count);
        }
        Ok(())
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.epoll.as_fd())
    }
}

fn flags(interest: Interest) -> u32 {
    let read = if interest.is_readable() {
        libc::EPOLLIN
    } else {
        0
    };
    let write = if interest.is_writable() {
        libc::EPOLLOUT
    } else {
        0
    };
    (read | write) as u32
}

fn readiness(flags: u32) -> Readiness {
    let mut readiness = Readiness::NONE;
    for (flag, meaning) in [
        (libc::EPOLLIN, Readiness::READABLE),
        (libc::EPOLLOUT, Readiness::WRITABLE),
        (libc::EPOLLHUP, Readiness::HANGUP),
        (libc::EPOLLERR, Readiness::ERROR),
    ] {
        if flags & flag as u32 != 0 {
            readiness |= meaning;
        }
    }
    readiness
}

/// The count that a call which did not fail answered.
fn count(result: i32) -> usize {
    usize::try_from(result).unwrap_or(0)
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
