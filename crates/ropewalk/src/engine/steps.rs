//! The steps of a [`poll`](Engine::poll) one by one, with descriptor numbers for tokens: for an
//! embedder that lets the program stand between the wait and the dispatch.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use ropewalk_os::{Event, Readiness, Token};

use super::sources::{Engine, Host, waiting};

impl<H: Host> Engine<H> {
    /// Flushes and tells the system about changed interest: what a [`poll`](Self::poll) does before
    /// it waits.
    ///
    /// # Errors
    ///
    /// As [`poll`](Self::poll).
    pub fn prepare(&self, host: &H) -> io::Result<()> {
        self.flush(host);
        self.apply(host)
    }

    /// [Prepares](Self::prepare), waits as a [`poll`](Self::poll) would, and answers what the poller
    /// reports by descriptor number (the waker's among them) instead of dispatching it. Nothing is
    /// lost if it is never dispatched: readiness is a level.
    ///
    /// # Errors
    ///
    /// As [`poll`](Self::poll).
    pub fn wait_for_reports(
        &self,
        host: &H,
        timeout: Option<Duration>,
    ) -> io::Result<Vec<(RawFd, Readiness)>> {
        self.prepare(host)?;
        let mut events = self.events.take();
        let result = self.wait(host, &mut events, timeout, false);
        if self.has_stray(&events) {
            self.shed_strays();
        }
        let registry = self.registry.borrow();
        let report = |event: &Event| Some((registry.watched_number(event.token)?, event.readiness));
        let reports = events.iter().filter_map(report).collect();
        drop(registry);
        events.clear();
        self.events.set(events);
        result.map(|()| reports)
    }

    /// Dispatches `reports` as if the poller had made them, with everything else that is due, and
    /// flushes: what a [`poll`](Self::poll) does after it waited. Numbers that the poller does not
    /// watch are passed over.
    pub fn dispatch_reports(&self, host: &H, reports: &[(RawFd, Readiness)]) {
        let mut events = self.events.take();
        events.clear();
        let registry = self.registry.borrow();
        for (number, readiness) in reports {
            if let Some(token) = registry.watched(*number) {
                let readiness = *readiness;
                events.push(Event { token, readiness });
            }
        }
        registry.push_always_ready(&mut events);
        drop(registry);
        let requested = std::mem::take(&mut *self.requested.borrow_mut());
        self.deliver(host, events, requested);
    }

    /// Whether the poller refused the source as one that never blocks, so that it is always ready.
    /// Known once the system was told about it (see [`apply`](Self::apply)).
    pub fn is_unpollable(&self, token: Token) -> bool {
        self.registry.borrow().is_unpollable(token)
    }

    /// How many sources there are.
    pub fn len(&self) -> usize {
        self.registry.borrow().len()
    }

    /// Whether there is no source.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of the poller's own descriptor, for pollers that have one.
    ///
    /// # Errors
    ///
    /// [`ResourceBusy`](io::ErrorKind::ResourceBusy) while another thread waits in this engine.
    pub fn poller_number(&self) -> io::Result<Option<RawFd>> {
        let poller = self.poller.try_borrow().map_err(|_| waiting())?;
        Ok(poller.as_fd().map(|fd| fd.as_raw_fd()))
    }
}
