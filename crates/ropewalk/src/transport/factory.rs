//! What makes protocols for the connections of a port or a connector.

use std::cell::RefCell;
use std::collections::VecDeque;

use super::slot::Slot;
use super::{Connector, NetAddr, Protocol};
use crate::error::{ConnectError, Disconnect};
use crate::reactor::core::Core;

/// Makes a protocol for each connection, and hears what becomes of a port or a connector.
///
/// A closure `FnMut(NetAddr) -> impl Protocol` is a factory. Callbacks of one factory never
/// overlap: what happens while one of them runs waits until it has returned.
///
/// The same as Twisted's `IProtocolFactory` and `ClientFactory`.
pub trait Factory: 'static {
    /// Makes the protocol for a connection with `peer`, or refuses the connection, which is closed
    /// then: a server's at once, a client's in order.
    fn build_protocol(&mut self, peer: NetAddr) -> Option<Box<dyn Protocol>>;

    /// The port listens, or the connector starts to connect: called before any connection, and not
    /// again before [`stopped`](Self::stopped).
    fn started(&mut self) {}

    /// The port is closed, or the connector neither connected nor about to connect again.
    fn stopped(&mut self) {}

    /// An attempt to connect begins; [`Connector::stop_connecting`] may be called here already.
    fn started_connecting(&mut self, connector: &Connector) {
        let _ = connector;
    }

    /// An attempt to connect failed. [`Connector::connect`] called here tries again.
    fn connection_failed(&mut self, connector: &Connector, error: ConnectError) {
        let _ = (connector, error);
    }

    /// The connector's connection ended; its protocol knows already. [`Connector::connect`] called
    /// here connects again.
    fn connection_lost(&mut self, connector: &Connector, reason: Disconnect) {
        let _ = (connector, reason);
    }
}

impl<F, P> Factory for F
where
    F: FnMut(NetAddr) -> P + 'static,
    P: Protocol,
{
    fn build_protocol(&mut self, peer: NetAddr) -> Option<Box<dyn Protocol>> {
        Some(Box::new(self(peer)))
    }
}

type Notice = Box<dyn FnOnce(&mut dyn Factory)>;

/// Holds a factory, and what it is to hear.
pub(crate) struct FactorySlot {
    factory: Slot<dyn Factory>,
    /// What the factory is to hear when its callback has returned.
    waiting: RefCell<VecDeque<(&'static str, Notice)>>,
}

impl FactorySlot {
    pub(crate) fn new(factory: Box<dyn Factory>) -> Self {
        Self {
            factory: Slot::new(factory),
            waiting: RefCell::default(),
        }
    }

    /// Whether a callback of the factory is running.
    pub(crate) fn is_busy(&self) -> bool {
        self.factory.is_busy()
    }

    /// Makes a protocol. `None` when the factory panicked; must not be called while it is busy.
    pub(crate) fn build(&self, core: &Core, peer: NetAddr) -> Option<Option<Box<dyn Protocol>>> {
        let build = |factory: &mut dyn Factory| factory.build_protocol(peer);
        let built = self
            .factory
            .call(core, "a factory's build_protocol", build)?;
        self.catch_up(core);
        built
    }

    /// Tells the factory something, now or when its running callback has returned.
    pub(crate) fn notify(
        &self,
        core: &Core,
        during: &'static str,
        notice: impl FnOnce(&mut dyn Factory) + 'static,
    ) {
        self.waiting
            .borrow_mut()
            .push_back((during, Box::new(notice)));
        self.catch_up(core);
    }

    /// Drops the factory and what it was to hear, for the reactor is gone.
    pub(crate) fn abandon(&self) {
        let waiting = self.waiting.take();
        drop((self.factory.take(), waiting));
    }

    fn catch_up(&self, core: &Core) {
        while !self.is_busy() {
            // Bound first, so that the borrow ends before user code runs.
            let next = self.waiting.borrow_mut().pop_front();
            let Some((during, notice)) = next else {
                return;
            };
            self.factory.call(core, during, notice);
        }
    }
}
