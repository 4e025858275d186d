//! `kqueue(2)`: the poller of the BSDs and macOS, over an exchangeable system interface.
//!
//! [`KqueuePoller`] holds all the logic and no system call but `fstat`; [`Kqueue`] is what it asks
//! of the system.

mod changes;
#[cfg(all(target_os = "linux", feature = "in-process-kqueue"))]
mod in_process;
#[cfg(kqueue)]
mod sys;
mod system;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use rustix::fs::FileType;

use self::changes::Slots;
#[cfg(all(target_os = "linux", feature = "in-process-kqueue"))]
pub use self::in_process::InProcessKqueue;
#[cfg(kqueue)]
pub use self::sys::SysKqueue;
pub use self::system::{EventFlags, Filter, KernelEvent, Kqueue, note};
use super::timeout::wait_in_steps;
use super::{Capabilities, Poller, PollerKind};
use crate::{Event, Events, Interest, Readiness, Token};

/// A poller over a kernel queue, level-triggered.
///
/// Changes of interest make no system call: they are gathered, reduced to what they come to, and
/// handed to the system by the next [`wait`](Poller::wait), in the same call. Only character
/// devices are registered at once, since some of them refuse to be.
pub struct KqueuePoller<K> {
    kqueue: K,
    slots: Slots,
    /// The changes under way. They stay here until the system is known to have taken them.
    changes: Vec<KernelEvent>,
    /// Where the system writes its events; grown when they filled it.
    buffer: Vec<KernelEvent>,
    /// Events that tell of refused changes, from calls that had no list of events to add them to.
    refused: Vec<KernelEvent>,
}

// Twice the events of fifty busy descriptors, so that these come with one call.
const FIRST_ROOM: usize = 256;
const LARGEST_ROOM: usize = 4096;

/// What every system accepts: some of them refused longer ones as invalid for a long time.
const LONGEST_WAIT: Duration = Duration::from_secs(100_000_000);

/// Makes the queue's descriptor readable, once.
const ATTENTION: KernelEvent = KernelEvent {
    ident: usize::MAX,
    filter: Filter::User,
    flags: EventFlags::from_bits(EventFlags::ADD.bits() | EventFlags::ONESHOT.bits()),
    fflags: note::TRIGGER,
    data: 0,
    udata: 0,
};

impl<K: Kqueue> KqueuePoller<K> {
    /// A poller over `kqueue`, which nobody else changes.
    pub fn new(kqueue: K) -> Self {
        Self {
            kqueue,
            slots: Slots::default(),
            changes: Vec::new(),
            buffer: vec![KernelEvent::default(); FIRST_ROOM],
            refused: Vec::new(),
        }
    }

    /// Makes what was gathered and waits, with one system call; answers how many events it wrote
    /// to `buffer`.
    fn call(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        // A refused change takes an event's place, and without one the later changes were lost.
        debug_assert!(self.changes.len() <= self.buffer.len());
        let Self {
            kqueue,
            changes,
            buffer,
            ..
        } = self;
        let mut news = changes.as_slice();
        let count = wait_in_steps(timeout, LONGEST_WAIT, |step| {
            let count = kqueue.kevent(news, buffer, step)?;
            news = &[];
            Ok(count)
        })?;
        // Only a wait is interrupted, and it comes after the changes. Where the call failed, which
        // of them were made is not known: they stay, for all can be made once more.
        changes.clear();
        Ok(count.min(buffer.len()))
    }

    /// Makes `changes` without waiting or looking for events; answers those that were refused.
    fn submit(&mut self, changes: &[KernelEvent]) -> io::Result<Vec<KernelEvent>> {
        // With a receipt for each change the call does nothing else, and has room for every error.
        let changes: Vec<_> = changes
            .iter()
            .map(|change| KernelEvent {
                flags: change.flags | EventFlags::RECEIPT,
                ..*change
            })
            .collect();
        let mut receipts = vec![KernelEvent::default(); changes.len()];
        let count = match self
            .kqueue
            .kevent(&changes, &mut receipts, Some(Duration::ZERO))
        {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            result => result?,
        };
        receipts.truncate(count);
        receipts.retain(is_refusal);
        Ok(receipts)
    }

    /// Makes the changes of one descriptor now.
    ///
    /// Fails, with nothing watched any more, if the system refuses one of them.
    fn apply_at_once(&mut self, fd: RawFd) -> io::Result<()> {
        let mut changes = Vec::new();
        self.slots.gather_one(fd, &mut changes);
        let refusals = match self.submit(&changes) {
            Ok(refusals) => refusals,
            Err(error) => {
                self.slots.remove(fd);
                return Err(error);
            }
        };
        let errno = |event: &KernelEvent| i32::try_from(event.data).unwrap_or(libc::EINVAL);
        let refused = refusals
            .iter()
            .filter(|event| self.slots.wants(event))
            .map(errno)
            .find(|errno| *errno != libc::EPIPE);
        let Some(errno) = refused else {
            self.refused.extend(refusals);
            return Ok(());
        };
        self.slots.remove(fd);
        Err(io::Error::from_raw_os_error(match errno {
            libc::EBADF | libc::ENOMEM => errno,
            // The system has no way to watch this device: its operations do not wait, or only as
            // long as a program that reads it expects.
            _ => libc::EPERM,
        }))
    }

    fn take_in(&mut self, event: &KernelEvent, events: &mut Events) {
        if event.flags.contains(EventFlags::ERROR) {
            if is_refusal(event) {
                self.take_in_refusal(event, events);
            }
            return;
        }
        let Some(token) = self.slots.token_of(event) else {
            // Of a registration that went with the changes of the same call, or that nobody made.
            return;
        };
        let readiness = match event.filter {
            // What the error is, the read tells, once it has told the data before it.
            Filter::Read if event.flags.contains(EventFlags::EOF) && event.fflags != 0 => {
                Readiness::READABLE | Readiness::ERROR
            }
            Filter::Read => Readiness::READABLE,
            // With EV_EOF too: it also means that this side was shut down for writing, and the
            // write tells which.
            _ => Readiness::WRITABLE,
        };
        self.report(event.ident, token, readiness, events);
    }

    fn take_in_refusal(&mut self, event: &KernelEvent, events: &mut Events) {
        if !self.slots.wants(event) {
            // Refused to remove what was gone already, with its descriptor mostly.
            return;
        }
        let errno = i32::try_from(event.data).unwrap_or(0);
        let token = self.slots.token(event.ident);
        let readiness = match (errno, event.filter) {
            (libc::EBADF, _) => {
                self.slots.forget(event.ident);
                Readiness::INVALID
            }
            // An older macOS refuses to watch a pipe that nobody reads; the write tells the same.
            (libc::EPIPE, Filter::Write) => {
                self.slots.retry(event.ident);
                Readiness::WRITABLE
            }
            (libc::ENOMEM, filter) => {
                self.slots.retry(event.ident);
                direction(filter)
            }
            // As a poller that registers at once would have said: this source cannot be watched.
            _ => Readiness::ERROR,
        };
        if let Some(token) = token {
            self.report(event.ident, token, readiness, events);
        }
    }

    /// Adds to the event of this descriptor, or makes one.
    fn report(&mut self, ident: usize, token: Token, readiness: Readiness, events: &mut Events) {
        let place = self.slots.place(ident);
        // A place of an earlier wait has another token there now, or none.
        if !events.merge(*place, token, readiness) {
            *place = events.len();
            events.push(Event { token, readiness });
        }
    }

    /// Takes in what a call wrote. Whether there were answers to changes among it, because of
    /// which the system did not look for events.
    fn take_in_all(&mut self, count: usize, events: &mut Events) -> bool {
        let buffer = std::mem::take(&mut self.buffer);
        for event in &buffer[..count] {
            self.take_in(event, events);
        }
        let answered = buffer[..count]
            .iter()
            .any(|event| event.flags.contains(EventFlags::ERROR));
        self.buffer = buffer;
        if count == self.buffer.len() && count < LARGEST_ROOM {
            self.buffer.resize(2 * count, KernelEvent::default());
        }
        answered
    }

    /// Gathers the changes for a call with an event's room for each.
    fn prepare(&mut self) -> io::Result<()> {
        self.slots.gather(&mut self.changes);
        while self.changes.len() > self.buffer.len() {
            self.submit_some()?;
        }
        Ok(())
    }

    /// Makes as many of the changes under way as one list of events has room for.
    fn submit_some(&mut self) -> io::Result<()> {
        let count = self.changes.len().min(LARGEST_ROOM);
        let changes = std::mem::take(&mut self.changes);
        let result = self.submit(&changes[..count]);
        self.changes = changes;
        // Judged now: the number that a removal was refused for may be another descriptor's when
        // the next wait comes.
        let refused = result?;
        let wanted = refused.iter().filter(|event| self.slots.wants(event));
        self.refused.extend(wanted.copied());
        self.changes.drain(..count);
        Ok(())
    }
}

fn is_refusal(event: &KernelEvent) -> bool {
    event.flags.contains(EventFlags::ERROR) && event.data != 0
}

fn direction(filter: Filter) -> Readiness {
    match filter {
        Filter::Read => Readiness::READABLE,
        _ => Readiness::WRITABLE,
    }
}

/// What `fd` names; `EBADF` if nothing.
fn file_type(fd: RawFd) -> io::Result<FileType> {
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: the number is not negative, and is used for one call, which answers EBADF if it is
    // not open.
    let stat = rustix::fs::fstat(unsafe { BorrowedFd::borrow_raw(fd) })?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

impl<K: Kqueue> Poller for KqueuePoller<K> {
    fn kind(&self) -> PollerKind {
        PollerKind::KQueue
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            pollable: self.kqueue.as_fd().is_some(),
            sub_millisecond: true,
            watches_regular_files: false,
            // EV_EOF comes with readability or writability, never alone.
            reports_hangups: false,
        }
    }

    unsafe fn register(&mut self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        let kind = match file_type(fd) {
            Ok(kind) => kind,
            Err(error) => {
                // What was watched under the number, if anything, went when it was closed.
                if let Ok(ident) = usize::try_from(fd) {
                    self.slots.forget(ident);
                }
                return Err(error);
            }
        };
        if self.slots.is_watched(fd) {
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        match kind {
            FileType::RegularFile | FileType::Directory | FileType::BlockDevice => {
                // kqueue's READ is silent at the end of a file, and whoever reads it to its end
                // would never learn that it is there.
                Err(io::Error::from_raw_os_error(libc::EPERM))
            }
            FileType::CharacterDevice => {
                self.slots.insert(fd, token, interest, true);
                self.apply_at_once(fd)
            }
            _ => {
                self.slots.insert(fd, token, interest, false);
                Ok(())
            }
        }
    }

    unsafe fn modify(&mut self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        if !self.slots.change(fd, token, interest) {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        }
        if self.slots.is_applied_at_once(fd) {
            return self.apply_at_once(fd);
        }
        Ok(())
    }

    fn deregister(&mut self, fd: RawFd) -> io::Result<()> {
        if self.slots.remove(fd) {
            // What was refused is nobody's any more, whoever gets the number next.
            self.refused
                .retain(|event| usize::try_from(fd) != Ok(event.ident));
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(libc::ENOENT))
        }
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        self.prepare()?;
        for refusal in std::mem::take(&mut self.refused) {
            self.take_in_refusal(&refusal, events);
        }
        let count = self.call(unless_some(events, timeout))?;
        if self.take_in_all(count, events) {
            // Nobody waited or looked yet. Most refusals are no events: of removals, whose
            // descriptors were closed since.
            let count = self.call(unless_some(events, timeout))?;
            self.take_in_all(count, events);
        }
        Ok(())
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.kqueue.as_fd()
    }

    fn flush_changes(&mut self) -> io::Result<()> {
        self.slots.gather(&mut self.changes);
        while !self.changes.is_empty() {
            self.submit_some()?;
        }
        if !self.refused.is_empty() {
            // Whoever watches the queue's descriptor is to come and hear of it. The event itself is
            // of no source, and dropped. Systems too old for it tell with their next event.
            drop(self.submit(&[ATTENTION])?);
        }
        Ok(())
    }
}

/// The timeout; none once there are events to return.
fn unless_some(events: &Events, timeout: Option<Duration>) -> Option<Duration> {
    if events.is_empty() {
        timeout
    } else {
        Some(Duration::ZERO)
    }
}
