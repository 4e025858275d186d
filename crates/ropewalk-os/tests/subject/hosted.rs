//! A poller inside another loop, which never waits in it.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use ropewalk_os::{Capabilities, Events, Interest, Poller, PollerKind, Token};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The poller inside, whose descriptor the loop around it waits on; and it believes nothing else:
/// what the descriptor does not tell is not looked for.
pub(crate) struct Hosted(pub(crate) Box<dyn Poller>);

impl Poller for Hosted {
    fn kind(&self) -> PollerKind {
        self.0.kind()
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.0.capabilities();
        // Elsewhere the loop around it counts milliseconds.
        capabilities.sub_millisecond &= cfg!(target_os = "linux");
        capabilities
    }

    unsafe fn register(&mut self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.0.register(fd, token, interest) }
    }

    unsafe fn modify(&mut self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.0.modify(fd, token, interest) }
    }

    fn deregister(&mut self, fd: RawFd) -> io::Result<()> {
        self.0.deregister(fd)
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        self.0.flush_changes()?;
        let fd = self.0.as_fd().ok_or(io::ErrorKind::Unsupported)?;
        // A timeout that has no such form is none.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], timeout.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => Ok(()),
            Ok(_) => self.0.wait(events, Some(Duration::ZERO)),
            Err(error) => Err(error.into()),
        }
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_fd()
    }

    fn flush_changes(&mut self) -> io::Result<()> {
        self.0.flush_changes()
    }
}
