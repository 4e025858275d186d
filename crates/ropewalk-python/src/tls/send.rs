//! Plaintext from the protocol, ciphertext to the stream's queue: `_AggregateSmallWrites` and
//! `TLSMemoryBIOProtocol._write`.
//!
//! What is written waits for the end of the batch, when the stream is flushed, and leaves in full
//! records. A flush runs no user code; where some has to run (a producer to pause, an error to
//! tell), the flush leaves it to the next dispatch.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::binding::{Session, Step};
use super::pending::Pending;
use super::{Records, TWISTED, truth};
use crate::stream::Stream;

/// How much plaintext OpenSSL is given at once, in bytes: three full records, whose ciphertext fits
/// into one buffer and is taken while it is in the cache.
const PIECE: usize = 48 * 1024;

/// Why plaintext was not encrypted.
pub(super) enum Trouble {
    /// A handshake is under way, and this waits for its end.
    WantsInput(Py<PyBytes>),
    Failed(PyErr),
}

/// When ciphertext leaves.
#[derive(Clone, Copy)]
pub(super) enum Leaves {
    /// Right now, before it is queued, if nothing else is. Spares a copy.
    Now,
    /// With the stream's next flush.
    Later,
}

impl Records {
    /// Encrypts what waits, and does what has to follow. May run user code.
    pub(crate) fn settle(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        this.tell_trouble(slf.py())?;
        if this.has_pending(slf.py()) {
            this.encrypt_pending(slf.py(), Leaves::Later)?;
            this.tell_trouble(slf.py())?;
            this.pause_producer(slf.py())?;
        }
        Ok(())
    }

    /// Encrypts what waits. False if user code has to run, for which [`settle`](Self::settle) is to
    /// be called from a dispatch.
    pub(crate) fn settle_quietly(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let py = slf.py();
        let this = slf.get();
        let state = this.state.get(py);
        if state.trouble.borrow().is_some() {
            return Ok(false);
        }
        let pending = state.pending.borrow().as_slice().len();
        if pending == 0 || state.busy.get() {
            return Ok(true);
        }
        if this
            .stream(py)
            .is_some_and(|stream| Stream::would_pause(&stream, pending))
        {
            return Ok(false);
        }
        this.encrypt_pending(py, Leaves::Now)?;
        let settled = state.trouble.borrow().is_none();
        Ok(settled)
    }

    /// Another layer took the place of this one's protocol: nothing waits here any more.
    pub(super) fn retire(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().state.get(slf.py()).limit.set(0);
        Self::settle(slf)
    }

    fn has_pending(&self, py: Python<'_>) -> bool {
        !matches!(*self.state.get(py).pending.borrow(), Pending::Nothing)
    }

    /// `TLSMemoryBIOProtocol.write` of what waits.
    fn encrypt_pending(&self, py: Python<'_>, leaves: Leaves) -> PyResult<()> {
        let state = self.state.get(py);
        if state.busy.get() || state.failing.get() {
            return Ok(());
        }
        let plaintext = state.pending.take();
        let Some(protocol) = self.protocol(py) else {
            return Ok(());
        };
        let ending = truth(&protocol, intern!(py, "disconnecting"))?;
        if ending && protocol.getattr(intern!(py, "_producer"))?.is_none() {
            return Ok(());
        }
        self.encrypt(&protocol, plaintext.as_slice(), leaves)
    }

    /// `TLSMemoryBIOProtocol._write`, but for the troubles, which are told later.
    fn encrypt(
        &self,
        protocol: &Bound<'_, PyAny>,
        plaintext: &[u8],
        mut leaves: Leaves,
    ) -> PyResult<()> {
        let py = protocol.py();
        if truth(protocol, intern!(py, "_lostTLSConnection"))? {
            return Ok(());
        }
        let Some(session) = self.session(py) else {
            return Ok(());
        };
        let mut rest = plaintext;
        while !rest.is_empty() {
            let piece = &rest[..rest.len().min(PIECE)];
            match self.while_busy(py, || session.write(py, piece)) {
                Step::Done(count) => rest = &rest[count..],
                Step::WantsInput => {
                    let rest = PyBytes::new(py, rest).unbind();
                    self.note(py, Trouble::WantsInput(rest));
                    break;
                }
                // A session that is closed for reading can be written to; if one could not, this
                // would be an error as any other.
                Step::Closed => {
                    self.note(py, Trouble::Failed(session.error(py, 0)));
                    break;
                }
                Step::Failed(result) => {
                    self.note(py, Trouble::Failed(session.error(py, result)));
                    break;
                }
            }
            self.drain(py, &session, leaves)?;
            // One send for a flush: what follows is sent with what is left.
            leaves = Leaves::Later;
        }
        let sent = &self.state.get(py).bytes_sent;
        sent.set(sent.get() + (plaintext.len() - rest.len()) as u64);
        self.request_flush(py)
    }

    fn note(&self, py: Python<'_>, trouble: Trouble) {
        let old = self.state.get(py).trouble.replace(Some(trouble));
        drop(old);
    }

    /// Does what Twisted does where OpenSSL takes no plaintext.
    fn tell_trouble(&self, py: Python<'_>) -> PyResult<()> {
        let trouble = self.state.get(py).trouble.take();
        let (Some(trouble), Some(protocol)) = (trouble, self.protocol(py)) else {
            return Ok(());
        };
        match trouble {
            Trouble::WantsInput(rest) => {
                let name = intern!(py, "_bufferedWrite");
                protocol.call_method1(name, (rest,)).map(drop)
            }
            Trouble::Failed(error) => Self::tell_failure(&protocol, error),
        }
    }

    /// Has the protocol end the connection, with what pyOpenSSL would have raised as the reason.
    pub(super) fn tell_failure(protocol: &Bound<'_, PyAny>, error: PyErr) -> PyResult<()> {
        let py = protocol.py();
        let Some(twisted) = TWISTED.get(py) else {
            return Err(error);
        };
        let error = error.into_value(py);
        let helper = twisted.module.bind(py).getattr(intern!(py, "failed"))?;
        helper.call1((protocol, error)).map(drop)
    }

    /// `_flushSendBIO`: queues the ciphertext that is to go out, all of it, but for what the system
    /// takes at once where it may.
    pub(super) fn drain(&self, py: Python<'_>, session: &Session, leaves: Leaves) -> PyResult<()> {
        let mut buffer = self.take_buffer(py);
        let mut result = Ok(());
        loop {
            let count = session.take_ciphertext(py, &mut buffer);
            if count == 0 {
                break;
            }
            if let Some(stream) = self.stream(py) {
                let sent = match leaves {
                    Leaves::Now => Stream::send_first(&stream, &buffer[..count]),
                    Leaves::Later => 0,
                };
                if sent < count {
                    result = Stream::enqueue_copy(&stream, &buffer[sent..count]);
                }
            }
            // A memory BIO gives all it has.
            if count < buffer.len() || result.is_err() {
                break;
            }
        }
        self.give_buffer(py, buffer);
        result
    }

    /// Asks for what waits to be encrypted later: what was written from within OpenSSL, say.
    pub(super) fn request_flush(&self, py: Python<'_>) -> PyResult<()> {
        match self.stream(py) {
            Some(stream) if self.has_pending(py) => Stream::request_flush(&stream),
            _ => Ok(()),
        }
    }

    fn pause_producer(&self, py: Python<'_>) -> PyResult<()> {
        match self.stream(py) {
            Some(stream) => Stream::pause_if_full(&stream, stream.get().state(py)),
            None => Ok(()),
        }
    }

    /// Has plaintext wait for the end of the batch, or no longer if there is much of it.
    fn append(slf: &Bound<'_, Self>, data: &Bound<'_, PyBytes>) -> PyResult<()> {
        let py = slf.py();
        let state = slf.get().state.get(py);
        let mut pending = state.pending.borrow_mut();
        let is_first = matches!(*pending, Pending::Nothing);
        if data.as_bytes().is_empty() || (is_first && !slf.get().takes_writes(py)) {
            return Ok(());
        }
        pending.push(data);
        let full = pending.as_slice().len() > state.limit.get();
        drop(pending);
        if full {
            Self::settle(slf)?;
        }
        // What waits has been asked for already.
        if full || is_first {
            return slf.get().request_flush(py);
        }
        Ok(())
    }

    fn takes_writes(&self, py: Python<'_>) -> bool {
        let stream = self.stream(py);
        stream.is_some_and(|stream| Stream::takes_writes(stream.get().state(py)))
    }

    /// Lends the engine's buffer, or makes one where there is no engine any more.
    pub(super) fn take_buffer(&self, py: Python<'_>) -> Box<[u8]> {
        let stream = self.stream(py);
        let buffer = stream.and_then(|stream| Stream::take_buffer(py, stream.get().state(py)));
        buffer.unwrap_or_else(|| vec![0; PIECE].into_boxed_slice())
    }

    pub(super) fn give_buffer(&self, py: Python<'_>, buffer: Box<[u8]>) {
        if let Some(stream) = self.stream(py) {
            Stream::give_buffer(py, stream.get().state(py), buffer);
        }
    }
}

#[pymethods]
impl Records {
    /// `ITransport.write` of the TLS layer: what is written in one batch shares records.
    fn write(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        if let Ok(bytes) = data.cast_exact::<PyBytes>() {
            return Self::append(slf, bytes);
        }
        // As Twisted's aggregator, which takes what can be added to `bytes`.
        let py = slf.py();
        let sum = data.add(PyBytes::new(py, b""))?;
        let joined = PyBytes::new(py, b"").call_method1(intern!(py, "join"), ((sum,),))?;
        Self::append(slf, joined.cast::<PyBytes>()?)
    }

    /// Encrypts what waits.
    fn flush(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::settle(slf)
    }

    /// Encrypts what waits, for the last time.
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::settle(slf)
    }

    /// `TLSMemoryBIOProtocol._write`: encrypts at once.
    #[pyo3(name = "_write")]
    fn write_at_once(slf: &Bound<'_, Self>, bytes: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let Some(protocol) = this.protocol(py) else {
            return Ok(());
        };
        let Ok(data) = bytes.cast_exact::<PyBytes>() else {
            // Twisted slices it and pyOpenSSL warns about it, each in its own way.
            let class = protocol.get_type();
            return class
                .call_method1(intern!(py, "_write"), (&protocol, bytes))
                .map(drop);
        };
        if this.is_busy(py) || this.state.get(py).failing.get() {
            return Self::append(slf, data);
        }
        this.tell_trouble(py)?;
        this.encrypt(&protocol, data.as_bytes(), Leaves::Later)?;
        this.tell_trouble(py)?;
        this.pause_producer(py)
    }
}
