//! A layer right above a native stream: ciphertext goes between the engine's buffer, the session and
//! the socket without Python.

use std::io;

use pyo3::prelude::*;

use super::Layer;
use crate::member::Outcome;
use crate::sources::lend;
use crate::stream::{State as StreamState, Stream};
use crate::twisted;

#[pymethods]
impl Layer {
    /// Takes its ciphertext from `stream`, and gives it there, without Python. Whoever calls this has
    /// seen that nobody put methods of their own in between. `around` is the stream's protocol if it
    /// is not the layer, and passes on what it receives.
    #[pyo3(name = "_lieOn")]
    fn lie_on(slf: &Bound<'_, Self>, stream: &Bound<'_, Stream>, around: Option<Py<PyAny>>) {
        let py = slf.py();
        let state = slf.get().state.get(py);
        let layer = &stream.get().state(py).tls.layer;
        let old = (
            state.stream.replace(Some(stream.clone().unbind())),
            state.around.replace(around),
            layer.replace(Some(slf.clone().unbind())),
        );
        drop(old);
    }
}

impl Layer {
    pub(super) fn stream<'py>(&self, py: Python<'py>) -> Option<Bound<'py, Stream>> {
        let stream = self.state.get(py).stream.borrow();
        stream.as_ref().map(|stream| stream.bind(py).clone())
    }

    /// Whether the stream's protocol is still this layer, and no other that was put in its place.
    pub(crate) fn is_protocol_of(slf: &Bound<'_, Self>, stream: &StreamState) -> bool {
        let protocol = stream.protocol.borrow();
        let Some(protocol) = protocol.as_ref() else {
            return false;
        };
        let around = slf.get().state.get(slf.py()).around.borrow();
        let known = around.as_ref().map_or(slf.as_ptr(), Py::as_ptr);
        protocol.as_ptr() == known
    }

    /// The connection is lost: lets go of it.
    pub(crate) fn release(&self, py: Python<'_>) {
        let state = self.state.get(py);
        let released = (state.stream.take(), state.around.take());
        drop(released);
    }

    /// One read of `stream`, decrypted in place.
    pub(crate) fn read_from<'py>(
        slf: &Bound<'py, Self>,
        stream: &Bound<'py, Stream>,
        state: &StreamState,
    ) -> Outcome<'py> {
        let py = slf.py();
        let fd = lend(state.descriptor.current(py)?)?;
        let Some(mut buffer) = Stream::take_buffer(py, state) else {
            return Ok(None);
        };
        // Nobody else has the buffer meanwhile, whatever user code does.
        let held = slf.get().begin_read(py, &mut buffer);
        let limit = held.saturating_add(state.buffer_size.get());
        let room = held..limit.min(buffer.len());
        let mut descriptors = Vec::new();
        let outcome = match Stream::receive(state, fd, &mut buffer[room], &mut descriptors) {
            Ok(0) => Stream::end_of_input(py, state),
            Ok(count) => {
                let handed = match descriptors.is_empty() {
                    true => Ok(()),
                    false => Stream::hand_over(stream, descriptors),
                };
                handed
                    .and_then(|()| Self::take_in(slf, &mut buffer, held + count))
                    .map(|()| None)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(_) => Ok(Some(twisted::names(py)?.connection_lost.bind(py).clone())),
        };
        Stream::give_buffer(py, state, buffer);
        outcome
    }

    /// Seals what waits, in a flush. False if user code has to run, for which
    /// [`settle`](Self::settle) is to be called from a dispatch.
    pub(crate) fn settle_quietly(slf: &Bound<'_, Self>, stream: &Bound<'_, Stream>) -> bool {
        let py = slf.py();
        let this = slf.get();
        let state = this.state.get(py);
        state.flags.flush_scheduled.set(false);
        let waiting = state.pending.borrow().len();
        if waiting > 0 && Stream::would_pause(stream, waiting) {
            return false;
        }
        let mut first = true;
        while this.can_seal(py) {
            if this.seal(py).is_err() {
                return false;
            }
            if first {
                this.send_now(py, stream.get().state(py));
                first = false;
            }
            this.queue_outgoing(py, stream.get().state(py));
        }
        true
    }

    /// Sends what the session has to say, as far as the system takes it, if nothing is before it.
    fn send_now(&self, py: Python<'_>, stream: &StreamState) {
        let Some(fd) = Stream::sends_ahead(py, stream) else {
            return;
        };
        let mut spare = self.spare(py);
        self.with_session(py, |session| {
            let sent = Stream::send_ahead(stream, fd, session.outgoing());
            session.advance(sent, &mut spare);
        });
        self.keep_spare(py, spare);
    }

    /// Moves what the session has to say to the stream's queue. Whether there was anything.
    pub(super) fn queue_outgoing(&self, py: Python<'_>, stream: &StreamState) -> bool {
        let mut spare = self.spare(py);
        let moved = self.with_session(py, |session| {
            let outgoing = session.outgoing();
            if outgoing.is_empty() {
                return false;
            }
            if Stream::takes_writes(stream) {
                stream.queue.push_copy(outgoing);
            }
            session.advance(outgoing.len(), &mut spare);
            true
        });
        self.keep_spare(py, spare);
        moved.unwrap_or(false)
    }

    /// Memory for ciphertext, which all layers of a reactor share.
    pub(super) fn spare(&self, py: Python<'_>) -> Vec<u8> {
        let stream = self.stream(py);
        let core = stream.and_then(|stream| stream.get().state(py).membership.core(py));
        core.map(|core| core.get().state(py).ciphertext.take())
            .unwrap_or_default()
    }

    pub(super) fn keep_spare(&self, py: Python<'_>, spare: Vec<u8>) {
        let stream = self.stream(py);
        let core = stream.and_then(|stream| stream.get().state(py).membership.core(py));
        if let Some(core) = core {
            core.get().state(py).ciphertext.set(spare);
        }
    }
}
