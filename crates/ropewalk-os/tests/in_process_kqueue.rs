//! The kernel queue for tests keeps the rules that the BSDs document, one test for each.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "in_process/calls.rs"]
mod calls;
#[path = "in_process/closing.rs"]
mod closing;
#[path = "in_process/others.rs"]
mod others;
#[path = "in_process/readiness.rs"]
mod readiness;
#[path = "in_process/registrations.rs"]
mod registrations;
#[path = "in_process/sockets.rs"]
mod sockets;

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ropewalk_os::kqueue::{EventFlags, Filter, InProcessKqueue, KernelEvent, Kqueue};
use ropewalk_testkit::{DescriptorCount, assert_no_children};

const ADD: EventFlags = EventFlags::ADD;
const DELETE: EventFlags = EventFlags::DELETE;

/// How long an event that must come may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Numbers that are closed and used again, and descriptor counts, are the process's.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A queue; the test that has it is alone, and leaves nothing behind.
struct Queue {
    // Dropped in this order.
    kqueue: InProcessKqueue,
    _count: DescriptorCount,
    _turn: MutexGuard<'static, ()>,
}

impl Queue {
    fn new() -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        assert_no_children();
        let count = DescriptorCount::new();
        Self {
            kqueue: InProcessKqueue::new().unwrap(),
            _count: count,
            _turn: turn,
        }
    }

    /// Makes one change, which has nowhere to tell an error but in the result.
    fn change(&mut self, change: KernelEvent) -> Result<(), i32> {
        match self.kqueue.kevent(&[change], &mut [], None) {
            Ok(count) => {
                assert_eq!(count, 0);
                Ok(())
            }
            Err(error) => Err(error.raw_os_error().unwrap()),
        }
    }

    fn add(&mut self, fd: &impl AsRawFd, filter: Filter) {
        self.change(change(fd.as_raw_fd(), filter, ADD)).unwrap();
    }

    /// What is ready now, as far as there is room.
    fn ready_within(&mut self, room: usize) -> Vec<KernelEvent> {
        self.call(&[], room, Duration::ZERO).unwrap()
    }

    fn ready(&mut self) -> Vec<KernelEvent> {
        self.ready_within(16)
    }

    /// What is ready once something is.
    fn wait(&mut self) -> Vec<KernelEvent> {
        let events = self.call(&[], 16, PATIENCE).unwrap();
        assert!(!events.is_empty(), "nothing came");
        events
    }

    fn call(
        &mut self,
        changes: &[KernelEvent],
        room: usize,
        timeout: Duration,
    ) -> io::Result<Vec<KernelEvent>> {
        let mut events = vec![KernelEvent::default(); room];
        let count = self.kqueue.kevent(changes, &mut events, Some(timeout))?;
        events.truncate(count);
        Ok(events)
    }

    /// Whether the queue's own descriptor is readable.
    fn is_readable(&self) -> bool {
        let mut entry = libc::pollfd {
            fd: self.kqueue.as_fd().unwrap().as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: the call reads and writes the one entry.
        unsafe { libc::poll(&mut entry, 1, 0) == 1 }
    }
}

/// A change whose `udata` is 7.
fn change(fd: RawFd, filter: Filter, flags: EventFlags) -> KernelEvent {
    KernelEvent {
        ident: fd as usize,
        filter,
        flags,
        udata: 7,
        ..KernelEvent::default()
    }
}

/// Numbers and filters of events.
fn names(events: &[KernelEvent]) -> Vec<(RawFd, Filter)> {
    let name = |event: &KernelEvent| (RawFd::try_from(event.ident).unwrap(), event.filter);
    events.iter().map(name).collect()
}

fn is_eof(event: &KernelEvent) -> bool {
    event.flags.contains(EventFlags::EOF)
}

fn nonblocking(fd: &impl AsFd) {
    rustix::io::ioctl_fionbio(fd, true).unwrap();
}
