//! One datagram socket as a source of the engine: its state, its notices and its end.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::{Rc, Weak};

use ropewalk_os::{Interest, Readiness, SourceFd, Token, socket};

use super::options::Sizes;
use super::pace::Pace;
use super::queue::Queue;
use super::{DatagramProtocol, DatagramTransport};
use crate::deferred::{Deferred, DeferredSender};
use crate::error::{Disconnect, Error};
use crate::reactor::core::{Core, Source};
use crate::transport::slot::Slot;
use crate::transport::unix::Place;
use crate::transport::{NetAddr, UnixAddr};

/// The state of one socket. [`DatagramTransport`] is the handle to it.
///
/// No cell is borrowed while user code runs.
pub(super) struct Port {
    pub(super) me: Weak<Port>,
    pub(super) core: Weak<Core>,
    /// Where in the engine the port is; empty once it is closed.
    pub(super) token: Cell<Option<Token>>,
    pub(super) local: RefCell<NetAddr>,
    pub(super) peer: RefCell<Option<NetAddr>>,
    /// The path to remove when the port is closed.
    place: Cell<Option<Place>>,
    /// The longest datagram that is handled, in bytes.
    pub(super) longest: usize,
    protocol: Slot<dyn DatagramProtocol>,
    paused: Cell<bool>,
    pub(super) pace: Pace,
    /// Received in one batch with a datagram whose callback paused the port.
    pub(super) held: RefCell<VecDeque<(Box<[u8]>, NetAddr)>>,
    /// Who sent the last datagram, among UNIX sockets.
    pub(super) last_sender: RefCell<UnixAddr>,
    /// How often in a row receiving has failed.
    pub(super) failures: Cell<u32>,
    pub(super) room: Cell<Room>,
    pub(super) rest: Rest,
    pub(super) queue: RefCell<Queue>,
    pub(super) owed: Owed,
    /// Who waits for the port to be closed.
    closed: RefCell<Vec<DeferredSender<()>>>,
}

/// Whether the system takes datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Free,
    /// The socket's buffer is full: writability is waited for.
    Full,
    /// The system is out of buffers, or some receiver's buffer is full and nothing tells the end of
    /// that: tried again in a moment.
    Resting,
}

/// When a port that rests tries again.
#[derive(Default)]
pub(super) struct Rest {
    /// A delayed call will ask for it.
    pub(super) asked: Cell<bool>,
    /// How often in a row a try sent nothing.
    pub(super) vain: Cell<u32>,
}

/// What the protocol is to hear when it can.
#[derive(Default)]
pub(super) struct Owed {
    pub(super) dropped: Cell<usize>,
    pub(super) drained: Cell<bool>,
    pub(super) refused: Cell<bool>,
    /// A dispatch that tells it was asked for.
    asked: Cell<bool>,
    /// Something was to be received while a callback was running: not watched until then.
    pub(super) receive: Cell<bool>,
    stopped: Cell<Option<Disconnect>>,
}

/// A socket that a port is to serve.
pub(super) struct Socket {
    /// The path that was made for it. Dropped before the socket, as it has to be.
    pub(super) place: Option<Place>,
    pub(super) fd: OwnedFd,
    pub(super) local: NetAddr,
    /// Whom it is connected to, if it is.
    pub(super) peer: Option<NetAddr>,
    /// The longest datagram it is to receive.
    pub(super) longest: usize,
    /// What waits to be sent.
    queue: Queue,
}

impl Socket {
    /// One that is not connected, and without a path of its own.
    pub(super) fn new(fd: OwnedFd, local: NetAddr, sizes: &Sizes) -> Self {
        Self {
            place: None,
            fd,
            local,
            peer: None,
            longest: sizes.max_datagram,
            queue: Queue::new(sizes.queue_bound),
        }
    }
}

impl Port {
    /// Starts to serve `socket`, and tells `protocol` so.
    pub(super) fn open(
        core: &Rc<Core>,
        socket: Socket,
        protocol: impl DatagramProtocol,
    ) -> DatagramTransport {
        tracing::debug!(local = %socket.local, "listening for datagrams");
        let port = Rc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            core: Rc::downgrade(core),
            token: Cell::new(None),
            local: RefCell::new(socket.local),
            peer: RefCell::new(socket.peer),
            place: Cell::new(socket.place),
            longest: socket.longest,
            protocol: Slot::new(Box::new(protocol)),
            paused: Cell::new(false),
            pace: Pace::default(),
            held: RefCell::default(),
            last_sender: RefCell::new(UnixAddr::UNNAMED),
            failures: Cell::new(0),
            room: Cell::new(Room::Free),
            rest: Rest::default(),
            queue: RefCell::new(socket.queue),
            owed: Owed::default(),
            closed: RefCell::default(),
        });
        let source: Rc<dyn Source> = Rc::clone(&port) as Rc<dyn Source>;
        port.token
            .set(Some(core.engine.insert(SourceFd::from(socket.fd), source)));
        port.update_interest(core);
        let transport = DatagramTransport::new(Rc::clone(&port));
        port.tell(core, "a protocol's started", |protocol, transport| {
            protocol.started(transport);
        });
        port.settle(core);
        transport
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.get()
    }

    pub(super) fn is_full(&self) -> bool {
        self.room.get() != Room::Free
    }

    pub(super) fn is_open(&self) -> bool {
        self.token.get().is_some()
    }

    pub(super) fn buffered_len(&self) -> usize {
        self.queue.borrow().len()
    }

    pub(super) fn local(&self) -> NetAddr {
        self.local.borrow().clone()
    }

    pub(super) fn peer(&self) -> Option<NetAddr> {
        self.peer.borrow().clone()
    }

    pub(super) fn is_unix(&self) -> bool {
        matches!(*self.local.borrow(), NetAddr::Unix(_))
    }

    pub(super) fn is_connected(&self) -> bool {
        self.peer.borrow().is_some()
    }

    /// Runs `use_fd` on the socket, if it is open and the reactor alive.
    pub(super) fn with_fd<R>(&self, use_fd: impl FnOnce(BorrowedFd<'_>) -> R) -> Option<R> {
        let core = self.core.upgrade()?;
        core.engine.with_fd(self.token.get()?, use_fd)
    }

    pub(super) fn set_paused(&self, paused: bool) {
        let Some(core) = self.core.upgrade() else {
            return;
        };
        if self.paused.replace(paused) == paused {
            return;
        }
        self.update_interest(&core);
        if !paused && (self.owed.refused.get() || !self.held.borrow().is_empty()) {
            self.ask_later(&core, Readiness::NONE);
        }
    }

    /// Whether datagrams may be handed to the protocol now.
    pub(super) fn receives(&self) -> bool {
        self.is_open() && !self.paused.get() && !self.is_stopping()
    }

    pub(super) fn is_stopping(&self) -> bool {
        !self.closed.borrow().is_empty()
    }

    pub(super) fn stop(&self) -> Deferred<()> {
        let Some(core) = self.core.upgrade() else {
            return Deferred::ready(());
        };
        // Closed, but its protocol does not know yet: that is waited for too.
        let ending = self.owed.stopped.take();
        let waits = ending.is_some();
        self.owed.stopped.set(ending);
        if !self.is_open() && !waits {
            return Deferred::ready(());
        }
        let (sender, deferred) = Deferred::new();
        self.closed.borrow_mut().push(sender);
        self.update_interest(&core);
        self.ask_later(&core, Readiness::HANGUP);
        deferred
    }

    pub(super) fn update_interest(&self, core: &Core) {
        let Some(token) = self.token.get() else {
            return;
        };
        let readable = self.receives() && !self.owed.receive.get();
        let writable = self.room.get() == Room::Full && !self.is_stopping();
        let interest = Interest::NONE
            .with_readable(readable)
            .with_writable(writable);
        core.engine.set_interest(token, interest);
    }

    pub(super) fn ask_later(&self, core: &Core, readiness: Readiness) {
        if let Some(token) = self.token.get() {
            core.engine.request_ready(token, readiness);
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.protocol.is_busy()
    }

    /// Runs a callback of the protocol. A protocol that is busy, or gone, does not hear of it.
    pub(super) fn tell(
        &self,
        core: &Rc<Core>,
        during: &'static str,
        callback: impl FnOnce(&mut dyn DatagramProtocol, &DatagramTransport),
    ) {
        let Some(me) = self.me.upgrade() else { return };
        let transport = DatagramTransport::new(me);
        self.protocol
            .call(core, during, |protocol| callback(protocol, &transport));
    }

    /// Has the protocol told what it is owed: when its running callback returns, or in a later step.
    pub(super) fn settle_later(&self, core: &Core) {
        if !self.is_busy() && !self.owed.asked.replace(true) {
            self.ask_later(core, Readiness::NONE);
        }
    }

    /// Tells the protocol what it could not be told while its callback was running, each once: what
    /// comes of that waits for the next turn.
    pub(super) fn settle(&self, core: &Rc<Core>) {
        if self.is_busy() {
            return;
        }
        self.owed.asked.set(false);
        let dropped = self.owed.dropped.take();
        if dropped > 0 {
            self.tell(core, "a protocol's datagrams_dropped", |protocol, port| {
                protocol.datagrams_dropped(port, dropped);
            });
        }
        if self.owed.drained.take() && self.is_open() && !self.is_full() {
            self.tell(core, "a protocol's drained", |protocol, port| {
                protocol.drained(port);
            });
        }
        if self.receives() && self.owed.refused.take() {
            self.tell(core, "a protocol's connection_refused", |protocol, port| {
                protocol.connection_refused(port);
            });
        }
        if let Some(reason) = self.owed.stopped.take() {
            return self.tell_stopped(core, reason);
        }
        let more = self.owed.dropped.get() > 0
            || self.owed.drained.get()
            || (self.receives() && self.owed.refused.get());
        if self.owed.receive.replace(false) {
            self.update_interest(core);
        }
        if more {
            self.settle_later(core);
        }
    }

    /// The last callback; the protocol goes with it.
    fn tell_stopped(&self, core: &Rc<Core>, reason: Disconnect) {
        let called = self
            .protocol
            .call_last(core, "a protocol's stopped", |protocol| {
                protocol.stopped(reason);
            });
        let Some(told) = called else { return };
        for sender in self.closed.take() {
            sender.complete(told.ok_or_else(|| Error::Panicked {
                message: "in the protocol's stopped, which is reported".to_owned(),
            }));
        }
    }

    pub(super) fn close(&self, core: &Rc<Core>, reason: Disconnect) {
        self.flush_last(core);
        let removed = self
            .token
            .take()
            .and_then(|token| core.engine.remove(token));
        if removed.is_none() {
            return;
        }
        // The path goes first, so that nobody finds it without a receiver.
        drop(self.place.take());
        drop(removed);
        self.held.take();
        self.room.set(Room::Free);
        tracing::debug!(local = %self.local.borrow(), %reason, "stopped listening for datagrams");
        self.owed.stopped.set(Some(reason));
        self.settle(core);
    }

    /// The poller reported trouble, and receiving or sending did not show which.
    fn troubled(&self, core: &Rc<Core>, token: Token, readiness: Readiness) {
        match core.engine.with_fd(token, socket::take_error) {
            Some(Ok(Some(error))) if error.kind() == io::ErrorKind::ConnectionRefused => {
                self.note_refused();
            }
            Some(Ok(Some(error))) => {
                tracing::debug!(local = %self.local.borrow(), %error, "an error of a datagram socket");
            }
            Some(Err(error)) => self.close(core, Disconnect::Lost(error)),
            // Somebody shut the socket down, which every wait would report from now on.
            Some(Ok(None)) if readiness.is_hangup() || readiness.is_invalid() => {
                self.close(
                    core,
                    Disconnect::Lost(io::ErrorKind::ConnectionReset.into()),
                );
            }
            Some(Ok(None)) | None => {}
        }
    }

    pub(super) fn note_refused(&self) {
        if self.is_connected() {
            self.owed.refused.set(true);
        }
    }
}

impl Source for Port {
    fn ready(&self, core: &Rc<Core>, token: Token, readiness: Readiness) {
        if self.is_stopping() {
            return self.close(core, Disconnect::Done);
        }
        let trouble = readiness.is_error() || readiness.is_hangup() || readiness.is_invalid();
        self.deliver_held(core);
        // The error that a call gives says more than the hang-up.
        let mut found = false;
        if readiness.is_readable() || trouble {
            found = self.receive(core, token);
        }
        let open = || self.token.get() == Some(token) && !self.is_stopping();
        // A port that rests is not watched for room: when it has rested it says itself that there is.
        let writable = readiness.is_writable() || (trouble && self.room.get() == Room::Full);
        if writable && open() && self.room.get() != Room::Free {
            self.flush_queue(core, token);
        }
        if trouble && !found && open() {
            self.troubled(core, token, readiness);
        }
        self.settle(core);
    }

    /// Nothing is queued for the flush: see [the module](super) on when a datagram leaves.
    fn flush(&self, _: &Rc<Core>, _: Token) {}

    fn register_failed(&self, core: &Rc<Core>, _: Token, error: io::Error) {
        self.close(core, Disconnect::Lost(error));
    }

    fn connection_lost(&self, core: &Rc<Core>, reason: Disconnect) {
        self.close(core, reason);
    }

    fn orphaned(&self) {
        self.token.set(None);
        drop(self.place.take());
        let (protocol, waiting) = (self.protocol.take(), self.closed.take());
        self.held.take();
        drop((protocol, waiting));
    }
}
