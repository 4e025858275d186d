//! What a layer is made from.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::TlsServer;
use super::settings::Limits;

/// How one connection is to speak TLS.
#[derive(Clone)]
pub(crate) struct Start {
    pub(crate) role: Role,
    pub(crate) limits: Limits,
}

#[derive(Clone)]
pub(crate) enum Role {
    /// Asked for its configuration when the handshake begins, for it may be reloaded before.
    Server(TlsServer),
    Client(Arc<ClientConfig>, ServerName<'static>),
}
