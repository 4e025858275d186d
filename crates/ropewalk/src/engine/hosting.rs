//! An engine inside another loop, and around a fork.

use std::cell::{Cell, OnceCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use ropewalk_os::{HostFd, Poller, PollerKind};

use super::sources::{Engine, Host, waiting};

/// What an engine knows of the loop it lives in.
#[derive(Default)]
pub(super) struct Hosting {
    /// Made when it is first asked for: a loop of its own needs none.
    fd: OnceCell<HostFd>,
    /// Whether the other loop may be waiting, so that what is asked for now has to wake it.
    asleep: Cell<bool>,
    /// Whether the waker was used for that.
    woken: Cell<bool>,
}

impl Hosting {
    /// The poller is about to be replaced by this one.
    pub(super) fn watch(&self, poller: &dyn Poller) -> io::Result<()> {
        match self.fd.get() {
            Some(fd) => fd.watch(poller),
            None => Ok(()),
        }
    }
}

/// Life inside another loop.
impl<H: Host> Engine<H> {
    /// A descriptor that is readable while a [`poll`](Self::poll) would have something to dispatch,
    /// for another loop to watch. Level-triggered, and the same for the life of the engine.
    ///
    /// From the first call on the engine is *hosted*: the embedder begins each turn with
    /// [`begin_turn`](Self::begin_turn), ends it with [`settle`](Self::settle), and what is asked for between turns makes the descriptor readable.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](io::ErrorKind::Unsupported) for pollers that have no descriptor (see
    /// [`Capabilities::pollable`](ropewalk_os::Capabilities)); `EMFILE`.
    pub fn host_fd(&self) -> io::Result<BorrowedFd<'_>> {
        if let Some(fd) = self.hosting.fd.get() {
            return Ok(fd.as_fd());
        }
        let outer = (self.make_poller.borrow())()?;
        let poller = self.poller.try_borrow().map_err(|_| waiting())?;
        let fd = HostFd::new(outer, &**poller)?;
        Ok(self.hosting.fd.get_or_init(|| fd).as_fd())
    }

    /// Whether another loop watches the engine: whether [`host_fd`](Self::host_fd) was called.
    pub fn is_hosted(&self) -> bool {
        self.hosting.fd.get().is_some()
    }

    /// Ends a turn of a hosted engine: sends what is queued and tells the system about changed
    /// interest, so that the descriptor tells the truth while the other loop waits. The other loop
    /// must not wait at all while [`is_due`](Self::is_due).
    ///
    /// # Errors
    ///
    /// As [`poll`](Self::poll).
    pub fn settle(&self, host: &H) -> io::Result<()> {
        self.flush(host);
        self.apply(host)?;
        self.poller
            .try_borrow_mut()
            .map_err(|_| waiting())?
            .flush_changes()?;
        self.hosting.asleep.set(true);
        Ok(())
    }

    /// Has the other loop, if it may be waiting, make a turn soon. The engine calls it for all that
    /// it is asked for itself; an embedder calls it for what it keeps outside of the engine, such as
    /// timers.
    pub fn wake_host(&self) {
        if self.hosting.asleep.take() {
            self.hosting.woken.set(true);
            self.waker().wake();
        }
    }

    /// Begins a turn of a hosted engine: what is asked for from now on wakes nobody, and a wake-up
    /// by [`wake_host`](Self::wake_host) has done its work. Comes before the embedder looks at the
    /// calls of other threads, whose wake-ups may be taken back with it.
    pub fn begin_turn(&self) {
        self.hosting.asleep.set(false);
        if self.hosting.woken.take() {
            self.waker().drain();
        }
    }
}

/// Forking.
impl<H: Host> Engine<H> {
    /// Lets go of the poller, in the parent and before a fork, so that parent and child share none
    /// and the child inherits none that it could not use (a kqueue is not inherited at all). Until
    /// [`restore_poller`](Self::restore_poller) the engine must not be turned.
    ///
    /// # Errors
    ///
    /// [`ResourceBusy`](io::ErrorKind::ResourceBusy) while another thread waits in the engine;
    /// `EMFILE` in another loop.
    pub fn release_poller(&self) -> io::Result<()> {
        // poll(2) keeps nothing in the system.
        let placeholder = PollerKind::Poll.new_poller()?;
        let mut poller = self.poller.try_borrow_mut().map_err(|_| waiting())?;
        if let Some(fd) = self.hosting.fd.get() {
            fd.release()?;
        }
        *poller = placeholder;
        drop(poller);
        self.forget_registrations();
        Ok(())
    }

    /// Makes a new poller after the fork, in whichever process goes on (in both, if both do), and
    /// parts the waker from the other process's. Descriptor numbers stay: the waker's, and that of
    /// [`host_fd`](Self::host_fd), which the other loop has to add anew. Every source is registered
    /// again before the next wait.
    ///
    /// # Errors
    ///
    /// As [`Engine::with_maker`]; it may be tried again.
    pub fn restore_poller(&self) -> io::Result<()> {
        let (fresh, outer) = {
            let make = self.make_poller.borrow();
            let outer = match self.is_hosted() {
                true => Some(make()?),
                false => None,
            };
            (make()?, outer)
        };
        self.waker().renew()?;
        if let (Some(fd), Some(outer)) = (self.hosting.fd.get(), outer) {
            fd.renew(outer, &*fresh)?;
        }
        *self.poller.try_borrow_mut().map_err(|_| waiting())? = fresh;
        self.forget_registrations();
        Ok(())
    }
}
