//! What the TLS layer asks of the stream below it.

use pyo3::prelude::*;

use crate::member::Member;
use crate::stream::{State, Stream};

impl Stream {
    /// Queues a copy of `data`, as `write` would, but for the producer.
    pub(super) fn enqueue_copy(slf: &Bound<'_, Self>, data: &[u8]) -> PyResult<()> {
        let state = slf.get().state(slf.py());
        if !Self::takes_writes(state) {
            return Ok(());
        }
        state.queue.push_copy(data);
        Self::set_writing(slf, true)
    }

    /// Sends `data` if nothing goes before it; answers how much the system took.
    pub(super) fn send_first(slf: &Bound<'_, Self>, data: &[u8]) -> usize {
        let state = slf.get().state(slf.py());
        let fd = Self::sends_ahead(slf.py(), state);
        fd.map_or(0, |fd| Self::send_ahead(state, fd, data))
    }

    /// Asks for a flush at the end of this batch, also while the system takes no more.
    pub(crate) fn request_flush(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let state = slf.get().state(py);
        if !Self::takes_writes(state) {
            return Ok(());
        }
        Self::set_writing(slf, true)?;
        let membership = &state.membership;
        if let (Some(core), Some(token)) = (membership.core(py), membership.token()) {
            core.get().state(py).engine.request_flush(token);
        }
        Ok(())
    }

    /// Whether `more` bytes of plaintext would pause a push producer once they are queued.
    pub(crate) fn would_pause(slf: &Bound<'_, Self>, more: usize) -> bool {
        let state = slf.get().state(slf.py());
        if !state.flags.streaming_producer.get() || state.producer.borrow().is_none() {
            return false;
        }
        let queued = state.queue.len() + more + overhead(more);
        state.flags.passes_descriptors.get() || queued > state.buffer_size.get()
    }

    /// Lends the engine's read buffer, which is to be given back; nothing without a reactor.
    pub(crate) fn take_buffer(py: Python<'_>, state: &State) -> Option<Box<[u8]>> {
        let core = state.membership.core(py)?;
        Some(core.get().state(py).engine.take_read_buffer())
    }

    /// Gives it back.
    pub(crate) fn give_buffer(py: Python<'_>, state: &State, buffer: Box<[u8]>) {
        if let Some(core) = state.membership.core(py) {
            core.get().state(py).engine.give_read_buffer(buffer);
        }
    }
}

/// How much longer than its plaintext ciphertext is at most, in bytes.
fn overhead(plaintext: usize) -> usize {
    // A record of TLS 1.2 in a block mode: header, vector, hash and padding.
    const OF_RECORD: usize = 5 + 16 + 48 + 16;
    (plaintext / 16_384 + 1) * OF_RECORD
}
