//! kqueue(2) as an interface: what the poller asks of the system, and what tests replace.

use std::io;
use std::ops::{BitOr, BitOrAssign};
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// One kernel queue: what `kqueue(2)` made. Dropped, it is closed.
///
/// The BSDs' and macOS's is bound to the real calls; a program may give its own (see
/// [`KqueuePoller::new`](super::KqueuePoller::new)), as Twisted's `_kqueueImpl` hook allows.
///
/// # References
///
/// [kqueue(2)](https://man.freebsd.org/cgi/man.cgi?query=kqueue)
pub trait Kqueue: Send {
    /// `kevent(2)`: makes `changes`, in order; then, if `events` has room, waits for at most
    /// `timeout` (`None`: without limit) and writes what is ready to the front of `events`.
    ///
    /// Answers how many events it wrote. A change that fails becomes an event with
    /// [`EventFlags::ERROR`] and the `errno` in [`data`](KernelEvent::data) while there is room in
    /// `events`; the call then does not wait. Without room the call itself fails and later changes
    /// are lost. With an empty `events` it never waits.
    ///
    /// # Errors
    ///
    /// [`Interrupted`](io::ErrorKind::Interrupted) when a signal ended the wait, after the changes
    /// were made; what a change failed with when there was no room to report it.
    fn kevent(
        &mut self,
        changes: &[KernelEvent],
        events: &mut [KernelEvent],
        timeout: Option<Duration>,
    ) -> io::Result<usize>;

    /// The queue's own descriptor, readable while events wait in it; nothing where an
    /// implementation has none.
    fn as_fd(&self) -> Option<BorrowedFd<'_>>;
}

/// `struct kevent`, with the same meaning in both directions and the same numbers on every system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelEvent {
    /// What is watched: a descriptor, a process id or a number of the program's own, by `filter`.
    pub ident: usize,
    /// The kind of event.
    pub filter: Filter,
    /// What to do, or what happened.
    pub flags: EventFlags,
    /// Flags of the filter (`NOTE_…`), as this interface numbers them; the socket's error with
    /// [`EventFlags::EOF`].
    pub fflags: u32,
    /// Data of the filter: bytes to read, room to write, an `errno`, an exit status.
    pub data: i64,
    /// Comes back as it was given; a system with pointers of 32 bits carries the lower half.
    pub udata: u64,
}

/// What a registration is about: half of its name, the other being the `ident`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Filter {
    /// `EVFILT_READ`: something to read or to accept, or the end of it.
    #[default]
    Read,
    /// `EVFILT_WRITE`: room to write, or nobody left to read it.
    Write,
    /// `EVFILT_PROC`: a process does what [`note`] names.
    Process,
    /// `EVFILT_SIGNAL`: a signal is delivered.
    Signal,
    /// `EVFILT_TIMER`: a period is over.
    Timer,
    /// `EVFILT_USER`: a change triggered it.
    User,
}

/// `EV_…`: what a change asks for, or what an event tells. All systems number them alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct EventFlags(u16);

impl EventFlags {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Adds the registration, or updates the one that is there, and enables it.
    pub const ADD: Self = Self(0x1);
    /// Removes the registration; `ENOENT` if there is none.
    pub const DELETE: Self = Self(0x2);
    /// Has it report again.
    pub const ENABLE: Self = Self(0x4);
    /// Keeps it from reporting.
    pub const DISABLE: Self = Self(0x8);
    /// Removes it once it has reported.
    pub const ONESHOT: Self = Self(0x10);
    /// Reports a state once, until it changes.
    pub const CLEAR: Self = Self(0x20);
    /// Has the change answered by an event with [`ERROR`](Self::ERROR), with zero for success.
    pub const RECEIPT: Self = Self(0x40);
    /// Disables it once it has reported.
    pub const DISPATCH: Self = Self(0x80);
    /// In an event: it tells what became of a change, an `errno` in
    /// [`data`](KernelEvent::data).
    pub const ERROR: Self = Self(0x4000);
    /// In an event: the other side is gone. Unread data may be left.
    pub const EOF: Self = Self(0x8000);

    /// The flags of these bits.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// As the system has them.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Whether all of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for EventFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for EventFlags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// `NOTE_…`: flags of the filters, in [`fflags`](KernelEvent::fflags). All systems number these
/// alike.
pub mod note {
    /// [`Filter::Process`](super::Filter::Process): the process ended.
    pub const EXIT: u32 = 0x8000_0000;
    /// [`Filter::User`](super::Filter::User): has it report.
    pub const TRIGGER: u32 = 0x0100_0000;
    /// [`Filter::User`](super::Filter::User): its flags become their intersection with the change's.
    pub const FF_AND: u32 = 0x4000_0000;
    /// [`Filter::User`](super::Filter::User): its flags become their union with the change's.
    pub const FF_OR: u32 = 0x8000_0000;
    /// [`Filter::User`](super::Filter::User): its flags become the change's.
    pub const FF_COPY: u32 = 0xC000_0000;
    /// The bits that say which of the three is meant.
    pub const FF_CONTROL_MASK: u32 = 0xC000_0000;
    /// The bits that are flags of the program's own.
    pub const FF_FLAGS_MASK: u32 = 0x00FF_FFFF;
}
