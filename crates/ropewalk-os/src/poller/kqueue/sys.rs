//! The kernel queues of the BSDs and macOS.
//!
//! Type-checked for these systems, constants included, and not run on them: no machine here has
//! one. All that is more than the translation of a call is outside of this file, and runs on Linux.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use super::{EventFlags, Filter, KernelEvent, Kqueue, note};

/// `kqueue(2)` and `kevent(2)` of this system.
pub struct SysKqueue {
    queue: OwnedFd,
    /// The system's form of what the last call was given, kept for its room.
    changes: Vec<libc::kevent>,
    events: Vec<libc::kevent>,
}

// SAFETY: what keeps it on one thread are the pointers in the lists (`udata`). They are numbers that
// nobody follows, here or in the system.
unsafe impl Send for SysKqueue {}

impl SysKqueue {
    /// Opens a queue, close-on-exec. It is not inherited by a fork.
    ///
    /// # Errors
    ///
    /// What `kqueue(2)` failed with: `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn new() -> io::Result<Self> {
        // SAFETY: the call takes nothing and returns a descriptor or -1.
        let fd = check(unsafe { libc::kqueue() })?;
        // SAFETY: the descriptor is new and nobody else's.
        let queue = unsafe { OwnedFd::from_raw_fd(fd) };
        // A program that another thread starts in between inherits it where its start is no fork,
        // and can do nothing with it: the queue is of this process.
        // SAFETY: the descriptor is open, and the call touches no memory.
        check(unsafe { libc::fcntl(queue.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) })?;
        Ok(Self {
            queue,
            changes: Vec::new(),
            events: Vec::new(),
        })
    }
}

impl Kqueue for SysKqueue {
    fn kevent(
        &mut self,
        changes: &[KernelEvent],
        events: &mut [KernelEvent],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        self.changes.clear();
        self.changes.extend(changes.iter().map(to_system));
        self.events.clear();
        self.events.reserve(events.len());
        let timeout = timeout.map(timespec);
        // SAFETY: the first list has as many entries as the call is told, the second as much room.
        // They and the timeout live through the call, which writes to the second list only.
        let count = check(unsafe {
            libc::kevent(
                self.queue.as_raw_fd(),
                self.changes.as_ptr(),
                length(self.changes.len()),
                self.events.as_mut_ptr(),
                length(events.len()),
                timeout.as_ref().map_or(ptr::null(), ptr::from_ref),
            )
        })?;
        let count = usize::try_from(count).unwrap_or(0);
        // SAFETY: the system wrote `count` events, which is at most the room it was told of.
        unsafe { self.events.set_len(count) };
        let translated = self.events.iter().filter_map(from_system);
        let mut written = 0;
        for (event, place) in translated.zip(events) {
            *place = event;
            written += 1;
        }
        Ok(written)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.queue.as_fd())
    }
}

/// NetBSD counts entries in a `size_t`, the others in an `int`, which lists stay far below.
#[cfg(target_os = "netbsd")]
const fn length(length: usize) -> libc::size_t {
    length
}

#[cfg(not(target_os = "netbsd"))]
const fn length(length: usize) -> libc::c_int {
    length as libc::c_int
}

/// NetBSD numbers filters from zero, in 32 bits; the others downwards from -1, in 16.
#[cfg(target_os = "netbsd")]
type FilterNumber = u32;
#[cfg(not(target_os = "netbsd"))]
type FilterNumber = i16;

const FILTERS: [(Filter, FilterNumber); 6] = [
    (Filter::Read, libc::EVFILT_READ),
    (Filter::Write, libc::EVFILT_WRITE),
    (Filter::Process, libc::EVFILT_PROC),
    (Filter::Signal, libc::EVFILT_SIGNAL),
    (Filter::Timer, libc::EVFILT_TIMER),
    (Filter::User, libc::EVFILT_USER),
];

fn to_system(event: &KernelEvent) -> libc::kevent {
    // SAFETY: numbers and a pointer that nobody follows: all zeros is a value of this type, which
    // on some systems has more fields than are set here.
    let mut system: libc::kevent = unsafe { mem::zeroed() };
    system.ident = event.ident as _;
    system.filter = FILTERS[event.filter as usize].1;
    system.flags = event.flags.bits() as _;
    system.fflags = event.fflags;
    system.data = event.data as _;
    system.udata = event.udata as usize as _;
    system
}

fn from_system(system: &libc::kevent) -> Option<KernelEvent> {
    let (filter, _) = FILTERS
        .iter()
        .find(|(_, number)| *number == system.filter)?;
    Some(KernelEvent {
        ident: system.ident as usize,
        filter: *filter,
        flags: EventFlags::from_bits(system.flags as u16),
        fflags: system.fflags,
        data: system.data as i64,
        udata: system.udata as usize as u64,
    })
}

fn timespec(timeout: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        // Less than 1,000,000,000, which each system's type holds.
        tv_nsec: timeout.subsec_nanos() as _,
    }
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// That this system numbers flags as the interface does.
const _: () = {
    assert!(EventFlags::ADD.bits() as u32 == libc::EV_ADD as u32);
    assert!(EventFlags::DELETE.bits() as u32 == libc::EV_DELETE as u32);
    assert!(EventFlags::ENABLE.bits() as u32 == libc::EV_ENABLE as u32);
    assert!(EventFlags::DISABLE.bits() as u32 == libc::EV_DISABLE as u32);
    assert!(EventFlags::ONESHOT.bits() as u32 == libc::EV_ONESHOT as u32);
    assert!(EventFlags::CLEAR.bits() as u32 == libc::EV_CLEAR as u32);
    assert!(EventFlags::RECEIPT.bits() as u32 == libc::EV_RECEIPT as u32);
    assert!(EventFlags::DISPATCH.bits() as u32 == libc::EV_DISPATCH as u32);
    assert!(EventFlags::ERROR.bits() as u32 == libc::EV_ERROR as u32);
    assert!(EventFlags::EOF.bits() as u32 == libc::EV_EOF as u32);
    assert!(note::EXIT == libc::NOTE_EXIT);
    assert!(note::TRIGGER == libc::NOTE_TRIGGER);
    assert!(note::FF_AND == libc::NOTE_FFAND);
    assert!(note::FF_OR == libc::NOTE_FFOR);
    assert!(note::FF_COPY == libc::NOTE_FFCOPY);
    assert!(note::FF_CONTROL_MASK == libc::NOTE_FFCTRLMASK);
    assert!(note::FF_FLAGS_MASK == libc::NOTE_FFLAGSMASK);
    let mut place = 0;
    while place < FILTERS.len() {
        assert!(FILTERS[place].0 as usize == place);
        place += 1;
    }
};
