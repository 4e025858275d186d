//! TLS between a stream's queue and its socket.
//!
//! Three kinds of bytes wait to be sent, in this order: what was queued in the clear when the layer
//! was put on, what the session has made (ciphertext), and what is in the stream's queue
//! (plaintext), which becomes ciphertext only when it is about to be sent. So flow control measures
//! the queue, as without a layer, and an idle connection holds nothing.

use std::cell::{Cell, RefCell};
use std::io;

use bytes::Bytes;
use ropewalk_os::{Token, socket};
use ropewalk_proto::tls::Session;
use ropewalk_proto::{StreamState, WriteQueue};

use super::transfer::{Released, SEND_LIMIT, would_block};
use crate::engine::TimerId;
use crate::error::Disconnect;
use crate::reactor::core::Core;
use crate::tls::Limits;

/// The layer of one stream. No part of it is borrowed while user code runs.
pub(super) struct Layer {
    pub(super) session: RefCell<Session>,
    /// What goes out before anything of the session.
    pub(super) clear: RefCell<WriteQueue<Bytes>>,
    pub(super) limits: Limits,
    /// Whom a client talks to.
    pub(super) name: Option<String>,
    /// The handshake's time limit, and later the close's.
    pub(super) timer: Cell<Option<TimerId>>,
    /// The peer has said that it will send no more, or nothing more is waited for.
    pub(super) ended: Cell<bool>,
    /// The program has not heard of that, for it had paused reading.
    pub(super) end_untold: Cell<bool>,
}

impl Layer {
    pub(super) fn new(
        session: Session,
        clear: WriteQueue<Bytes>,
        limits: Limits,
        name: Option<String>,
    ) -> Self {
        Self {
            session: RefCell::new(session),
            clear: RefCell::new(clear),
            limits,
            name,
            timer: Cell::new(None),
            ended: Cell::new(false),
            end_untold: Cell::new(false),
        }
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.session.borrow().is_handshaking()
    }

    /// Whether the layer has to read, although the program may not want to: for the handshake, and
    /// for the peer's close_notify, in front of which there may be anything.
    pub(super) fn reads(&self, state: StreamState) -> bool {
        let wants = state.is_disconnecting() || state.is_open() && self.is_handshaking();
        wants && !self.ended.get()
    }

    /// Whether there is something that no readiness will tell of.
    pub(super) fn has_pending(&self) -> bool {
        self.end_untold.get() || self.session.borrow().has_pending()
    }

    /// How much is on its way from the queue to the socket, in bytes.
    pub(super) fn unsent_len(&self) -> usize {
        self.clear.borrow().len() + self.session.borrow().outgoing().len()
    }

    /// Whether nothing is left to be sent, now that the queue is empty, and nothing to be waited
    /// for before the connection may end.
    pub(super) fn is_drained(&self, state: StreamState) -> bool {
        let session = self.session.borrow();
        let waits = state.is_disconnecting() && session.close_sent() && !self.ended.get();
        !waits
            && !session.is_handshaking()
            && session.outgoing().is_empty()
            && self.clear.borrow().is_empty()
    }

    /// Whether close_notify was sent, or is about to be.
    pub(super) fn close_sent(&self) -> bool {
        self.session.borrow().close_sent()
    }

    /// Whether all was sent, close_notify included.
    pub(super) fn has_said_goodbye(&self) -> bool {
        self.close_sent() && self.unsent_len() == 0
    }

    /// What the session has failed with, as the reason of the connection's end.
    pub(super) fn failure(&self) -> Option<Disconnect> {
        let session = self.session.borrow();
        session.failure().cloned().map(Disconnect::Tls)
    }

    /// Encrypts what the next send may take, and sends once. With `last`, close_notify follows when
    /// the queue is empty.
    pub(super) fn send(
        &self,
        core: &Core,
        token: Token,
        queue: &mut WriteQueue<Bytes>,
        last: bool,
        released: &mut Released,
    ) -> io::Result<()> {
        let mut session = self.session.borrow_mut();
        let mut spare = core.transports.ciphertext.take();
        session.lend(&mut spare);
        let sealed = session.seal(queue, SEND_LIMIT, &mut |chunk| released.keep(chunk));
        if last && queue.is_empty() {
            session.close();
        }
        let sent = send_once(core, token, session.outgoing());
        session.advance(*sent.as_ref().unwrap_or(&0), &mut spare);
        core.transports.ciphertext.set(spare);
        sent?;
        sealed.map(drop).map_err(io::Error::other)
    }

    /// Sends what the session has still to say, once, if nothing is before it. Whether that arrives
    /// does not matter any more.
    pub(super) fn send_last_words(&self, core: &Core, token: Token) {
        if self.clear.borrow().is_empty() {
            let _: io::Result<usize> = send_once(core, token, self.session.borrow().outgoing());
        }
    }

    /// Forgets what is not sent.
    pub(super) fn drop_unsent(&self) {
        let clear = self.clear.replace(WriteQueue::new());
        drop(clear);
        let mut session = self.session.borrow_mut();
        let unsent = session.outgoing().len();
        session.advance(unsent, &mut Vec::new());
    }

    /// Ends the time limit that is running.
    pub(super) fn stop_timer(&self, core: &Core) {
        if let Some(timer) = self.timer.take() {
            core.cancel_call(timer);
        }
    }
}

fn send_once(core: &Core, token: Token, bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    match core.engine.with_fd(token, |fd| socket::send(fd, bytes)) {
        Some(Err(error)) if !would_block(&error) => Err(error),
        Some(Ok(sent)) => Ok(sent),
        _ => Ok(0),
    }
}
