//! The handle to one datagram socket.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use ropewalk_os::socket;

use super::SendError;
use super::port::Port;
use crate::deferred::Deferred;
use crate::error::ConnectError;
use crate::transport::NetAddr;

/// One UDP or UNIX datagram socket: a cheap handle of one thread, to be cloned and kept at will.
///
/// All methods may be called from any callback and at any time. The socket receives until it is told
/// to stop or the reactor shuts down; dropping its handles does not close it.
///
/// The same as Twisted's `IUDPTransport`, `IMulticastTransport`, `IUNIXDatagramTransport`,
/// `IUNIXDatagramConnectedTransport` and `IListeningPort`.
#[derive(Clone)]
pub struct DatagramTransport {
    port: Rc<Port>,
}

impl DatagramTransport {
    pub(super) fn new(port: Rc<Port>) -> Self {
        Self { port }
    }

    /// Sends `data` to `to`, a literal address of the socket's family: at once, if the system takes
    /// it. When its buffer is full the datagram waits in the transport ([`is_full`](Self::is_full)),
    /// and beyond the bound it is dropped and the protocol told
    /// ([`datagrams_dropped`](crate::DatagramProtocol::datagrams_dropped)). Neither is an error.
    ///
    /// Among UNIX sockets each receiver has a buffer of its own (on Linux, of some ten datagrams).
    /// Only what is sent to the one that is full waits. Nothing tells a socket that is not connected
    /// when there is room again, so that it is tried after 1 ms, then after ever longer rests up to
    /// 64 ms; a [connected](Self::connect) one is told at once.
    ///
    /// # Errors
    ///
    /// - [`SendError::TooLong`], [`SendError::BadAddress`], [`SendError::Unreachable`],
    ///   [`SendError::NoReceiver`], [`SendError::Denied`], [`SendError::Os`]: what speaks against
    ///   this datagram. Others may be sent.
    /// - [`SendError::Closed`]: the transport is closed.
    pub fn send_to(&self, data: &[u8], to: impl Into<NetAddr>) -> Result<(), SendError> {
        self.port.send(data, Some(to.into()))
    }

    /// Sends `data` to the peer that the transport is connected to, as [`send_to`](Self::send_to)
    /// does.
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to); [`SendError::NotConnected`] without a peer.
    pub fn send(&self, data: &[u8]) -> Result<(), SendError> {
        self.port.send(data, None)
    }

    /// Connects to `peer`: from here on nothing is received from, or sent to, anybody else, and the
    /// protocol hears when the peer's system
    /// [refuses](crate::DatagramProtocol::connection_refused). Nothing is sent to the peer. Another
    /// call connects to another peer. What still waited to be sent is dropped, with a notice.
    ///
    /// A UNIX peer has to be there. When it has gone, and another is bound to its address by the time
    /// something is sent, the transport connects to that one: a peer may be started anew, as with UDP.
    ///
    /// # Errors
    ///
    /// What the system said ([`ConnectErrorKind`](crate::ConnectErrorKind)): an address of another
    /// family, port 0, no route, no such UNIX socket, or the transport is closed. A peer there was
    /// stays.
    pub fn connect(&self, peer: impl Into<NetAddr>) -> Result<(), ConnectError> {
        self.port.connect(peer.into())
    }

    /// Stops receiving: what arrives waits in the system's buffer, and when that is full it is lost.
    /// A paused transport hears of no datagram and no refusal, but it may send, and hears what
    /// becomes of that.
    pub fn pause_receiving(&self) {
        self.port.set_paused(true);
    }

    /// Receives again, from a later step on.
    pub fn resume_receiving(&self) {
        self.port.set_paused(false);
    }

    /// Whether receiving is paused.
    pub fn is_paused(&self) -> bool {
        self.port.is_paused()
    }

    /// Whether the system takes no more, so that what is sent now (to the same receiver, if UNIX
    /// sockets are not connected) waits or is dropped. A sender that minds holds back until [`drained`](crate::DatagramProtocol::drained).
    pub fn is_full(&self) -> bool {
        self.port.is_full()
    }

    /// How much waits to be sent, in bytes.
    pub fn buffered_len(&self) -> usize {
        self.port.buffered_len()
    }

    /// The address the socket is bound to, with the number the system chose for port 0; a UNIX socket
    /// that was not bound has no name. Stays after the socket is closed.
    pub fn local_addr(&self) -> NetAddr {
        self.port.local()
    }

    /// The peer the transport is connected to, if it is. Stays after the socket is closed.
    pub fn peer_addr(&self) -> Option<NetAddr> {
        self.port.peer()
    }

    /// Whether the socket is open.
    pub fn is_listening(&self) -> bool {
        self.port.is_open()
    }

    /// Stops listening. Nothing is received any more; the socket is closed in a later step, the path
    /// that was made for it is removed, and the `Deferred` fires when it is, or at once if it was before. What waits to be sent is offered to
    /// the system once more; what it does not take is dropped, with a notice.
    ///
    /// The `Deferred` fails with [`Error::Panicked`](crate::Error::Panicked) when the protocol's
    /// [`stopped`](crate::DatagramProtocol::stopped) panicked.
    pub fn stop_listening(&self) -> Deferred<()> {
        self.port.stop()
    }

    /// Whether datagrams may be sent to broadcast addresses (`SO_BROADCAST`).
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected) when the socket is closed.
    pub fn broadcast(&self) -> io::Result<bool> {
        self.with_fd(socket::broadcast)?
    }

    /// Says whether datagrams may be sent to broadcast addresses (`SO_BROADCAST`).
    ///
    /// # Errors
    ///
    /// As [`broadcast`](Self::broadcast).
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        self.with_fd(|fd| socket::set_broadcast(fd, broadcast))?
    }

    /// Runs `use_fd` on the socket, for options this handle does not know. `use_fd` must not call
    /// the reactor or its transports, and must leave the socket non-blocking and open.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected) when the socket is closed.
    pub fn with_fd<R>(&self, use_fd: impl FnOnce(BorrowedFd<'_>) -> R) -> io::Result<R> {
        self.port
            .with_fd(use_fd)
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Whether both are handles to the same socket.
    pub fn same_socket(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.port, &other.port)
    }
}

impl fmt::Debug for DatagramTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramTransport")
            .field("local", &self.local_addr())
            .field("peer", &self.peer_addr())
            .field("listening", &self.is_listening())
            .field("buffered", &self.buffered_len())
            .finish()
    }
}
