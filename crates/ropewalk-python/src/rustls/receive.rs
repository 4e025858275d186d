//! Ciphertext from the transport, plaintext to the wrapped protocol.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use ropewalk::proto::tls::{Intake, Received, Session, TlsError};

use super::{Layer, held_by};

impl Layer {
    /// Puts what is held over to the front of `buffer`; answers its length in bytes.
    pub(super) fn begin_read(&self, py: Python<'_>, buffer: &mut [u8]) -> usize {
        self.with_session(py, |session| session.begin_read(buffer))
            .unwrap_or(0)
    }

    /// Decrypts the first `length` bytes of `buffer`, and tells the protocol what came.
    ///
    /// User code runs meanwhile; the buffer is the caller's own.
    pub(super) fn take_in(slf: &Bound<'_, Self>, buffer: &mut [u8], length: usize) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        if !this.receives(py) {
            return Ok(());
        }
        let mut length = length;
        if this.is_handshaking(py) {
            if !Self::shake_hands(slf, &mut buffer[..length])? {
                return Ok(());
            }
            length = this.begin_read(py, buffer);
        }
        let received = this.process(py, &mut buffer[..length], Intake::All);
        if received.plaintext > 0 {
            Self::hand_over(slf, &buffer[..received.plaintext])?;
        }
        if let Some(error) = &received.error {
            return Self::fail(slf, error);
        }
        if received.peer_closed {
            slf.call_method0(intern!(py, "_peerClosed"))?;
        }
        // A handshake message of the peer's may have to be answered.
        Self::send_outgoing(slf)
    }

    /// Takes `input` into the handshake. Whether what may be behind it is to be taken in as well.
    fn shake_hands(slf: &Bound<'_, Self>, input: &mut [u8]) -> PyResult<bool> {
        let py = slf.py();
        let this = slf.get();
        let received = this.process(py, input, Intake::Handshake);
        if let Some(error) = &received.error {
            return Self::fail(slf, error).map(|()| false);
        }
        Self::send_outgoing(slf)?;
        if received.handshake_completed {
            slf.call_method0(intern!(py, "_handshakeCompleted"))?;
            return Ok(this
                .with_session(py, |session| session.has_pending())
                .unwrap_or(false));
        }
        if received.peer_closed {
            Self::fail(slf, &TlsError::Truncated)?;
        }
        Ok(false)
    }

    fn process(&self, py: Python<'_>, input: &mut [u8], intake: Intake) -> Received {
        self.with_session(py, |session| session.process(input, intake))
            .unwrap_or_default()
    }

    /// `dataReceived` of the wrapped protocol, unless that hears of no more data.
    fn hand_over(slf: &Bound<'_, Self>, plaintext: &[u8]) -> PyResult<()> {
        let py = slf.py();
        let state = slf.get().state.get(py);
        if state.flags.deaf.get() {
            return Ok(());
        }
        let Some(wrapped) = held_by(py, &state.wrapped) else {
            return Ok(());
        };
        let data = PyBytes::new(py, plaintext);
        wrapped
            .call_method1(py, intern!(py, "dataReceived"), (data,))
            .map(drop)
    }

    /// Whether ciphertext is still of interest.
    fn receives(&self, py: Python<'_>) -> bool {
        let flags = &self.state.get(py).flags;
        !flags.lost.get() && !flags.aborted.get()
    }
}

#[pymethods]
impl Layer {
    /// `IProtocol.dataReceived`: ciphertext, from whatever transport there is.
    #[pyo3(name = "dataReceived")]
    fn data_received(slf: &Bound<'_, Self>, data: &[u8]) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let held = this.with_session(py, |session| session.held()).unwrap_or(0);
        let length = held + data.len();
        let mut buffer = vec![0; length.max(Session::MIN_READ_BUFFER)];
        this.begin_read(py, &mut buffer);
        buffer[held..length].copy_from_slice(data);
        Self::take_in(slf, &mut buffer, length)
    }

    /// Whether the end of the transport's stream cut the session off: the peer has not closed it.
    #[getter(_truncated)]
    fn truncated(&self, py: Python<'_>) -> bool {
        self.with_session(py, |session| session.end() == Err(TlsError::Truncated))
            .unwrap_or(false)
    }
}
