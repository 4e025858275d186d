//! What was agreed on.

use rustls::pki_types::CertificateDer;

use super::Version;

/// What two peers have agreed on; see [`Transport::tls`](crate::Transport::tls). All but the last
/// two are nothing before the handshake has come so far.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsInfo {
    /// The version of the protocol.
    pub version: Option<Version>,
    /// The cipher suite's name as IANA has it: `TLS13_AES_256_GCM_SHA384`.
    pub cipher_suite: Option<&'static str>,
    /// The protocol agreed on by ALPN.
    pub alpn_protocol: Option<Vec<u8>>,
    /// The name that the client asked for by SNI, or that this client was to ask for.
    pub server_name: Option<String>,
    /// The peer's certificate, and those it sent with it.
    pub peer_certificates: Option<Vec<CertificateDer<'static>>>,
    /// Whether the session of an earlier connection was resumed.
    pub resumed: bool,
    /// Whether the handshake is still going on.
    pub handshaking: bool,
}
