//! A client's side: connects, and connects again when it is told to.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};

use super::attempt::Attempt;
use super::factory::{Factory, FactorySlot};
use super::stream::{Owner, Socket, Stream};
use super::{Address, ConnectOptions, Protocol, Transport};
use crate::error::{ConnectError, ConnectErrorKind, Disconnect, Misuse, Result};
use crate::reactor::Reactor;
use crate::reactor::core::Core;

/// Connects to one destination, as often as it is told: a cheap handle of one thread.
///
/// The same as Twisted's `IConnector`.
#[derive(Clone)]
pub struct Connector {
    pub(crate) client: Rc<Client>,
}

/// Where a [`Connector`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectorState {
    /// Idle: before the first attempt, after a failed one, after a connection.
    Disconnected,
    /// An attempt is under way.
    Connecting,
    /// The connection is open.
    Connected,
}

/// What the handles share. While an attempt is under way it is the source of the engine.
pub(crate) struct Client {
    pub(crate) me: Weak<Client>,
    core: Weak<Core>,
    pub(crate) destination: Address,
    pub(crate) options: ConnectOptions,
    pub(crate) factory: FactorySlot,
    pub(crate) state: Cell<ConnectorState>,
    /// The attempt under way. Borrowed only for a look at it or to change it.
    pub(crate) attempt: RefCell<Option<Attempt>>,
    /// The number of the latest attempt: what comes late of an earlier one is not taken for its own.
    pub(crate) serial: Cell<u64>,
    transport: RefCell<Option<Transport>>,
    /// Whether the factory was told that it started, and not yet that it stopped.
    started: Cell<bool>,
    /// A disconnection asked for while the protocol was being made.
    disconnect_due: Cell<bool>,
}

/// Connecting over TCP.
impl Reactor {
    /// Connects to `address`: a literal one, or a host name (`"example.org:80"`), which is resolved
    /// off the loop and whose addresses are tried in turn. `factory` makes the protocol and hears
    /// how the attempt ends, from the next turn on; a closure that takes the peer's address will do
    /// for a program that need not know of failures.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidAddress`](crate::Error::InvalidAddress) for text that is no address. All
    /// else is told to [`Factory::connection_failed`].
    pub fn connect_tcp(
        &self,
        address: impl Into<Address>,
        factory: impl Factory,
    ) -> Result<Connector> {
        self.connect_tcp_with(address, ConnectOptions::new(), factory)
    }

    /// Connects as [`connect_tcp`](Self::connect_tcp) does, with other options than the usual ones.
    ///
    /// # Errors
    ///
    /// As [`connect_tcp`](Self::connect_tcp).
    pub fn connect_tcp_with(
        &self,
        address: impl Into<Address>,
        options: ConnectOptions,
        factory: impl Factory,
    ) -> Result<Connector> {
        let destination = address.into();
        destination.target()?;
        Connector::start(&self.core, destination, options, Box::new(factory))
    }
}

impl Connector {
    /// Makes a connector and begins the first attempt.
    pub(super) fn start(
        core: &Rc<Core>,
        destination: Address,
        options: ConnectOptions,
        factory: Box<dyn Factory>,
    ) -> Result<Self> {
        let client = Rc::new_cyclic(|me| Client {
            me: Weak::clone(me),
            core: Rc::downgrade(core),
            destination,
            options,
            factory: FactorySlot::new(factory),
            state: Cell::new(ConnectorState::Disconnected),
            attempt: RefCell::default(),
            serial: Cell::new(0),
            transport: RefCell::default(),
            started: Cell::new(false),
            disconnect_due: Cell::new(false),
        });
        let connector = Connector { client };
        connector.connect()?;
        Ok(connector)
    }

    /// Begins an attempt; nothing goes out to the network before the next turn.
    ///
    /// # Errors
    ///
    /// - [`Misuse::ConnectorInUse`]: connecting or connected already.
    /// - [`Misuse::NotRunning`]: the reactor is gone.
    pub fn connect(&self) -> Result<(), Misuse> {
        self.client.connect()
    }

    /// Gives the attempt up. The factory hears of it as
    /// [`Cancelled`](ConnectErrorKind::Cancelled), before this returns unless one of its callbacks
    /// is running.
    ///
    /// # Errors
    ///
    /// [`Misuse::NotConnecting`] when there is no attempt.
    pub fn stop_connecting(&self) -> Result<(), Misuse> {
        if self.state() != ConnectorState::Connecting {
            return Err(Misuse::NotConnecting);
        }
        self.client.fail(
            &self.client.core()?,
            ConnectError::new(ConnectErrorKind::Cancelled),
        );
        Ok(())
    }

    /// Ends whatever there is: an attempt as [`stop_connecting`](Self::stop_connecting) does, a
    /// connection as [`Transport::lose_connection`] does.
    pub fn disconnect(&self) {
        match self.state() {
            ConnectorState::Disconnected => {}
            ConnectorState::Connecting => {
                // Fails only without an attempt.
                let _: Result<(), Misuse> = self.stop_connecting();
            }
            ConnectorState::Connected => match self.transport() {
                Some(transport) => transport.lose_connection(),
                None => self.client.disconnect_due.set(true),
            },
        }
    }

    /// Where the connector is.
    pub fn state(&self) -> ConnectorState {
        self.client.state.get()
    }

    /// What the connector connects to, as it was given.
    pub fn destination(&self) -> &Address {
        &self.client.destination
    }

    /// The connection, while there is one.
    pub fn transport(&self) -> Option<Transport> {
        self.client.transport.borrow().clone()
    }
}

impl Client {
    fn core(&self) -> Result<Rc<Core>, Misuse> {
        self.core.upgrade().ok_or(Misuse::NotRunning)
    }

    fn connect(&self) -> Result<(), Misuse> {
        if self.state.get() != ConnectorState::Disconnected {
            return Err(Misuse::ConnectorInUse);
        }
        let (core, Some(me)) = (self.core()?, self.me.upgrade()) else {
            return Err(Misuse::NotRunning);
        };
        self.state.set(ConnectorState::Connecting);
        if !self.started.replace(true) {
            self.factory
                .notify(&core, "a factory's started", |factory| factory.started());
        }
        let serial = self.serial.get() + 1;
        self.serial.set(serial);
        self.begin(&core, serial);
        self.factory
            .notify(&core, "a factory's started_connecting", move |factory| {
                // Not told of an attempt that ended before the factory's callback returned.
                if me.serial.get() == serial && me.state.get() == ConnectorState::Connecting {
                    factory.started_connecting(&Connector { client: me });
                }
            });
        Ok(())
    }

    /// The attempt succeeded: makes the protocol and hands the socket over.
    pub(crate) fn succeed(&self, core: &Rc<Core>, socket: Socket) {
        let Some(me) = self.me.upgrade() else { return };
        self.state.set(ConnectorState::Connected);
        let (protocol, refused): (Box<dyn Protocol>, bool) =
            match self.factory.build(core, socket.peer.clone()) {
                Some(Some(protocol)) => (protocol, false),
                // The peer sees an orderly end, and the factory hears that the connection is lost.
                Some(None) => (Box::new(Nobody), true),
                None => {
                    drop(socket);
                    return self.fail(core, ConnectError::new(ConnectErrorKind::NoProtocol));
                }
            };
        let transport = Stream::open(core, socket, protocol, Some(me), |transport| {
            *self.transport.borrow_mut() = Some(transport.clone());
        });
        if self.disconnect_due.take() || refused {
            transport.lose_connection();
        }
    }

    /// The attempt failed.
    pub(crate) fn fail(&self, core: &Rc<Core>, error: ConnectError) {
        drop(self.abandon(core));
        self.disconnect_due.set(false);
        self.state.set(ConnectorState::Disconnected);
        let Some(client) = self.me.upgrade() else {
            return;
        };
        let connector = Connector { client };
        self.factory
            .notify(core, "a factory's connection_failed", move |factory| {
                factory.connection_failed(&connector, error);
            });
        self.stop_if_idle(core);
    }

    /// Tells the factory that it stopped, unless it has begun another attempt.
    fn stop_if_idle(&self, core: &Rc<Core>) {
        let Some(me) = self.me.upgrade() else { return };
        self.factory
            .notify(core, "a factory's stopped", move |factory| {
                if me.state.get() == ConnectorState::Disconnected && me.started.replace(false) {
                    factory.stopped();
                }
            });
    }
}

impl Owner for Client {
    fn orphaned(&self) {
        let transport = self.transport.take();
        drop(transport);
        self.factory.abandon();
    }

    fn stream_ended(&self, core: &Rc<Core>, reason: Disconnect) {
        drop(self.transport.take());
        self.state.set(ConnectorState::Disconnected);
        let Some(client) = self.me.upgrade() else {
            return;
        };
        let connector = Connector { client };
        self.factory
            .notify(core, "a factory's connection_lost", move |factory| {
                factory.connection_lost(&connector, reason);
            });
        self.stop_if_idle(core);
    }
}

/// The protocol of a connection that the factory refused.
struct Nobody;

impl Protocol for Nobody {
    fn data_received(&mut self, _: &Transport, _: &[u8]) {}
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("destination", &format_args!("{}", self.destination()))
            .field("state", &self.state())
            .finish()
    }
}
