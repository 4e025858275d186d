//! What is known about a session, for Python.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::Layer;

/// Version number, cipher suite, whether an earlier session was resumed, and the name a client asked
/// this server for.
type Facts = (Option<u16>, Option<&'static str>, bool, Option<String>);

#[pymethods]
impl Layer {
    /// Whether the handshake is still to be completed.
    #[getter(_handshaking)]
    fn handshaking(&self, py: Python<'_>) -> bool {
        self.is_handshaking(py)
    }

    /// `INegotiated.negotiatedProtocol`: what ALPN agreed on, if anything.
    #[getter(negotiatedProtocol)]
    fn negotiated_protocol<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        let found = self.with_session(py, |session| {
            session
                .alpn_protocol()
                .map(|protocol| PyBytes::new(py, protocol))
        });
        found.flatten()
    }

    /// The certificates that the peer showed, its own first, as DER.
    #[pyo3(name = "_peerCertificates")]
    fn peer_certificates<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        let found = self.with_session(py, |session| {
            let shown = session.peer_certificates().unwrap_or_default().iter();
            shown.map(|der| PyBytes::new(py, der)).collect()
        });
        found.unwrap_or_default()
    }

    #[pyo3(name = "_facts")]
    fn facts(&self, py: Python<'_>) -> Facts {
        let found = self.with_session(py, |session| {
            (
                session.protocol_version().map(u16::from),
                session
                    .cipher_suite()
                    .and_then(|suite| suite.suite().as_str()),
                session.is_resumed().unwrap_or(false),
                session.server_name().map(str::to_owned),
            )
        });
        found.unwrap_or_default()
    }
}
