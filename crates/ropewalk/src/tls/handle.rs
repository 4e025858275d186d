//! What a transport can do about TLS.

use super::{Start, TlsClient, TlsInfo, TlsServer};
use crate::error::{Error, Result};
use crate::transport::Transport;

/// TLS, from the middle of a stream on. See [`tls`](crate::tls).
impl Transport {
    /// Speaks TLS from here on, as the side that shows who it is: what is queued is sent in the
    /// clear, and what is written from now on after the handshake.
    ///
    /// What the peer sent before belongs to the protocol, in the clear, up to and with the data
    /// that its running callback was given; all that is read from now on is taken for TLS. So write
    /// the answer that has the peer go over, and call this, in one callback.
    ///
    /// # Errors
    ///
    /// - [`Misuse::TlsInUse`](crate::Misuse::TlsInUse): it speaks TLS already.
    /// - [`Misuse::NotOpen`](crate::Misuse::NotOpen): one side of it has ended, or is about to.
    /// - [`Misuse::NotRunning`](crate::Misuse::NotRunning): the reactor is gone.
    /// - [`Error::Tls`]: rustls refuses the configuration.
    pub fn start_tls_server(&self, tls: &TlsServer) -> Result<()> {
        self.start_tls(tls.start())
    }

    /// Speaks TLS from here on, with whoever has a certificate for `name`, as
    /// [`start_tls_server`](Self::start_tls_server) does on the other side.
    ///
    /// # Errors
    ///
    /// As [`start_tls_server`](Self::start_tls_server), and [`Error::Tls`] when `name` is neither a
    /// host name nor an IP address.
    pub fn start_tls_client(&self, tls: &TlsClient, name: &str) -> Result<()> {
        self.start_tls(tls.start(name)?)
    }

    /// What was agreed on, as far as the handshake has come. `None` where no TLS is spoken. Still
    /// there when the connection has ended.
    pub fn tls(&self) -> Option<TlsInfo> {
        self.stream().tls_info()
    }

    pub(crate) fn start_tls(&self, start: Start) -> Result<(), Error> {
        self.stream().start_tls(start)
    }
}
