//! Signals as events of the loop. SIGINT and SIGTERM stop the reactor, unless the program has other
//! plans for them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::{Rc, Weak};

use ropewalk_os::{Signal, SignalSet, Waker};

use super::Reactor;
use super::core::Core;
use super::failure::Failure;
use crate::error::{Error, Result};

/// What stops the reactor while it runs, and whether it does even if it was ignored before.
const STOPPING: [(Signal, bool); 2] = [(Signal::INT, false), (Signal::TERM, true)];

/// What the program wants to be called when a signal came.
type Callback = Rc<dyn Fn(&Reactor)>;

/// The signals of one reactor.
pub(crate) struct Signals {
    enabled: bool,
    set: RefCell<SignalSet>,
    /// How many want each signal to be watched.
    wanted: RefCell<BTreeMap<Signal, usize>>,
    handlers: RefCell<Handlers>,
    /// Those of `STOPPING` that are handled at present.
    stopping: RefCell<Vec<Signal>>,
    /// Whether `SIGCHLD` is watched for the sake of children.
    for_children: Cell<bool>,
    received: Cell<Option<Signal>>,
}

/// In the order they were added.
#[derive(Default)]
struct Handlers {
    next_id: u64,
    all: Vec<(u64, Signal, Callback)>,
}

/// A callback that [`Reactor::on_signal`] has added.
///
/// Dropping it changes nothing; the callback goes with its reactor.
#[must_use = "a handler that nobody can remove stays as long as its reactor"]
pub struct SignalHandler {
    core: Weak<Core>,
    id: u64,
    signal: Signal,
}

/// Signals.
impl Reactor {
    /// Makes `call` whenever `signal` comes, in a turn of the loop: from now on and until the
    /// [handler](SignalHandler) is removed, whether the reactor runs or makes single turns. Any
    /// number of calls may wait for one signal; they are made in the order they were added.
    ///
    /// A signal that comes several times between two turns is one event, as it is to the system
    /// while it is blocked. Handlers of other parts of the program run as before, and other
    /// reactors hear of it too. Its default action does not happen, in the whole process, until
    /// nobody waits for it any more. For `SIGINT` and `SIGTERM` of a reactor that they
    /// [stop](super::Builder::signals), the calls are made first.
    ///
    /// # Errors
    ///
    /// [`Error::Os`]: [`InvalidInput`](std::io::ErrorKind::InvalidInput) for `SIGKILL`, `SIGSTOP`
    /// and the signals of crashes, which cannot be handled so, and numbers that are no signal.
    ///
    /// # Examples
    ///
    /// ```
    /// use ropewalk::{Reactor, Signal};
    ///
    /// # fn main() -> ropewalk::Result<()> {
    /// let reactor = Reactor::new()?;
    /// let reload = reactor.on_signal(Signal::HUP, |_reactor| println!("reading the configuration"))?;
    /// // …
    /// assert!(reload.remove());
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_signal(
        &self,
        signal: Signal,
        call: impl Fn(&Reactor) + 'static,
    ) -> Result<SignalHandler> {
        let signals = &self.core.signals;
        signals.want(signal)?;
        let id = signals.handlers.borrow_mut().add(signal, Rc::new(call));
        Ok(SignalHandler {
            core: Rc::downgrade(&self.core),
            id,
            signal,
        })
    }
}

impl SignalHandler {
    /// Takes the callback back; false when it was before, or its reactor is gone.
    pub fn remove(&self) -> bool {
        let Some(core) = self.core.upgrade() else {
            return false;
        };
        let removed = core.signals.handlers.borrow_mut().remove(self.id);
        if removed.is_some() {
            core.signals.unwant(self.signal);
        }
        removed.is_some()
    }

    /// The signal it waits for.
    pub const fn signal(&self) -> Signal {
        self.signal
    }
}

impl fmt::Debug for SignalHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalHandler")
            .field("signal", &self.signal)
            .finish_non_exhaustive()
    }
}

impl Handlers {
    fn add(&mut self, signal: Signal, callback: Callback) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.all.push((id, signal, callback));
        id
    }

    /// The callback is handed out, to be dropped when nothing is borrowed.
    fn remove(&mut self, id: u64) -> Option<Callback> {
        let index = self.all.iter().position(|(other, _, _)| *other == id)?;
        Some(self.all.remove(index).2)
    }

    fn ids(&self, signal: Signal) -> Vec<u64> {
        let of_signal = self.all.iter().filter(|(_, other, _)| *other == signal);
        of_signal.map(|(id, _, _)| *id).collect()
    }

    fn find(&self, id: u64) -> Option<Callback> {
        let found = self.all.iter().find(|(other, _, _)| *other == id)?;
        Some(Rc::clone(&found.2))
    }
}

impl Signals {
    pub(crate) fn new(waker: Waker, enabled: bool) -> Self {
        Self {
            enabled,
            set: RefCell::new(SignalSet::new(waker)),
            wanted: RefCell::default(),
            handlers: RefCell::default(),
            stopping: RefCell::default(),
            for_children: Cell::new(false),
            received: Cell::new(None),
        }
    }

    /// The signal that stopped the reactor.
    pub(crate) fn exit_signal(&self) -> Option<i32> {
        self.received.get().map(Signal::number)
    }

    fn want(&self, signal: Signal) -> Result<()> {
        let added = self.set.borrow_mut().add(signal.number());
        added.map_err(Error::os("handle a signal"))?;
        *self.wanted.borrow_mut().entry(signal).or_default() += 1;
        Ok(())
    }

    fn unwant(&self, signal: Signal) {
        let mut wanted = self.wanted.borrow_mut();
        let Some(count) = wanted.get_mut(&signal) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            wanted.remove(&signal);
            self.set.borrow_mut().remove(signal.number());
        }
    }

    /// Has `SIGCHLD` tell of children, until the reactor is gone.
    pub(crate) fn watch_children(&self) -> Result<()> {
        if !self.for_children.get() {
            self.want(Signal::CHLD)?;
            self.for_children.set(true);
        }
        Ok(())
    }

    /// Begins to handle the signals that stop the reactor. A refusal of the system is reported, and
    /// the reactor runs on.
    pub(crate) fn install(&self, core: &Core) {
        if !self.enabled || !self.stopping.borrow().is_empty() {
            return;
        }
        for (signal, even_if_ignored) in STOPPING {
            if !even_if_ignored && signal.is_ignored() {
                continue;
            }
            match self.want(signal) {
                Ok(()) => self.stopping.borrow_mut().push(signal),
                Err(error) => core.report(Failure::from_error("startup", error)),
            }
        }
    }

    fn stops(&self, signal: Signal) -> bool {
        self.stopping.borrow().contains(&signal)
    }

    /// Ends that.
    pub(crate) fn uninstall(&self) {
        for signal in self.stopping.take() {
            self.unwant(signal);
        }
    }
}

impl Core {
    /// Does what the signals that came since the last turn ask for.
    pub(crate) fn handle_signals(self: &Rc<Self>) {
        let pending = self.signals.set.borrow().take_pending();
        for signal in pending.into_iter().map(Signal::from_number) {
            self.handle_signal(signal);
        }
    }

    fn handle_signal(self: &Rc<Self>, signal: Signal) {
        if signal == Signal::CHLD && self.signals.for_children.get() {
            self.child_signal();
        }
        let ids = self.signals.handlers.borrow().ids(signal);
        for id in ids {
            // One that another has removed meanwhile is not called.
            let callback = self.signals.handlers.borrow().find(id);
            if let Some(callback) = callback {
                self.guard("a signal's callback", || callback(&self.reactor()));
            }
        }
        if self.signals.stops(signal) {
            self.stop_by(signal);
        }
    }

    fn stop_by(self: &Rc<Self>, signal: Signal) {
        match self.reactor().stop() {
            Ok(()) => {
                self.signals.received.set(Some(signal));
                tracing::info!("received {signal}, shutting down");
            }
            // It is stopping already, perhaps by the same signal.
            Err(misuse) => tracing::info!(%misuse, "received {signal}, which changes nothing"),
        }
    }
}
