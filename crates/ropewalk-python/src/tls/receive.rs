//! Ciphertext in, plaintext to the protocol: `TLSMemoryBIOProtocol.dataReceived` after the handshake.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::binding::{Session, Step};
use super::send::Leaves;
use super::{Records, truth};
use crate::stream::State as StreamState;

/// What one batch came to.
struct Batch<'py> {
    data: Option<Bound<'py, PyBytes>>,
    end: End,
}

/// Why a batch holds no more.
enum End {
    /// Everything that came in is decrypted.
    Drained,
    /// The buffer is full.
    Full,
    /// The peer closed the session.
    Closed,
    /// The peer broke the rules.
    Failed(PyErr),
}

impl Records {
    /// These records, unless the stream has another protocol by now, or the program put a
    /// `dataReceived` in the place of theirs.
    pub(crate) fn if_receiving<'py>(
        records: Bound<'py, Self>,
        stream: &StreamState,
    ) -> PyResult<Option<Bound<'py, Self>>> {
        let py = records.py();
        let outermost = stream.protocol(py)?;
        let parts = records.get().state.get(py).parts.borrow();
        let Some(parts_now) = parts.as_ref() else {
            return Ok(None);
        };
        let Some(ours) = parts_now.data_received.as_ref().map(|it| it.clone_ref(py)) else {
            return Ok(None);
        };
        let protocol = parts_now.protocol.bind(py).clone();
        let same = parts_now.outermost.is(&outermost);
        drop(parts);
        let receiving = same && protocol.getattr(intern!(py, "dataReceived"))?.is(&ours);
        Ok(receiving.then_some(records))
    }

    /// Whether OpenSSL is at work for this stream, further down the stack.
    pub(crate) fn is_busy(&self, py: Python<'_>) -> bool {
        self.state.get(py).busy.get()
    }

    /// Hands `ciphertext` to OpenSSL. No user code runs.
    pub(crate) fn put(&self, py: Python<'_>, ciphertext: &[u8]) -> PyResult<()> {
        let Some(session) = self.session(py) else {
            return Ok(());
        };
        if session.put_ciphertext(py, ciphertext) {
            return Ok(());
        }
        // Out of memory, most likely: pyOpenSSL finds out, and says it in its own words.
        let bytes = PyBytes::new(py, ciphertext);
        let name = intern!(py, "bio_write");
        session
            .connection(py)
            .call_method1(name, (bytes,))
            .map(drop)
    }

    /// Delivers what can be decrypted now, and queues what OpenSSL has to say in return.
    pub(crate) fn deliver(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        Self::settle(slf)?;
        let (Some(session), Some(protocol)) = (this.session(py), this.protocol(py)) else {
            return Ok(());
        };
        if !protocol
            .getattr(intern!(py, "_appSendBuffer"))?
            .is_empty()?
        {
            protocol.call_method0(intern!(py, "_unbufferPendingWrites"))?;
        }
        let lost = intern!(py, "_lostTLSConnection");
        while !truth(&protocol, lost)? {
            let batch = this.decrypt(py, &session);
            let failing = &this.state.get(py).failing;
            failing.set(matches!(batch.end, End::Failed(_)));
            let delivered = hand_over(&protocol, batch.data);
            failing.set(false);
            delivered?;
            match batch.end {
                End::Full => {}
                End::Drained => break,
                // Unless what was delivered has ended it already.
                _ if truth(&protocol, lost)? => break,
                End::Closed => closed(&protocol)?,
                End::Failed(error) => Self::tell_failure(&protocol, error)?,
            }
        }
        this.drain(py, &session, Leaves::Later)?;
        this.request_flush(py)
    }

    /// Decrypts until nothing is left, or as much as one buffer holds.
    fn decrypt<'py>(&self, py: Python<'py>, session: &Session) -> Batch<'py> {
        let mut buffer = self.take_buffer(py);
        let mut filled = 0;
        let end = loop {
            if filled == buffer.len() {
                break End::Full;
            }
            match self.while_busy(py, || session.read(py, &mut buffer[filled..])) {
                Step::Done(count) => filled += count,
                Step::WantsInput => break End::Drained,
                Step::Closed => break End::Closed,
                Step::Failed(result) => break End::Failed(session.error(py, result)),
            }
        };
        let data = (filled > 0).then(|| PyBytes::new(py, &buffer[..filled]));
        self.give_buffer(py, buffer);
        let received = &self.state.get(py).bytes_received;
        received.set(received.get() + filled as u64);
        Batch { data, end }
    }
}

/// Answers the end of the session with one's own, and then ends the connection.
fn closed(protocol: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = protocol.py();
    protocol.call_method0(intern!(py, "_shutdownTLS"))?;
    protocol
        .call_method1(intern!(py, "_tlsShutdownFinished"), (py.None(),))
        .map(drop)
}

/// `ProtocolWrapper.dataReceived`, unless the connection was aborted.
fn hand_over(protocol: &Bound<'_, PyAny>, data: Option<Bound<'_, PyBytes>>) -> PyResult<()> {
    let py = protocol.py();
    let Some(data) = data else { return Ok(()) };
    if truth(protocol, intern!(py, "_aborted"))? {
        return Ok(());
    }
    protocol
        .getattr(intern!(py, "wrappedProtocol"))?
        .call_method1(intern!(py, "dataReceived"), (data,))
        .map(drop)
}

#[pymethods]
impl Records {
    /// Stands in for the protocol's own method while nobody puts another in its place.
    #[pyo3(name = "dataReceived")]
    fn data_received(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        match data.cast_exact::<PyBytes>() {
            Ok(bytes) => slf.get().put(py, bytes.as_bytes())?,
            // What else there is to be said about data is pyOpenSSL's to say.
            Err(_) => {
                if let Some(session) = slf.get().session(py) {
                    let name = intern!(py, "bio_write");
                    session.connection(py).call_method1(name, (data,))?;
                }
            }
        }
        Self::deliver(slf)
    }
}
