//! Listening and connecting with TLS over TCP.

use super::{TlsClient, TlsServer};
use crate::error::Result;
use crate::reactor::Reactor;
use crate::transport::{Address, Connector, Factory, ListeningPort};

/// TLS over TCP.
///
/// Both are short for a [factory](TlsServer::factory) of protocols that speak TLS; with that, any
/// port and any connector may.
impl Reactor {
    /// Listens as [`listen_tcp`](Self::listen_tcp) does, for connections that speak TLS from their
    /// start.
    ///
    /// # Errors
    ///
    /// As [`listen_tcp`](Self::listen_tcp). A handshake that fails costs its own connection only,
    /// whose protocol is told ([`Disconnect::Tls`](crate::Disconnect::Tls)).
    pub fn listen_tls(
        &self,
        address: impl Into<Address>,
        tls: &TlsServer,
        factory: impl Factory,
    ) -> Result<ListeningPort> {
        self.listen_tcp(address, tls.factory(factory))
    }

    /// Connects as [`connect_tcp`](Self::connect_tcp) does, and speaks TLS from the start, with
    /// whoever has a certificate for the host of `address`. For another name, use
    /// [`connect_tcp`](Self::connect_tcp) with [`TlsClient::factory`].
    ///
    /// The attempt has succeeded when TCP is connected; a handshake that fails is told to the
    /// protocol, and to the factory, as the end of the connection.
    ///
    /// # Errors
    ///
    /// As [`connect_tcp`](Self::connect_tcp), and [`Error::Tls`](crate::Error::Tls) for a host that
    /// no certificate could be for.
    pub fn connect_tls(
        &self,
        address: impl Into<Address>,
        tls: &TlsClient,
        factory: impl Factory,
    ) -> Result<Connector> {
        let address = address.into();
        let factory = tls.factory(&address.host()?, factory)?;
        self.connect_tcp(address, factory)
    }
}
