//! What the program does with a connection.

use std::os::fd::OwnedFd;

use super::Transport;
use crate::error::Disconnect;

/// Handles one connection. Every method runs on the reactor's thread and may call anything of the
/// reactor and of any transport, its own included.
///
/// Callbacks of one protocol never overlap: what happens to the connection while one of them runs
/// (in a nested turn, for example) is told when it has returned. A callback that panics is reported
/// and ends the connection with [`Disconnect::Panicked`].
///
/// The same as Twisted's `IProtocol` and `IHalfCloseableProtocol`.
///
/// # Examples
///
/// ```
/// use ropewalk::{Protocol, Transport};
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
///         transport.write(data);
///     }
/// }
/// ```
pub trait Protocol: 'static {
    /// The connection is open: called once, first. The transport reads already, and may be paused,
    /// written to, closed or kept from here on.
    fn connection_made(&mut self, transport: &Transport) {
        let _ = transport;
    }

    /// The TLS handshake is over, and `Transport::tls` tells what was agreed on: called once for
    /// each layer, before any data that came through it. What was written before goes out now.
    fn handshake_completed(&mut self, transport: &Transport) {
        let _ = transport;
    }

    /// The peer sent `data`, at most 64 KiB of it. The bytes are borrowed: keep a copy.
    fn data_received(&mut self, transport: &Transport, data: &[u8]);

    /// The peer passed `descriptor`, which belongs to the protocol now: one call for each, before
    /// the data that they came with. Only on UNIX streams.
    ///
    /// Unless this is implemented, it is closed, and the log says so.
    fn descriptor_received(&mut self, transport: &Transport, descriptor: OwnedFd) {
        tracing::debug!(peer = %transport.peer_addr(), "closed a descriptor that nobody wants");
        drop(descriptor);
    }

    /// Whether the protocol lives on when the peer closes its side. If not (the default), the end of
    /// the peer's stream ends the connection.
    fn half_close(&self) -> bool {
        false
    }

    /// The peer will send no more; only with [`half_close`](Self::half_close). The connection stays
    /// open for writing until the program closes it.
    fn read_closed(&mut self, transport: &Transport) {
        let _ = transport;
    }

    /// The write side is closed, as [`Transport::lose_write_connection`] asked for: all was sent,
    /// and the peer sees the end of the stream.
    fn write_closed(&mut self, transport: &Transport) {
        let _ = transport;
    }

    /// The connection has ended: called once, last, whatever the reason. The protocol is dropped
    /// after it.
    fn connection_lost(&mut self, reason: Disconnect) {
        let _ = reason;
    }
}

impl Protocol for Box<dyn Protocol> {
    fn connection_made(&mut self, transport: &Transport) {
        (**self).connection_made(transport);
    }

    fn handshake_completed(&mut self, transport: &Transport) {
        (**self).handshake_completed(transport);
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        (**self).data_received(transport, data);
    }

    fn descriptor_received(&mut self, transport: &Transport, descriptor: OwnedFd) {
        (**self).descriptor_received(transport, descriptor);
    }

    fn half_close(&self) -> bool {
        (**self).half_close()
    }

    fn read_closed(&mut self, transport: &Transport) {
        (**self).read_closed(transport);
    }

    fn write_closed(&mut self, transport: &Transport) {
        (**self).write_closed(transport);
    }

    fn connection_lost(&mut self, reason: Disconnect) {
        (**self).connection_lost(reason);
    }
}
