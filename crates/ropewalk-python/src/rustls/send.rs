//! Plaintext from the program, ciphertext to the transport.
//!
//! What is written waits for the end of the batch and leaves in full records, as Twisted gathers
//! small writes until the next turn.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use ropewalk::proto::Flow;
use ropewalk::proto::tls::TlsError;

use super::{Layer, held_by};
use crate::chunk::Chunk;
use crate::member::Member;
use crate::outgoing::{Released, SEND_LIMIT};
use crate::stream::Stream;

/// How much plaintext waits at most for the end of a batch, in bytes: as much as Twisted gathers.
const GATHER_LIMIT: usize = 64_000;

impl Layer {
    /// Takes `data` to be sealed later, or now if there is much of it.
    fn push(slf: &Bound<'_, Self>, data: &Bound<'_, PyBytes>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let state = this.state.get(py);
        if data.as_bytes().is_empty() || !this.takes_writes(py) {
            return Ok(());
        }
        let mut pending = state.pending.borrow_mut();
        // Its own flow control is not asked: the transport's counts what is sealed.
        let _: Flow = pending.push(Chunk::new(data));
        let full = pending.len() > GATHER_LIMIT;
        drop(pending);
        if state.flags.flush_scheduled.get() && !full {
            return Ok(());
        }
        if this.is_handshaking(py) {
            return this.pause_producer(py);
        }
        if full {
            return Self::settle(slf);
        }
        Self::schedule_flush(slf)
    }

    fn takes_writes(&self, py: Python<'_>) -> bool {
        let state = self.state.get(py);
        let flags = &state.flags;
        let open = !flags.disconnecting.get() || state.producer.borrow().is_some();
        open && !flags.lost.get() && !flags.aborted.get()
    }

    /// Nothing can be sealed before the handshake is over.
    fn pause_producer(&self, py: Python<'_>) -> PyResult<()> {
        match held_by(py, &self.state.get(py).producer) {
            Some(producer) => producer
                .call_method0(py, intern!(py, "pauseProducing"))
                .map(drop),
            None => Ok(()),
        }
    }

    fn schedule_flush(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        if slf.get().state.get(py).flags.flush_scheduled.replace(true) {
            return Ok(());
        }
        if let Some(stream) = slf.get().stream(py) {
            return Stream::request_flush(&stream);
        }
        slf.call_method0(intern!(py, "_scheduleFlush")).map(drop)
    }

    /// Seals what waits and gives it to the transport, which may pause a producer on that occasion.
    pub(crate) fn settle(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        this.state.get(py).flags.flush_scheduled.set(false);
        while this.can_seal(py) {
            // The session keeps what it failed with.
            let _: Result<(), TlsError> = this.seal(py);
            Self::send_outgoing(slf)?;
        }
        Self::send_outgoing(slf)?;
        let failure = this.with_session(py, |session| session.failure().cloned());
        match failure.flatten() {
            Some(error) => Self::fail(slf, &error),
            None => Ok(()),
        }
    }

    pub(super) fn can_seal(&self, py: Python<'_>) -> bool {
        let waits = !self.state.get(py).pending.borrow().is_empty();
        waits
            && self
                .with_session(py, |session| session.can_seal())
                .unwrap_or(false)
    }

    /// Seals what waits, or as much of it as one send takes.
    pub(super) fn seal(&self, py: Python<'_>) -> Result<(), TlsError> {
        // Dropped when nothing is borrowed: a subclass of `bytes` may run code when it goes.
        let mut released = Released::default();
        let mut spare = self.spare(py);
        let mut pending = self.state.get(py).pending.borrow_mut();
        let sealed = self.with_session(py, |session| {
            session.lend(&mut spare);
            session.seal(&mut pending, SEND_LIMIT, &mut |chunk| released.keep(chunk))
        });
        drop(pending);
        drop(released);
        self.keep_spare(py, spare);
        sealed.unwrap_or(Ok(0)).map(drop)
    }

    /// Gives the transport what the session has to say.
    pub(super) fn send_outgoing(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        if let Some(stream) = this.stream(py) {
            let state = stream.get().state(py);
            if this.queue_outgoing(py, state) && Stream::takes_writes(state) {
                Stream::pause_if_full(&stream, state)?;
                Stream::set_writing(&stream, true)?;
            }
            return Ok(());
        }
        let ciphertext = this.with_session(py, |session| {
            let outgoing = session.outgoing();
            if outgoing.is_empty() {
                return None;
            }
            let ciphertext = PyBytes::new(py, outgoing);
            session.advance(outgoing.len(), &mut Vec::new());
            Some(ciphertext)
        });
        let Some(ciphertext) = ciphertext.flatten() else {
            return Ok(());
        };
        let Some(transport) = held_by(py, &this.state.get(py).transport) else {
            return Ok(());
        };
        transport
            .call_method1(py, intern!(py, "write"), (ciphertext,))
            .map(drop)
    }
}

#[pymethods]
impl Layer {
    /// `ITransport.write`: what is written in one batch shares records.
    fn write(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        if let Ok(bytes) = data.cast_exact::<PyBytes>() {
            return Self::push(slf, bytes);
        }
        // As Twisted's, which takes what can be added to `bytes`.
        let sum = data.add(PyBytes::new(slf.py(), b""))?;
        Self::write_joined(slf, (sum,).into_pyobject(slf.py())?.as_any())
    }

    /// `ITransport.writeSequence`: writes all elements, or none if they cannot be joined.
    #[pyo3(name = "writeSequence")]
    fn write_joined(slf: &Bound<'_, Self>, iovec: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let joined = PyBytes::new(py, b"").call_method1(intern!(py, "join"), (iovec,))?;
        Self::push(slf, joined.cast::<PyBytes>()?)
    }

    /// Seals what waits, and sends what the session has to say.
    #[pyo3(name = "_flush")]
    fn flush(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::settle(slf)
    }

    /// Whether plaintext waits.
    #[getter(_hasPending)]
    fn has_pending(&self, py: Python<'_>) -> bool {
        !self.state.get(py).pending.borrow().is_empty()
    }

    /// Says goodbye, behind what is pending. Answers whether the peer has done so.
    #[pyo3(name = "_sayGoodbye")]
    fn say_goodbye(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let py = slf.py();
        Self::settle(slf)?;
        let closed = slf.get().with_session(py, |session| {
            session.close();
            session.peer_closed()
        });
        Self::send_outgoing(slf)?;
        Ok(closed.unwrap_or(false))
    }

    /// Whether this side has said goodbye.
    #[getter(_goodbyeSaid)]
    fn goodbye_said(&self, py: Python<'_>) -> bool {
        self.with_session(py, |session| session.close_sent())
            .unwrap_or(false)
    }

    /// Forgets what is not sealed.
    #[pyo3(name = "_dropPending")]
    fn drop_pending(&self, py: Python<'_>) {
        let dropped = self.state.get(py).pending.take();
        drop(dropped);
    }
}
