//! One connection as a source of the engine: reads, flushes, and ends.

mod callbacks;
mod flow;
#[cfg(feature = "tls")]
mod layer;
#[cfg(not(feature = "tls"))]
#[path = "stream/no_layer.rs"]
mod layer;
mod passing;
#[cfg(feature = "tls")]
mod tls;
mod transfer;

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::{Rc, Weak};

use bytes::Bytes;
use ropewalk_os::{Interest, Readiness, SourceFd, Token, socket};
use ropewalk_proto::{Action, CloseReason, Flow, StreamState, WriteQueue};

use self::layer::Layer;
use self::passing::Passing;
use super::slot::Slot;
use super::{NetAddr, Producer, ProducerKind, Protocol, Transport};
use crate::error::Disconnect;
use crate::reactor::core::{Core, Source};

/// A connected socket, about to become a stream.
pub(crate) struct Socket {
    pub(crate) fd: OwnedFd,
    pub(crate) peer: NetAddr,
    /// Whether it was made elsewhere, where duplicates of it may live on.
    pub(crate) adopted: bool,
}

impl Socket {
    pub(crate) fn new(fd: OwnedFd, peer: NetAddr) -> Self {
        Self {
            fd,
            peer,
            adopted: false,
        }
    }
}

/// Who wants to know that a stream has ended, after its protocol: a connector.
pub(crate) trait Owner {
    /// The stream ended for `reason`; its protocol knows.
    fn stream_ended(&self, core: &Rc<Core>, reason: Disconnect);

    /// The reactor is gone without a shutdown.
    fn orphaned(&self);
}

/// The state of one connection. [`Transport`] is the handle to it.
///
/// No cell is borrowed while user code runs.
pub(crate) struct Stream {
    me: Weak<Stream>,
    core: Weak<Core>,
    /// Where in the engine the stream is; empty once it has ended.
    token: Cell<Option<Token>>,
    peer: NetAddr,
    state: Cell<StreamState>,
    queue: RefCell<WriteQueue<Bytes>>,
    protocol: Slot<dyn Protocol>,
    producer: RefCell<Option<(Rc<dyn Producer>, ProducerKind)>>,
    owner: RefCell<Option<Rc<dyn Owner>>>,
    /// What sending failed with, until the next dispatch makes it the reason of the end.
    failure: Cell<Option<io::Error>>,
    /// Why the connection ended, until the protocol's running callback has returned.
    lost: Cell<Option<Disconnect>>,
    notes: Notes,
    /// What a UNIX stream has beyond any other.
    passing: Option<Box<Passing>>,
    /// TLS, from when it is started.
    layer: OnceCell<Box<Layer>>,
}

#[derive(Default)]
struct Notes {
    /// The system took less than was offered: writability is waited for.
    blocked: Cell<bool>,
    /// The stream is on the flush list.
    flush_asked: Cell<bool>,
    /// Something was to be read while the protocol's callback was running: not watched until then.
    read_deferred: Cell<bool>,
    /// The write side was closed while the protocol's callback was running.
    write_closed_due: Cell<bool>,
    /// The socket was made elsewhere, where duplicates of it may live on.
    adopted: Cell<bool>,
}

impl Stream {
    /// Starts to serve the connected `socket`, and tells `protocol` so.
    pub(crate) fn open(
        core: &Rc<Core>,
        socket: Socket,
        protocol: Box<dyn Protocol>,
        owner: Option<Rc<dyn Owner>>,
        before: impl FnOnce(&Transport),
    ) -> Transport {
        let is_unix = socket.peer.unix().is_some();
        let stream = Rc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            core: Rc::downgrade(core),
            token: Cell::new(None),
            peer: socket.peer,
            state: Cell::new(StreamState::new()),
            queue: RefCell::new(WriteQueue::new()),
            protocol: Slot::new(protocol),
            producer: RefCell::default(),
            owner: RefCell::new(owner),
            failure: Cell::new(None),
            lost: Cell::new(None),
            notes: Notes {
                adopted: Cell::new(socket.adopted),
                ..Notes::default()
            },
            passing: is_unix.then(Box::default),
            layer: OnceCell::new(),
        });
        let source: Rc<dyn Source> = Rc::clone(&stream) as Rc<dyn Source>;
        stream
            .token
            .set(Some(core.engine.insert(SourceFd::from(socket.fd), source)));
        stream.update_interest(core);
        let transport = Transport::new(Rc::clone(&stream));
        before(&transport);
        stream.deliver(
            core,
            "a protocol's connection_made",
            |protocol, transport| {
                protocol.connection_made(transport);
            },
        );
        transport
    }

    pub(crate) fn peer(&self) -> &NetAddr {
        &self.peer
    }

    pub(crate) fn state(&self) -> StreamState {
        self.state.get()
    }

    pub(crate) fn queue(&self) -> &RefCell<WriteQueue<Bytes>> {
        &self.queue
    }

    /// Runs `use_fd` on the socket, if the connection is open and the reactor alive.
    pub(crate) fn with_fd<R>(&self, use_fd: impl FnOnce(BorrowedFd<'_>) -> R) -> Option<R> {
        self.core
            .upgrade()?
            .engine
            .with_fd(self.token.get()?, use_fd)
    }

    /// Puts `protocol` in the place of the present one, which hears of nothing any more. `None`
    /// once the connection has ended.
    pub(crate) fn replace_protocol(&self, protocol: Box<dyn Protocol>) -> Option<()> {
        if !self.state.get().is_connected() {
            return None;
        }
        drop(self.protocol.replace(protocol));
        Some(())
    }

    /// How much is queued or on its way to the socket, in bytes.
    pub(crate) fn unsent_len(&self) -> usize {
        let layer = self.layer.get().map_or(0, |layer| layer.unsent_len());
        self.queue.borrow().len() + layer
    }

    /// Queues what `append` pushes, unless the connection takes no more.
    pub(crate) fn write(&self, append: impl FnOnce(&mut WriteQueue<Bytes>) -> Flow) {
        if !self.takes_writes() {
            return;
        }
        let mut queue = self.queue.borrow_mut();
        let flow = append(&mut queue);
        let nothing = queue.is_empty();
        drop(queue);
        if !nothing {
            self.queued(flow);
        }
    }

    /// Whether a write is queued; else it is ignored.
    fn takes_writes(&self) -> bool {
        self.state.get().takes_writes() && !self.has_closed_layer()
    }

    /// Whether the layer has said that nothing follows.
    fn has_closed_layer(&self) -> bool {
        self.layer.get().is_some_and(|layer| layer.close_sent())
    }

    /// Something was queued: asks for its flush.
    fn queued(&self, flow: Flow) {
        if !self.notes.flush_asked.get() && !self.notes.blocked.get() {
            if let Some(core) = self.core.upgrade() {
                self.ask_flush(&core);
            }
        }
        if flow == Flow::Pause {
            self.pause_producer();
        }
    }

    pub(crate) fn set_paused(&self, paused: bool) {
        let mut state = self.state.get();
        if paused {
            state.pause()
        } else {
            state.resume()
        }
        if self.state.replace(state) != state {
            if let Some(core) = self.core.upgrade() {
                self.update_interest(&core);
                self.ask_pending(&core);
            }
        }
    }

    /// Closes the connection when all is sent.
    pub(crate) fn lose(&self) {
        match self.state.get().is_open() && self.closes_by_abort() {
            true => self.request(StreamState::abort),
            false => self.request(StreamState::lose),
        }
    }

    /// Lets an event from the program happen.
    pub(crate) fn request(&self, event: impl FnOnce(&mut StreamState) -> Action) {
        let action = self.step(event);
        if let Some(core) = self.core.upgrade() {
            self.act(&core, action);
        }
    }

    /// Moves the state on.
    fn step(&self, event: impl FnOnce(&mut StreamState) -> Action) -> Action {
        let mut state = self.state.get();
        let action = event(&mut state);
        self.state.set(state);
        action
    }

    /// Does what the state machine asks for.
    fn act(&self, core: &Rc<Core>, action: Action) {
        match action {
            Action::Nothing => {}
            Action::Flush => {
                self.update_interest(core);
                self.ask_flush(core);
            }
            Action::ResumeProducer => self.resume_producer(core),
            Action::ShutdownWrite => self.shut_write(core),
            Action::NotifyReadClosed => {
                self.update_interest(core);
                self.deliver(core, "a protocol's read_closed", |protocol, transport| {
                    protocol.read_closed(transport);
                });
            }
            Action::ScheduleAbort => {
                self.drop_unsent();
                self.update_interest(core);
                self.ask_later(core, Readiness::ERROR);
            }
            Action::Close(reason) => self.end(core, disconnect(reason)),
        }
    }

    /// Whether input is wanted, by the program or by the layer.
    fn reads(&self) -> bool {
        let state = self.state.get();
        state.reads() || self.layer.get().is_some_and(|layer| layer.reads(state))
    }

    /// Whether nothing is left to be sent, nor to be waited for before the connection may end.
    fn is_drained(&self) -> bool {
        let layer = self.layer.get();
        self.queue.borrow().is_empty()
            && layer.is_none_or(|layer| layer.is_drained(self.state.get()))
    }

    /// Has what the layer holds read, of which no readiness tells.
    fn ask_pending(&self, core: &Core) {
        if self.reads() && self.layer.get().is_some_and(|layer| layer.has_pending()) {
            self.ask_later(core, Readiness::READABLE);
        }
    }

    fn update_interest(&self, core: &Core) {
        let Some(token) = self.token.get() else {
            return;
        };
        let state = self.state.get();
        let readable = self.reads() && !self.notes.read_deferred.get();
        let writable = state.sends() && self.notes.blocked.get();
        let interest = Interest::NONE
            .with_readable(readable)
            .with_writable(writable);
        core.engine.set_interest(token, interest);
    }

    /// Asks for a flush at the end of the batch; a blocked stream flushes when it is writable.
    fn ask_flush(&self, core: &Core) {
        let Some(token) = self.token.get() else {
            return;
        };
        if !self.notes.blocked.get() && !self.notes.flush_asked.replace(true) {
            core.engine.request_flush(token);
        }
    }

    fn ask_later(&self, core: &Core, readiness: Readiness) {
        if let Some(token) = self.token.get() {
            core.engine.request_ready(token, readiness);
        }
    }

    fn shut_write(&self, core: &Rc<Core>) {
        if let Some(token) = self.token.get() {
            // A peer that is gone is found out by reading.
            let _: Option<io::Result<()>> = core.engine.with_fd(token, socket::shutdown_write);
        }
        self.update_interest(core);
        self.notes.write_closed_due.set(true);
        self.settle(core);
    }

    /// Ends the connection because the system said `error`, or because of what the layer said
    /// before.
    fn fail(&self, core: &Rc<Core>, error: io::Error) {
        if let Action::Close(_) = self.step(StreamState::io_failed) {
            let reason = self.layer.get().and_then(|layer| layer.failure());
            self.end(core, reason.unwrap_or(Disconnect::Lost(error)));
        }
    }

    /// Closes the socket and tells whom it concerns. The state is closed already, so that whatever
    /// they do finds a connection that takes nothing any more.
    fn end(&self, core: &Rc<Core>, reason: Disconnect) {
        let producer = self.producer.take();
        if let Some((producer, _)) = producer {
            core.guard("a producer's stop_producing", || {
                producer.stop_producing();
                drop(producer);
            });
        }
        if let Some((fd, source)) = self
            .token
            .take()
            .and_then(|token| core.engine.remove(token))
        {
            close(fd, &reason, self.notes.adopted.get());
            drop(source);
        }
        if let Some(layer) = self.layer.get() {
            layer.stop_timer(core);
        }
        self.drop_unsent();
        self.lost.set(Some(reason));
        self.settle(core);
    }

    fn drop_unsent(&self) {
        let unsent = self.queue.replace(WriteQueue::new());
        drop(unsent);
        if let Some(passing) = &self.passing {
            passing.clear();
        }
        if let Some(layer) = self.layer.get() {
            layer.drop_unsent();
        }
    }
}

impl Source for Stream {
    fn ready(&self, core: &Rc<Core>, token: Token, readiness: Readiness) {
        if self.state.get().is_aborting() {
            return self.act(core, self.step(StreamState::abort_due));
        }
        if let Some(error) = self.failure.take() {
            return self.end_after_input(core, token, error);
        }
        let trouble = readiness.is_error() || readiness.is_hangup() || readiness.is_invalid();
        if readiness.is_readable() || trouble {
            // The error that a read gives says more than the hang-up.
            let found = self.read(core, token);
            if trouble && !found {
                return self.hung_up(core, token);
            }
        }
        if readiness.is_writable() && self.token.get() == Some(token) {
            self.writable(core, token);
        }
    }

    fn flush(&self, core: &Rc<Core>, token: Token) {
        self.notes.flush_asked.set(false);
        if self.notes.blocked.get() || !self.state.get().sends() {
            return;
        }
        if let Err(error) = self.send(core, token) {
            // No user code runs from here: the next dispatch ends the connection.
            // The first error says more than those after it.
            let first = self.failure.take();
            self.failure.set(first.or(Some(error)));
            self.ask_later(core, Readiness::WRITABLE);
        } else if self.is_drained() && self.state.get().follows_drain(self.producer_state()) {
            self.ask_later(core, Readiness::WRITABLE);
        }
    }

    fn register_failed(&self, core: &Rc<Core>, _: Token, error: io::Error) {
        self.fail(core, error);
    }

    fn connection_lost(&self, core: &Rc<Core>, reason: Disconnect) {
        if let Action::Close(_) = self.step(StreamState::cut) {
            self.end(core, reason);
        }
    }

    fn orphaned(&self) {
        // No event answers anything after this one.
        let _: Action = self.step(StreamState::cut);
        self.token.set(None);
        let (protocol, producer) = (self.protocol.take(), self.producer.take());
        let owner = self.owner.take();
        drop((protocol, producer));
        if let Some(owner) = owner {
            owner.orphaned();
        }
    }
}

fn disconnect(reason: CloseReason) -> Disconnect {
    match reason {
        CloseReason::Done => Disconnect::Done,
        CloseReason::Lost => Disconnect::Lost(io::ErrorKind::ConnectionReset.into()),
        CloseReason::Aborted => Disconnect::Aborted,
        CloseReason::Failed => Disconnect::Panicked,
    }
}

/// Closes a socket in order, or with a reset. One that is gone already needs neither, and one whose
/// duplicates may live on is left to them.
fn close(fd: SourceFd, reason: &Disconnect, adopted: bool) {
    let _: io::Result<()> = match reason {
        Disconnect::Aborted => socket::set_linger_zero(fd.as_fd()),
        _ if adopted => Ok(()),
        _ => socket::shutdown_both(fd.as_fd()),
    };
    drop(fd);
}
