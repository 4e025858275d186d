//! A stream that speaks TLS: its handshake, what it receives and sends, and its close.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_os::{Token, socket};
use ropewalk_proto::tls::{Intake, Session};
use ropewalk_proto::{ProducerState, StreamState, WriteQueue};

use super::Stream;
use super::layer::Layer;
use super::transfer::{Released, send_bytes, would_block};
use crate::error::{Error, Misuse};
use crate::reactor::core::Core;
use crate::tls::{ConfigError, Role, Start, TlsInfo, Version};

/// Starting, and what is known.
impl Stream {
    /// Puts the layer on. What is queued goes out in the clear before it.
    pub(crate) fn start_tls(&self, start: Start) -> Result<(), Error> {
        if self.layer.get().is_some() {
            return Err(Misuse::TlsInUse.into());
        }
        let state = self.state.get();
        let reads = state.is_open() && (state.reads() || state.is_paused());
        if !reads || !state.sends() || state.ends_when_drained(ProducerState::None) {
            return Err(Misuse::NotOpen.into());
        }
        let core = self.core.upgrade().ok_or(Misuse::NotRunning)?;
        let (session, name) = open_session(start.role)?;
        let layer = Layer::new(session, self.take_queue(), start.limits, name);
        if let Some(limit) = start.limits.handshake {
            self.limit(&core, &layer, limit, Self::handshake_timed_out);
        }
        // It was empty a moment ago.
        drop(self.layer.set(Box::new(layer)));
        self.update_interest(&core);
        self.ask_flush(&core);
        Ok(())
    }

    /// Takes what is queued, and leaves a queue that measures as the one before.
    fn take_queue(&self) -> WriteQueue<bytes::Bytes> {
        let mut queue = self.queue.borrow_mut();
        let mut fresh = WriteQueue::with_high_water(queue.high_water());
        if queue.paused() {
            // The producer knows; it is resumed when all is sent.
            let _: ropewalk_proto::Flow = fresh.pause();
        }
        std::mem::replace(&mut *queue, fresh)
    }

    pub(crate) fn tls_info(&self) -> Option<TlsInfo> {
        let layer = self.layer.get()?;
        let session = layer.session.borrow();
        let asked = session.server_name().map(str::to_owned);
        Some(TlsInfo {
            version: session.protocol_version().and_then(Version::known),
            cipher_suite: session
                .cipher_suite()
                .and_then(|suite| suite.suite().as_str()),
            alpn_protocol: session.alpn_protocol().map(<[u8]>::to_vec),
            server_name: asked.or_else(|| layer.name.clone()),
            peer_certificates: session.peer_certificates().map(<[_]>::to_vec),
            resumed: session.is_resumed().unwrap_or(false),
            handshaking: session.is_handshaking(),
        })
    }

    /// Has `expired` called after `limit`, unless the layer's timer is stopped before.
    fn limit(
        &self,
        core: &Core,
        layer: &Layer,
        limit: Duration,
        expired: fn(&Self, &Rc<Core>, &Layer),
    ) {
        let me = self.me.clone();
        let call = move |reactor: &crate::Reactor| {
            let Some(me) = me.upgrade() else { return };
            if let Some(layer) = me.layer.get() {
                layer.timer.set(None);
                expired(&me, &reactor.core, layer);
            }
        };
        layer
            .timer
            .set(Some(core.call_later(limit, Box::new(call))));
    }

    fn handshake_timed_out(&self, core: &Rc<Core>, _: &Layer) {
        let text = "the TLS handshake took too long";
        self.fail(core, io::Error::new(io::ErrorKind::TimedOut, text));
    }
}

fn open_session(role: Role) -> Result<(Session, Option<String>), ConfigError> {
    match role {
        Role::Server(tls) => Ok((tls.session()?, None)),
        Role::Client(config, name) => {
            let text = name.to_str().into_owned();
            let session = Session::client(config, name).map_err(ConfigError::refused)?;
            Ok((session, Some(text)))
        }
    }
}

/// Receiving.
impl Stream {
    /// Reads once, and delivers what comes out of the layer. Answers whether anything came.
    pub(super) fn read_secured(&self, core: &Rc<Core>, token: Token, layer: &Layer) -> bool {
        if layer.end_untold.take() {
            self.peer_said_goodbye(core, token, layer);
            return true;
        }
        let mut buffer = core.engine.take_read_buffer();
        let found = self.receive_secured(core, token, layer, &mut buffer);
        core.engine.give_read_buffer(buffer);
        found
    }

    fn receive_secured(
        &self,
        core: &Rc<Core>,
        token: Token,
        layer: &Layer,
        buffer: &mut [u8],
    ) -> bool {
        let (held, pending) = {
            let session = layer.session.borrow();
            (session.begin_read(buffer), session.has_pending())
        };
        if pending {
            self.take_in(core, token, layer, buffer, held);
            return true;
        }
        let room = &mut buffer[held..];
        match core.engine.with_fd(token, |fd| socket::recv(fd, room)) {
            Some(Ok(0)) => self.input_ended(core, token, layer),
            Some(Ok(count)) => self.take_in(core, token, layer, buffer, held + count),
            Some(Err(error)) if would_block(&error) => return false,
            // Whoever closes a socket with this side's close_notify unread resets the connection.
            Some(Err(_)) if self.state.get().is_disconnecting() && layer.has_said_goodbye() => {
                self.input_ended(core, token, layer);
            }
            Some(Err(error)) => self.fail(core, error),
            None => return false,
        }
        true
    }

    /// Decrypts the first `length` bytes of `buffer`, and tells the protocol what came.
    fn take_in(
        &self,
        core: &Rc<Core>,
        token: Token,
        layer: &Layer,
        buffer: &mut [u8],
        length: usize,
    ) {
        let mut length = length;
        if layer.is_handshaking() {
            // What is behind the handshake waits: the protocol hears of that first, and may not
            // want more.
            self.shake_hands(core, token, layer, &mut buffer[..length]);
            if !self.reads() || !layer.session.borrow().has_pending() {
                return;
            }
            length = layer.session.borrow().begin_read(buffer);
        }
        let received = layer
            .session
            .borrow_mut()
            .process(&mut buffer[..length], Intake::All);
        // A connection that is being closed discards what comes.
        if received.plaintext > 0 && self.state.get().reads() {
            let data = &buffer[..received.plaintext];
            self.deliver(core, "a protocol's data_received", |protocol, transport| {
                protocol.data_received(transport, data);
            });
        }
        if received.error.is_some() {
            self.tls_failed(core, token, layer);
        } else if received.peer_closed {
            layer.ended.set(true);
            self.peer_said_goodbye(core, token, layer);
        } else if layer.unsent_len() > 0 {
            self.ask_flush(core);
        }
    }

    /// Takes `input` into the handshake.
    fn shake_hands(&self, core: &Rc<Core>, token: Token, layer: &Layer, input: &mut [u8]) {
        let received = layer.session.borrow_mut().process(input, Intake::Handshake);
        if received.error.is_some() {
            return self.tls_failed(core, token, layer);
        }
        if received.handshake_completed {
            layer.stop_timer(core);
            // A paused program reads no more from here.
            self.update_interest(core);
            self.deliver(
                core,
                "a protocol's handshake_completed",
                |protocol, transport| protocol.handshake_completed(transport),
            );
            self.ask_flush(core);
        } else if received.peer_closed {
            self.fail(core, closed_in_handshake());
        } else if layer.unsent_len() > 0 {
            self.ask_flush(core);
        }
    }

    /// The peer has sent its close_notify.
    fn peer_said_goodbye(&self, core: &Rc<Core>, token: Token, layer: &Layer) {
        let state = self.state.get();
        if state.is_disconnecting() {
            return self.close_waits_no_more(core, token);
        }
        if state.is_paused() {
            layer.end_untold.set(true);
            return;
        }
        // An older version has this side answer with its own, and nothing after it.
        let two_ends = layer
            .session
            .borrow()
            .protocol_version()
            .and_then(Version::known)
            == Some(Version::Tls13);
        if two_ends && self.lives_half_closed(core) {
            self.act(core, self.step(|state| state.peer_closed(true)));
        } else {
            // What is queued is still sent, then this side's close_notify.
            self.act(core, self.step(StreamState::lose));
        }
    }

    /// The stream has ended below the layer.
    fn input_ended(&self, core: &Rc<Core>, token: Token, layer: &Layer) {
        if layer.is_handshaking() {
            return self.fail(core, closed_in_handshake());
        }
        if !self.state.get().is_disconnecting() {
            return self.fail(core, truncated());
        }
        // Nobody waits for data any more, and what is queued may still arrive.
        layer.ended.set(true);
        self.close_waits_no_more(core, token);
    }

    /// The connection ends as soon as all is sent.
    fn close_waits_no_more(&self, core: &Rc<Core>, token: Token) {
        self.update_interest(core);
        self.writable(core, token);
    }

    /// The session has failed: the peer is told, as far as it takes that, and the connection ends.
    fn tls_failed(&self, core: &Rc<Core>, token: Token, layer: &Layer) {
        if self.state.get().sends() {
            layer.send_last_words(core, token);
        }
        // The reason is the session's.
        self.fail(core, io::ErrorKind::InvalidData.into());
    }
}

/// Sending.
impl Stream {
    /// Sends once: what is in the clear, then what the layer makes of the queue.
    pub(super) fn send_secured(&self, core: &Core, token: Token, layer: &Layer) -> io::Result<()> {
        let mut released = Released::default();
        let outcome = self.send_through(core, token, layer, &mut released);
        // Chunks may belong to the program: they are dropped when nothing is borrowed.
        drop(released);
        outcome?;
        let sealable = layer.session.borrow().can_seal() && !self.queue.borrow().is_empty();
        let blocked = sealable || layer.unsent_len() > 0;
        if self.notes.blocked.replace(blocked) != blocked {
            self.update_interest(core);
        }
        self.limit_close(core, layer);
        Ok(())
    }

    fn send_through(
        &self,
        core: &Core,
        token: Token,
        layer: &Layer,
        released: &mut Released,
    ) -> io::Result<()> {
        let mut clear = layer.clear.borrow_mut();
        match &self.passing {
            Some(passing) => passing.send(core, token, &mut clear, released)?,
            None => send_bytes(core, token, &mut clear, released)?,
        }
        if !clear.is_empty() {
            return Ok(());
        }
        drop(clear);
        let last =
            self.state.get().ends_when_drained(self.producer_state()) && !layer.is_handshaking();
        let mut queue = self.queue.borrow_mut();
        layer.send(core, token, &mut queue, last, released)
    }

    /// From close_notify on, the peer's is waited for, but not for ever.
    fn limit_close(&self, core: &Core, layer: &Layer) {
        let waits = self.state.get().is_disconnecting() && layer.close_sent() && !layer.ended.get();
        // Taken and put back: a timer that runs already is the close's.
        let timer = layer.timer.take();
        if timer.is_some() || !waits {
            return layer.timer.set(timer);
        }
        self.limit(core, layer, layer.limits.close, Self::close_timed_out);
    }

    fn close_timed_out(&self, core: &Rc<Core>, layer: &Layer) {
        if layer.unsent_len() > 0 {
            let text = "the peer did not take the last data before the close's time limit";
            return self.fail(core, io::Error::new(io::ErrorKind::TimedOut, text));
        }
        layer.ended.set(true);
        let producer = self.producer_state();
        self.act(core, self.step(|state| state.drained(producer)));
    }

    /// Whether closing is aborting: the handshake is not over, and nothing waits for it.
    pub(super) fn closes_by_abort(&self) -> bool {
        let waits = |layer: &Layer| layer.is_handshaking() && layer.clear.borrow().is_empty();
        self.layer.get().is_some_and(|layer| waits(layer))
            && self.queue.borrow().is_empty()
            && !self.producer_state().awaits_resume()
    }
}

fn truncated() -> io::Error {
    let text = "the stream was truncated: it ended without a TLS close_notify";
    io::Error::new(io::ErrorKind::UnexpectedEof, text)
}

fn closed_in_handshake() -> io::Error {
    let text = "the peer closed the connection during the TLS handshake";
    io::Error::new(io::ErrorKind::UnexpectedEof, text)
}
