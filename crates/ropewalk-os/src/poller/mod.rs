//! The poller contract, and the choice of one at run time.

use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::str::FromStr;
use std::time::Duration;

use crate::{Events, Interest, Token};

mod choice;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod epoll;
mod fd_sets;
pub mod kqueue;
mod poll;
mod select;
mod timeout;

pub use choice::POLLER_VARIABLE;

/// Waits for readiness on a set of descriptors. `tests/poller_conformance.rs` checks:
///
/// - *Level-triggered*: a ready descriptor is reported by every wait until it is drained or
///   deregistered.
/// - A report may be spurious. A report is never lost.
/// - One event per descriptor and wait, with read and write readiness merged.
/// - Hang-up and error are reported unasked, for descriptors with some interest; by a poller that
///   cannot tell them apart (see [`Capabilities::reports_hangups`]), as the readiness that was asked
///   for.
/// - A descriptor that was closed while it is watched is reported as
///   [`INVALID`](crate::Readiness::INVALID) or not at all, until it is deregistered, and hides no
///   other.
///
/// A poller belongs to one thread at a time.
pub trait Poller: Send {
    /// Which poller this is.
    fn kind(&self) -> PollerKind;

    /// What this poller can do beyond the contract.
    fn capabilities(&self) -> Capabilities;

    /// Starts to watch `fd`, reporting it as `token`.
    ///
    /// # Safety
    ///
    /// `fd` stays open until [`deregister`](Self::deregister) returns, or the caller copes with
    /// reports about whatever has the number then (the registry does, by its generations).
    ///
    /// # Errors
    ///
    /// - [`AlreadyExists`](io::ErrorKind::AlreadyExists): watched already; use `modify`.
    /// - [`PermissionDenied`](io::ErrorKind::PermissionDenied): a regular file, with `epoll`.
    /// - `EBADF`: not open.
    ///
    /// # References
    ///
    /// [epoll_ctl(2)](https://man7.org/linux/man-pages/man2/epoll_ctl.2.html)
    unsafe fn register(&mut self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()>;

    /// Replaces token and interest of a watched descriptor.
    ///
    /// # Safety
    ///
    /// As [`register`](Self::register).
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound): not watched.
    unsafe fn modify(&mut self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()>;

    /// Stops watching `fd`: no later wait reports it.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound): not watched (any more: closing a descriptor may end
    /// the watch).
    fn deregister(&mut self, fd: RawFd) -> io::Result<()>;

    /// Waits for an event or until `timeout` is over, and replaces the content of `events`.
    ///
    /// `None` waits without limit. A poller that counts milliseconds rounds *up*, and one that
    /// cannot wait so long in one call waits again: a wait never ends before its timeout without an
    /// event. A signal ends the wait with no events; [`Interrupted`](io::ErrorKind::Interrupted) is
    /// never returned.
    ///
    /// # Errors
    ///
    /// What the system call failed with: a defect, not a peer's doing.
    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()>;

    /// A descriptor that is readable while the poller has events, for another loop to watch;
    /// nothing for pollers without one (see [`Capabilities::pollable`]). Changes gathered for the
    /// next wait show in it after [`flush_changes`](Self::flush_changes).
    fn as_fd(&self) -> Option<BorrowedFd<'_>>;

    /// Tells the system now what was gathered for the next [`wait`](Self::wait), by pollers that
    /// gather changes: before another loop waits on [`as_fd`](Self::as_fd). A change that the
    /// system refuses is reported by the next wait all the same.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    fn flush_changes(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a poller can do beyond the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Whether it has a descriptor that another loop can watch.
    pub pollable: bool,
    /// Whether it waits for fractions of a millisecond.
    pub sub_millisecond: bool,
    /// Whether it accepts regular files (they are always ready).
    pub watches_regular_files: bool,
    /// Whether it tells hang-ups and errors from readiness. One that does not reports a descriptor
    /// with such an end as readable or writable, whichever was asked for, and the end is met by
    /// reading or writing. An error may be told with readability all the same. One that was hung up,
    /// and is neither, is not reported to those who only write.
    pub reports_hangups: bool,
}

/// The pollers there are. Which of them this platform has is told by
/// [`available`](Self::available).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PollerKind {
    /// Linux's `epoll(7)`.
    Epoll,
    /// The BSDs' and macOS's `kqueue(2)`.
    KQueue,
    /// `poll(2)`.
    Poll,
    /// `select(2)`.
    Select,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const AVAILABLE: &[PollerKind] = &[PollerKind::Epoll, PollerKind::Poll, PollerKind::Select];
#[cfg(kqueue)]
const AVAILABLE: &[PollerKind] = &[PollerKind::KQueue, PollerKind::Poll, PollerKind::Select];
#[cfg(not(any(target_os = "linux", target_os = "android", kqueue)))]
const AVAILABLE: &[PollerKind] = &[PollerKind::Poll, PollerKind::Select];

impl PollerKind {
    /// The pollers of this platform, the best first.
    pub const fn available() -> &'static [Self] {
        AVAILABLE
    }

    /// The best poller of this platform. [`choose`](Self::choose) looks whether the system grants
    /// it as well.
    pub const fn preferred() -> Self {
        AVAILABLE[0]
    }

    /// The name: `"epoll"`, `"kqueue"`, `"poll"` or `"select"`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Epoll => "epoll",
            Self::KQueue => "kqueue",
            Self::Poll => "poll",
            Self::Select => "select",
        }
    }

    /// Makes a poller of this kind.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](io::ErrorKind::Unsupported) where [`available`](Self::available) does not
    /// list it; else what the system call failed with.
    pub fn new_poller(self) -> io::Result<Box<dyn Poller>> {
        match self {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Self::Epoll => Ok(Box::new(epoll::Epoll::new()?)),
            #[cfg(kqueue)]
            Self::KQueue => {
                let queue = kqueue::SysKqueue::new()?;
                Ok(Box::new(kqueue::KqueuePoller::new(queue)))
            }
            Self::Poll => Ok(Box::new(poll::Poll::new())),
            Self::Select => Ok(Box::new(select::Select::new())),
            _ => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!(
                    "no {self} poller here; there is {}",
                    names(Self::available())
                ),
            )),
        }
    }
}

fn names(kinds: &[PollerKind]) -> String {
    kinds
        .iter()
        .map(|kind| kind.name())
        .collect::<Vec<_>>()
        .join(", ")
}

impl fmt::Display for PollerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no poller has, or none of this platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPoller {
    name: String,
    /// The environment variable that had it.
    variable: Option<&'static str>,
}

impl fmt::Display for UnknownPoller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, variable } = self;
        match variable {
            Some(variable) => write!(f, "{variable}={name:?} names no poller of this platform")?,
            None => write!(f, "unknown poller {name:?}")?,
        }
        write!(f, "; the pollers here are {}", names(AVAILABLE))
    }
}

impl std::error::Error for UnknownPoller {}

impl FromStr for PollerKind {
    type Err = UnknownPoller;

    fn from_str(name: &str) -> Result<Self, UnknownPoller> {
        [Self::Epoll, Self::KQueue, Self::Poll, Self::Select]
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| UnknownPoller {
                name: name.to_owned(),
                variable: None,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poller_is_chosen_by_its_name() {
        for kind in PollerKind::available() {
            assert_eq!(kind.to_string().parse(), Ok(*kind));
            assert_eq!(kind.new_poller().unwrap().kind(), *kind);
        }
        let error = "devpoll".parse::<PollerKind>().unwrap_err().to_string();
        assert!(
            error.contains("devpoll") && error.contains("poll"),
            "{error}"
        );
    }
}
