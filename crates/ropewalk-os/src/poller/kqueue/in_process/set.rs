//! What the emulation uses of `epoll(7)` and `eventfd(2)`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::poller::epoll::{pwait2, with_fraction};
use crate::poller::timeout::milliseconds;

/// An epoll set.
pub(super) struct Set(OwnedFd);

/// One report of a set.
#[derive(Clone, Copy)]
pub(super) struct Report {
    pub(super) bits: u32,
    pub(super) name: u64,
}

impl Set {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: the call takes a flag and returns a descriptor or -1.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor is new and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Becomes a new set under the same number.
    pub(super) fn renew(&mut self) -> io::Result<()> {
        let new = Self::new()?;
        let flags = rustix::io::DupFlags::CLOEXEC;
        Ok(rustix::io::dup3(&new.0, &mut self.0, flags)?)
    }

    pub(super) fn add(&self, fd: RawFd, bits: u32, name: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, bits, name)
    }

    pub(super) fn modify(&self, fd: RawFd, bits: u32, name: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, bits, name)
    }

    pub(super) fn remove(&self, fd: RawFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0, 0)
    }

    fn control(&self, op: i32, fd: RawFd, bits: u32, name: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: bits,
            u64: name,
        };
        // SAFETY: `event` lives through the call, which reads it and keeps nothing of it.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), op, fd, &mut event) }).map(drop)
    }

    /// Waits, and replaces the content of `reports` by at most `limit`.
    pub(super) fn wait(
        &self,
        reports: &mut Vec<Report>,
        limit: usize,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let mut events: Vec<libc::epoll_event> = Vec::with_capacity(limit);
        let room = i32::try_from(limit).unwrap_or(i32::MAX);
        let count = self.raw_wait(&mut events, room, timeout)?;
        // SAFETY: the system wrote `count` events, which is at most `limit`, the room there is.
        unsafe { events.set_len(usize::try_from(count).unwrap_or(0)) };
        reports.clear();
        reports.extend(events.iter().map(|event| Report {
            bits: event.events,
            name: event.u64,
        }));
        Ok(())
    }

    fn raw_wait(
        &self,
        events: &mut Vec<libc::epoll_event>,
        room: i32,
        timeout: Option<Duration>,
    ) -> io::Result<i32> {
        let set = self.0.as_raw_fd();
        let events = events.as_mut_ptr();
        let count = match timeout.and_then(with_fraction) {
            // SAFETY: `events` has room for `room` events.
            Some(fraction) => unsafe { pwait2(set, events, room, &fraction) },
            // SAFETY: as above.
            None => unsafe { libc::epoll_wait(set, events, room, milliseconds(timeout)) },
        };
        check(count)
    }
}

impl AsRawFd for Set {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl std::os::fd::AsFd for Set {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Makes the queue's descriptor readable for what epoll cannot tell.
pub(super) struct Bell {
    fd: OwnedFd,
    rings: bool,
}

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: the call takes a number and flags and returns a descriptor or -1.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        Ok(Self {
            // SAFETY: the descriptor is new and nobody else's.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
            rings: false,
        })
    }

    pub(super) fn set(&mut self, rings: bool) -> io::Result<()> {
        if rings == self.rings {
            return Ok(());
        }
        self.rings = rings;
        let mut count = 1_u64.to_ne_bytes();
        let fd = self.fd.as_raw_fd();
        // SAFETY: both calls take eight bytes, which the array has.
        let result = unsafe {
            if rings {
                libc::write(fd, count.as_ptr().cast(), count.len())
            } else {
                libc::read(fd, count.as_mut_ptr().cast(), count.len())
            }
        };
        check(result as i32).map(drop)
    }
}

impl AsRawFd for Bell {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
