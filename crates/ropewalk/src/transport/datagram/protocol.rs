//! What the program does with datagrams.

use super::DatagramTransport;
use crate::error::Disconnect;
use crate::transport::NetAddr;

/// Handles the datagrams of one UDP or UNIX socket. Every method runs on the reactor's thread and may call
/// anything of the reactor and of any transport, its own included.
///
/// Callbacks of one protocol never overlap: what happens to the socket while one of them runs (in a
/// nested turn, for example) is told when it has returned. A callback that panics is reported, and
/// the socket lives on, as no peer's datagram may close it for all others.
///
/// The same as Twisted's `DatagramProtocol`.
///
/// # Examples
///
/// ```
/// use ropewalk::{DatagramProtocol, DatagramTransport, NetAddr};
///
/// struct Echo;
///
/// impl DatagramProtocol for Echo {
///     fn datagram_received(
///         &mut self,
///         transport: &DatagramTransport,
///         data: &[u8],
///         from: NetAddr,
///     ) {
///         // Whoever cannot be answered has to ask again.
///         let _ = transport.send_to(data, from);
///     }
/// }
/// ```
pub trait DatagramProtocol: 'static {
    /// The socket is bound: called once, first, before the call that listens returns. The transport
    /// may be sent with, connected, paused, closed or kept from here on.
    fn started(&mut self, transport: &DatagramTransport) {
        let _ = transport;
    }

    /// `from` sent `data`, which may be empty. The bytes are borrowed: keep a copy.
    ///
    /// A UNIX socket that was not bound has no name ([`UnixAddr::UNNAMED`](crate::UnixAddr::UNNAMED)),
    /// and cannot be answered.
    fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: NetAddr);

    /// The peer's system says that nobody receives there (`ECONNREFUSED`). Only of a
    /// [connected](DatagramTransport::connect) transport, for without it the system does not tell
    /// whose answer it was. Several refusals may be told as one. Of a UNIX peer it is known when a
    /// datagram is sent, and [`send`](DatagramTransport::send) fails as well.
    fn connection_refused(&mut self, transport: &DatagramTransport) {
        let _ = transport;
    }

    /// `count` datagrams that were accepted for sending are lost, since this was called last: the
    /// system took no more and the queue was at its bound
    /// ([`UdpOptions::queue_bound`](super::UdpOptions::queue_bound)), or the system refused them
    /// after they had waited, or the transport was closed before they were sent.
    fn datagrams_dropped(&mut self, transport: &DatagramTransport, count: usize) {
        let _ = (transport, count);
    }

    /// The system has taken all that was waiting: [`DatagramTransport::is_full`] is false again.
    fn drained(&mut self, transport: &DatagramTransport) {
        let _ = transport;
    }

    /// The socket is closed: called once, last. [`Disconnect::Done`] when the program asked for it.
    /// The protocol is dropped after it.
    fn stopped(&mut self, reason: Disconnect) {
        let _ = reason;
    }
}

impl DatagramProtocol for Box<dyn DatagramProtocol> {
    fn started(&mut self, transport: &DatagramTransport) {
        (**self).started(transport);
    }

    fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: NetAddr) {
        (**self).datagram_received(transport, data, from);
    }

    fn connection_refused(&mut self, transport: &DatagramTransport) {
        (**self).connection_refused(transport);
    }

    fn datagrams_dropped(&mut self, transport: &DatagramTransport, count: usize) {
        (**self).datagrams_dropped(transport, count);
    }

    fn drained(&mut self, transport: &DatagramTransport) {
        (**self).drained(transport);
    }

    fn stopped(&mut self, reason: Disconnect) {
        (**self).stopped(reason);
    }
}
