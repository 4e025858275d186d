//! What servers and clients have in common.

use std::time::Duration;

use rustls::SupportedProtocolVersion;

/// A version of the protocol.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

impl Version {
    /// The version that rustls means, if it is one of these.
    pub(crate) fn known(version: rustls::ProtocolVersion) -> Option<Self> {
        match version {
            rustls::ProtocolVersion::TLSv1_2 => Some(Self::Tls12),
            rustls::ProtocolVersion::TLSv1_3 => Some(Self::Tls13),
            _ => None,
        }
    }

    pub(super) fn supported(versions: &[Self]) -> Vec<&'static SupportedProtocolVersion> {
        let supported = versions.iter().map(|version| match version {
            Self::Tls12 => &rustls::version::TLS12,
            Self::Tls13 => &rustls::version::TLS13,
        });
        supported.collect()
    }
}

/// How long the steps of a connection's life may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// From the layer's start to the end of the handshake.
    pub(crate) handshake: Option<Duration>,
    /// From this side's close_notify to the peer's.
    pub(crate) close: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Some(Duration::from_secs(30)),
            close: Duration::from_secs(10),
        }
    }
}

/// What both builders are told.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) limits: Limits,
    pub(super) versions: Vec<Version>,
    pub(super) alpn: Vec<Vec<u8>>,
    pub(super) resumption: bool,
    pub(super) log_keys: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            versions: vec![Version::Tls12, Version::Tls13],
            alpn: Vec::new(),
            resumption: true,
            log_keys: false,
        }
    }
}

/// The methods that both builders have.
macro_rules! common_settings {
    () => {
        /// The protocols spoken over the connection, the preferred one first (ALPN): `b"h2"`,
        /// `b"http/1.1"`. None unless told.
        pub fn alpn<B: AsRef<[u8]>>(mut self, protocols: impl IntoIterator<Item = B>) -> Self {
            let protocols = protocols.into_iter();
            self.settings.alpn = protocols.map(|name| name.as_ref().to_vec()).collect();
            self
        }

        /// The versions to be spoken; 1.2 and 1.3 unless told.
        pub fn versions(mut self, versions: impl IntoIterator<Item = Version>) -> Self {
            self.settings.versions = versions.into_iter().collect();
            self
        }

        /// Whether a peer that returns may resume its session, which saves the exchange and the
        /// check of certificates. It may, unless told.
        pub fn resumption(mut self, allowed: bool) -> Self {
            self.settings.resumption = allowed;
            self
        }

        /// How long a handshake may take, from the start of the layer; `None` for as long as it
        /// likes. 30 seconds unless told.
        pub fn handshake_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
            self.settings.limits.handshake = timeout.into();
            self
        }

        /// How long a connection that this side has closed waits for the peer to close as well, from
        /// the flush on that ends with close_notify. 10 seconds unless told. What is queued before
        /// that waits for the peer as without TLS.
        pub fn close_timeout(mut self, timeout: Duration) -> Self {
            self.settings.limits.close = timeout;
            self
        }

        /// Appends the secrets of every connection to the file that the environment variable
        /// `SSLKEYLOGFILE` names, from which wireshark can read the traffic, and so can anybody
        /// else. For debugging only; without the variable it does nothing.
        pub fn log_keys(mut self) -> Self {
            self.settings.log_keys = true;
            self
        }
    };
}
pub(super) use common_settings;
