//! A port that listens for connections.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::{Rc, Weak};

use ropewalk_os::socket::{self, ListenOptions as SocketOptions};
use ropewalk_os::{Interest, Readiness, SourceFd, Token};

use super::accept::AcceptCap;
use super::factory::{Factory, FactorySlot};
use super::unix::Place;
use super::{Address, ListenOptions, NetAddr};
use crate::deferred::{Deferred, DeferredSender};
use crate::error::{Disconnect, Error, Result};
use crate::reactor::Reactor;
use crate::reactor::core::{Core, Source};

/// A listening port: a cheap handle of one thread.
///
/// The port listens until it is told to stop or the reactor shuts down; dropping its handles does
/// not close it. The same as Twisted's `IListeningPort`.
#[derive(Clone)]
pub struct ListeningPort {
    port: Rc<Port>,
}

/// What the handles share, and the source of the engine.
pub(crate) struct Port {
    me: Weak<Port>,
    core: Weak<Core>,
    /// Where in the engine the port is; empty once it is closed.
    token: Cell<Option<Token>>,
    pub(crate) local: NetAddr,
    /// The path to remove when the port is closed.
    place: Cell<Option<Place>>,
    pub(crate) factory: FactorySlot,
    pub(crate) cap: AcceptCap,
    /// Whether the port may accept; not while it is being closed, or waits for room.
    accepting: Cell<bool>,
    /// Who waits for the port to be closed.
    closed: RefCell<Vec<DeferredSender<()>>>,
}

/// Listening on TCP.
impl Reactor {
    /// Listens on `address`, a literal one (`"127.0.0.1:8007"`, `"[::]:0"`); with port 0 the system
    /// chooses. `factory` makes a protocol for each connection, from the next turn on; a closure
    /// that takes the peer's address will do.
    ///
    /// # Errors
    ///
    /// - [`Error::InvalidAddress`]: not a socket address. Host names are not resolved here.
    /// - [`Error::CannotListen`]: the system refused, for example because the address is in use.
    ///
    /// # Examples
    ///
    /// ```
    /// use ropewalk::{Protocol, Reactor, Transport};
    ///
    /// struct Echo;
    ///
    /// impl Protocol for Echo {
    ///     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
    ///         transport.write(data);
    ///     }
    /// }
    ///
    /// # fn main() -> ropewalk::Result<()> {
    /// let reactor = Reactor::new()?;
    /// let port = reactor.listen_tcp("127.0.0.1:0", |_peer| Echo)?;
    /// println!("listening on {}", port.local_addr());
    /// # Ok(())
    /// # }
    /// ```
    pub fn listen_tcp(
        &self,
        address: impl Into<Address>,
        factory: impl Factory,
    ) -> Result<ListeningPort> {
        self.listen_tcp_with(address, ListenOptions::new(), factory)
    }

    /// Listens as [`listen_tcp`](Self::listen_tcp) does, with other options than the usual ones.
    ///
    /// # Errors
    ///
    /// As [`listen_tcp`](Self::listen_tcp).
    pub fn listen_tcp_with(
        &self,
        address: impl Into<Address>,
        options: ListenOptions,
        factory: impl Factory,
    ) -> Result<ListeningPort> {
        let addr = address.into().literal()?;
        let cannot_listen = |source| Error::CannotListen {
            addr: addr.into(),
            source,
        };
        let options = SocketOptions {
            backlog: options.backlog,
            reuse_address: options.reuse_address,
            reuse_port: options.reuse_port,
            v6_only: options.v6_only,
        };
        let fd = socket::listen(addr, &options).map_err(cannot_listen)?;
        let local = socket::local_addr(fd.as_fd()).map_err(cannot_listen)?;
        Ok(ListeningPort {
            port: Port::open(&self.core, fd, local.into(), None, Box::new(factory)),
        })
    }
}

impl ListeningPort {
    pub(super) fn new(port: Rc<Port>) -> Self {
        Self { port }
    }

    /// The address the port listens on, with the number the system chose for port 0. Stays after
    /// the port is closed.
    pub fn local_addr(&self) -> NetAddr {
        self.port.local.clone()
    }

    /// Whether the port listens.
    pub fn is_listening(&self) -> bool {
        self.port.token.get().is_some()
    }

    /// Stops listening. Nothing is accepted any more; the port is closed in a later step, and the
    /// `Deferred` fires when it is, or at once if it was before. Connections stay.
    ///
    /// The `Deferred` fails with [`Error::Panicked`] when the factory's
    /// [`stopped`](Factory::stopped) panicked.
    pub fn stop_listening(&self) -> Deferred<()> {
        self.port.stop()
    }

    /// Runs `use_fd` on the listening socket, for options this handle does not know. `use_fd` must
    /// not call the reactor or its transports, and must leave the socket non-blocking and open.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected) when the port is closed.
    pub fn with_fd<R>(&self, use_fd: impl FnOnce(BorrowedFd<'_>) -> R) -> io::Result<R> {
        let core = self.port.core.upgrade();
        let used = core.and_then(|core| core.engine.with_fd(self.port.token.get()?, use_fd));
        used.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Port {
    pub(super) fn open(
        core: &Rc<Core>,
        fd: OwnedFd,
        local: NetAddr,
        place: Option<Place>,
        factory: Box<dyn Factory>,
    ) -> Rc<Self> {
        let port = Rc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            core: Rc::downgrade(core),
            token: Cell::new(None),
            local,
            place: Cell::new(place),
            factory: FactorySlot::new(factory),
            cap: AcceptCap::default(),
            accepting: Cell::new(true),
            closed: RefCell::default(),
        });
        let source: Rc<dyn Source> = Rc::clone(&port) as Rc<dyn Source>;
        port.token
            .set(Some(core.engine.insert(SourceFd::from(fd), source)));
        port.factory
            .notify(core, "a factory's started", |factory| factory.started());
        port.update_interest(core);
        tracing::debug!(local = %port.local, "listening");
        port
    }

    fn stop(&self) -> Deferred<()> {
        let (Some(core), Some(token)) = (self.core.upgrade(), self.token.get()) else {
            return Deferred::ready(());
        };
        let (sender, deferred) = Deferred::new();
        self.closed.borrow_mut().push(sender);
        self.accepting.set(false);
        self.update_interest(&core);
        core.engine.request_ready(token, Readiness::HANGUP);
        deferred
    }

    /// Whether the port still accepts: a factory may have stopped it meanwhile.
    pub(crate) fn is_accepting(&self) -> bool {
        self.accepting.get() && self.token.get().is_some()
    }

    /// Accepts nothing for a moment, for what stands in the way does not go by being asked again.
    pub(crate) fn rest(&self, core: &Rc<Core>, duration: std::time::Duration) {
        self.accepting.set(false);
        self.update_interest(core);
        let me = Weak::clone(&self.me);
        core.call_later(
            duration,
            Box::new(move |reactor| {
                if let Some(port) = me.upgrade() {
                    port.accepting.set(port.closed.borrow().is_empty());
                    port.update_interest(&reactor.core);
                }
            }),
        );
    }

    fn update_interest(&self, core: &Core) {
        if let Some(token) = self.token.get() {
            let interest = Interest::NONE.with_readable(self.accepting.get());
            core.engine.set_interest(token, interest);
        }
    }

    fn close(&self, core: &Rc<Core>) {
        let removed = self
            .token
            .take()
            .and_then(|token| core.engine.remove(token));
        if removed.is_none() {
            return;
        }
        // The path goes first, so that nobody finds it without a listener.
        drop(self.place.take());
        drop(removed);
        tracing::debug!(local = %self.local, "stopped listening");
        let waiting = self.closed.take();
        let (report, stopped) = Deferred::new();
        // Told when the factory's running callback has returned, if one is running.
        self.factory
            .notify(core, "a factory's stopped", move |factory| {
                factory.stopped();
                report.fire(());
            });
        stopped
            .then(move |outcome: Result<()>| {
                for sender in waiting {
                    let panicked = |_: &Error| Error::Panicked {
                        message: "in the factory's stopped, which is reported".to_owned(),
                    };
                    sender.complete(outcome.as_ref().copied().map_err(panicked));
                }
            })
            .ignore();
    }
}

impl Source for Port {
    fn ready(&self, core: &Rc<Core>, token: Token, readiness: Readiness) {
        if !self.closed.borrow().is_empty() {
            return self.close(core);
        }
        if !self.factory.is_busy() {
            return self.accept(core, token);
        }
        // A nested turn inside a callback of the factory, which can make no other protocol now:
        // not watched until the callback has returned.
        if readiness.is_readable() && self.accepting.replace(false) {
            self.update_interest(core);
            let Some(me) = self.me.upgrade() else { return };
            let again = Rc::clone(core);
            self.factory.notify(core, "a port", move |_| {
                me.accepting.set(me.closed.borrow().is_empty());
                me.update_interest(&again);
            });
        }
    }

    fn flush(&self, _: &Rc<Core>, _: Token) {}

    fn register_failed(&self, core: &Rc<Core>, _: Token, error: io::Error) {
        tracing::error!(local = %self.local, %error, "the port cannot be watched");
        self.close(core);
    }

    fn connection_lost(&self, core: &Rc<Core>, _: Disconnect) {
        self.close(core);
    }

    fn orphaned(&self) {
        self.token.set(None);
        drop(self.place.take());
        self.factory.abandon();
    }
}

impl fmt::Debug for ListeningPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListeningPort")
            .field("local", &format_args!("{}", self.port.local))
            .field("listening", &self.is_listening())
            .finish()
    }
}
