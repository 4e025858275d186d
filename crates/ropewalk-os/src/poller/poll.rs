//! `poll(2)`.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use super::timeout::{LONGEST_MILLISECONDS, milliseconds, wait_in_steps};
use super::{Capabilities, Poller, PollerKind};
use crate::{Event, Events, Interest, Readiness, Token};

/// A poller over `poll`: the set is here, and handed to the system at each wait.
pub(super) struct Poll {
    set: Vec<libc::pollfd>,
    /// The token of each entry of `set`.
    tokens: Vec<Token>,
    /// Where in `set` each descriptor is, by its number.
    places: Vec<Option<u32>>,
}

impl Poll {
    pub(super) const fn new() -> Self {
        Self {
            set: Vec::new(),
            tokens: Vec::new(),
            places: Vec::new(),
        }
    }

    /// One call, which answers how many entries of the set it marked.
    fn call(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let length = self.set.len() as libc::nfds_t;
        // SAFETY: `set` holds `length` entries, and the call writes their `revents` only.
        let count = unsafe { libc::poll(self.set.as_mut_ptr(), length, milliseconds(timeout)) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    fn place(&self, fd: RawFd) -> Option<usize> {
        let place = *self.places.get(usize::try_from(fd).ok()?)?;
        place.map(|place| place as usize)
    }
}

impl Poller for Poll {
    fn kind(&self) -> PollerKind {
        PollerKind::Poll
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            pollable: false,
            sub_millisecond: false,
            watches_regular_files: true,
            reports_hangups: true,
        }
    }

    unsafe fn register(&mut self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        let number = usize::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
        if self.place(fd).is_some() {
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        // poll(2) would report a closed number at the wait; the contract reports it here.
        // SAFETY: the call reads the flags of a number and touches no memory.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
            return Err(io::Error::last_os_error());
        }
        if number >= self.places.len() {
            self.places.resize(number + 1, None);
        }
        self.places[number] = u32::try_from(self.set.len()).ok();
        self.set.push(libc::pollfd {
            fd,
            events: flags(interest),
            revents: 0,
        });
        self.tokens.push(token);
        Ok(())
    }

    unsafe fn modify(&mut self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        let place = self.place(fd).ok_or_else(not_watched)?;
        self.set[place].events = flags(interest);
        self.tokens[place] = token;
        Ok(())
    }

    fn deregister(&mut self, fd: RawFd) -> io::Result<()> {
        let place = self.place(fd).ok_or_else(not_watched)?;
        self.set.swap_remove(place);
        self.tokens.swap_remove(place);
        if let Some(moved) = self.set.get(place) {
            self.places[moved.fd as usize] = u32::try_from(place).ok();
        }
        self.places[fd as usize] = None;
        Ok(())
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        let mut left = wait_in_steps(timeout, LONGEST_MILLISECONDS, |step| self.call(step))?;
        for (entry, token) in self.set.iter().zip(&self.tokens) {
            if left == 0 {
                break;
            }
            if entry.revents != 0 {
                left -= 1;
                events.push(Event {
                    token: *token,
                    readiness: readiness(entry.revents),
                });
            }
        }
        Ok(())
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

fn not_watched() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOENT)
}

fn flags(interest: Interest) -> i16 {
    let read = if interest.is_readable() {
        libc::POLLIN
    } else {
        0
    };
    let write = if interest.is_writable() {
        libc::POLLOUT
    } else {
        0
    };
    read | write
}

fn readiness(flags: i16) -> Readiness {
    let mut readiness = Readiness::NONE;
    for (flag, meaning) in [
        (libc::POLLIN, Readiness::READABLE),
        (libc::POLLOUT, Readiness::WRITABLE),
        (libc::POLLHUP, Readiness::HANGUP),
        (libc::POLLERR, Readiness::ERROR),
        (libc::POLLNVAL, Readiness::INVALID),
    ] {
        if flags & flag != 0 {
            readiness |= meaning;
        }
    }
    readiness
}
