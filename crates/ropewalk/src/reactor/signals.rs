//! SIGINT and SIGTERM stop the reactor, unless the program has other plans for them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ropewalk_os::{SignalSet, Waker};

use super::core::Core;
use super::failure::Failure;
use crate::error::Error;

/// Handled while the reactor runs: `SIGINT` and `SIGTERM`, the same numbers on every Unix.
const STOPPING: [i32; 2] = [2, 15];

/// The signals of one reactor.
pub(crate) struct Signals {
    waker: Waker,
    enabled: bool,
    set: RefCell<Option<SignalSet>>,
    received: Cell<Option<i32>>,
}

impl Signals {
    pub(crate) fn new(waker: Waker, enabled: bool) -> Self {
        Self {
            waker,
            enabled,
            set: RefCell::default(),
            received: Cell::new(None),
        }
    }

    /// The signal that stopped the reactor.
    pub(crate) fn exit_signal(&self) -> Option<i32> {
        self.received.get()
    }

    /// Begins to handle signals. A refusal of the system is reported, and the reactor runs on.
    pub(crate) fn install(&self, core: &Core) {
        if !self.enabled {
            return;
        }
        let mut set = SignalSet::new(self.waker.clone());
        for signal in STOPPING {
            if let Err(source) = set.add(signal) {
                let error = Error::Os {
                    op: "handle a signal",
                    source,
                };
                core.report(Failure::from_error("startup", error));
            }
        }
        self.set.replace(Some(set));
    }

    /// Ends the handling of signals.
    pub(crate) fn uninstall(&self) {
        self.set.replace(None);
    }

    /// Stops the reactor if a signal came.
    pub(crate) fn handle_pending(&self, core: &Rc<Core>) {
        let pending = match &*self.set.borrow() {
            Some(set) => set.take_pending(),
            None => return,
        };
        for signal in pending {
            let name = if signal == 2 { "SIGINT" } else { "SIGTERM" };
            match core.reactor().stop() {
                Ok(()) => {
                    self.received.set(Some(signal));
                    tracing::info!("received {name}, shutting down");
                }
                // It is stopping already, perhaps by the same signal.
                Err(misuse) => tracing::info!(%misuse, "received {name}, which changes nothing"),
            }
        }
    }
}
