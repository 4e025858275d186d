//! TLS from a connection's first byte: around any protocol, and so around any factory.

use std::os::fd::OwnedFd;

use super::start::Start;
use crate::error::{ConnectError, Disconnect};
use crate::transport::{Connector, Factory, NetAddr, Protocol, Transport};

/// A factory whose connections speak TLS from their start; see
/// [`TlsServer::factory`](super::TlsServer::factory) and
/// [`TlsClient::factory`](super::TlsClient::factory).
///
/// TLS goes with the protocols that it makes, so that whatever wraps this factory cannot lose it.
pub struct TlsFactory<F> {
    inner: F,
    start: Start,
}

impl<F: Factory> TlsFactory<F> {
    pub(super) fn new(inner: F, start: Start) -> Self {
        Self { inner, start }
    }
}

impl<F: Factory> Factory for TlsFactory<F> {
    fn build_protocol(&mut self, peer: NetAddr) -> Option<Box<dyn Protocol>> {
        let inner = self.inner.build_protocol(peer)?;
        Some(Box::new(Secured::new(inner, self.start.clone())))
    }

    fn started(&mut self) {
        self.inner.started();
    }

    fn stopped(&mut self) {
        self.inner.stopped();
    }

    fn started_connecting(&mut self, connector: &Connector) {
        self.inner.started_connecting(connector);
    }

    fn connection_failed(&mut self, connector: &Connector, error: ConnectError) {
        self.inner.connection_failed(connector, error);
    }

    fn connection_lost(&mut self, connector: &Connector, reason: Disconnect) {
        self.inner.connection_lost(connector, reason);
    }
}

/// A protocol whose connection speaks TLS from its start; see
/// [`TlsServer::protocol`](super::TlsServer::protocol) and
/// [`TlsClient::protocol`](super::TlsClient::protocol).
pub struct Secured<P> {
    inner: P,
    /// Taken when the connection is made.
    start: Option<Box<Start>>,
}

impl<P: Protocol> Secured<P> {
    pub(super) fn new(inner: P, start: Start) -> Self {
        Self {
            inner,
            start: Some(Box::new(start)),
        }
    }
}

impl<P: Protocol> Protocol for Secured<P> {
    fn connection_made(&mut self, transport: &Transport) {
        let started = self.start.take().map(|start| transport.start_tls(*start));
        if let Some(Err(error)) = started {
            tracing::debug!(peer = %transport.peer_addr(), %error, "could not start TLS");
            // Nothing may go out in the clear.
            transport.abort_connection();
        }
        self.inner.connection_made(transport);
    }

    fn handshake_completed(&mut self, transport: &Transport) {
        self.inner.handshake_completed(transport);
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.inner.data_received(transport, data);
    }

    fn descriptor_received(&mut self, transport: &Transport, descriptor: OwnedFd) {
        self.inner.descriptor_received(transport, descriptor);
    }

    fn half_close(&self) -> bool {
        self.inner.half_close()
    }

    fn read_closed(&mut self, transport: &Transport) {
        self.inner.read_closed(transport);
    }

    fn write_closed(&mut self, transport: &Transport) {
        self.inner.write_closed(transport);
    }

    fn connection_lost(&mut self, reason: Disconnect) {
        self.inner.connection_lost(reason);
    }
}
