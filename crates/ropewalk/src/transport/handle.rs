//! The handle to one connection.

use std::fmt;
use std::io;
use std::mem;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;

use bytes::Bytes;
use ropewalk_os::socket::{self, unix};
use ropewalk_proto::{Flow, StreamState, WriteQueue};

use super::stream::Stream;
use super::{NetAddr, Producer, ProducerKind, Protocol, UnixAddr};
use crate::error::Misuse;

/// Who is at the other end of a UNIX stream; see [`Transport::peer_credentials`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerCredentials {
    /// The process, where the system tells it (Linux). It may have ended since, and its number may
    /// be another's by now.
    pub pid: Option<u32>,
    /// The effective user.
    pub uid: u32,
    /// The effective group.
    pub gid: u32,
}

/// One connection: a cheap handle of one thread, to be cloned and kept at will.
///
/// All methods may be called from any callback and at any time; on a connection that has ended they
/// do nothing. Nothing is sent or closed before the current callback returns, unless a method says
/// otherwise: writes of one callback, and of all callbacks of one turn, go out together.
///
/// Handles do not keep a connection open, nor does dropping them close it.
///
/// The same as Twisted's `ITCPTransport`.
#[derive(Clone)]
pub struct Transport {
    stream: Rc<Stream>,
}

impl Transport {
    /// The mark above which a push producer is paused, in bytes, unless
    /// [`set_high_water`](Self::set_high_water) moves it.
    pub const HIGH_WATER: usize = 65_536;

    /// How many descriptors may be queued before a push producer is paused.
    pub const DESCRIPTOR_HIGH_WATER: usize = 64;

    pub(crate) fn new(stream: Rc<Stream>) -> Self {
        Self { stream }
    }

    #[cfg(feature = "tls")]
    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Queues a copy of `data`.
    ///
    /// What is written after [`lose_connection`](Self::lose_connection), but before the connection
    /// has ended, is still sent. Write 1 KiB or more at a time through
    /// [`write_bytes`](Self::write_bytes) to save the copy.
    pub fn write(&self, data: &[u8]) {
        self.stream.write(|queue| queue.push_copy(data));
    }

    /// Queues `data` without a copy. Small chunks (up to 1 KiB) behind other data are copied to it
    /// all the same, as that costs less.
    pub fn write_bytes(&self, data: impl Into<Bytes>) {
        let mut data = data.into();
        self.stream.write(|queue| append(queue, &mut data));
    }

    /// Queues every chunk in order, without copies; pauses a producer once, after the last.
    pub fn write_sequence<B: Into<Bytes>>(&self, chunks: impl IntoIterator<Item = B>) {
        let mut chunks: Vec<Bytes> = chunks.into_iter().map(Into::into).collect();
        self.stream.write(|queue| {
            let appended = chunks.iter_mut().map(|chunk| append(queue, chunk));
            appended.fold(
                Flow::Keep,
                |all, one| if one == Flow::Pause { one } else { all },
            )
        });
    }

    /// Passes `descriptor` to the peer of a UNIX stream, which gets a duplicate; this side's is
    /// closed when that is sent, or when the connection ends first.
    ///
    /// It goes with the first byte written after it, or, if none is before the flush, with the last
    /// one written before that no other goes with. So it takes a byte of data for each: with more
    /// descriptors queued than bytes when they are to be sent, the connection is lost
    /// ([`InvalidInput`](io::ErrorKind::InvalidInput)). A push producer is paused when more than
    /// [`DESCRIPTOR_HIGH_WATER`](Self::DESCRIPTOR_HIGH_WATER) are queued.
    ///
    /// On a connection that takes no writes any more the descriptor is closed. The same as
    /// Twisted's `IUNIXTransport.sendFileDescriptor`, but that it takes what it is given.
    ///
    /// # Errors
    ///
    /// - [`Misuse::NotUnixStream`] for a connection of another kind; the descriptor is closed.
    /// - [`Misuse::TlsInUse`]: nothing passes a layer of TLS but bytes; the descriptor is closed.
    pub fn send_descriptor(&self, descriptor: impl Into<OwnedFd>) -> Result<(), Misuse> {
        self.stream.send_descriptor(descriptor.into())
    }

    /// Who the peer of a UNIX stream is: as it was when it connected, or began to listen.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](io::ErrorKind::Unsupported) for a connection of another kind,
    /// [`NotConnected`](io::ErrorKind::NotConnected) when the connection has ended.
    pub fn peer_credentials(&self) -> io::Result<PeerCredentials> {
        if self.stream.peer().unix().is_none() {
            let text = "only UNIX streams know who their peer is";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        let found = self.with_fd(unix::peer_credentials)??;
        Ok(PeerCredentials {
            pid: found.pid,
            uid: found.uid,
            gid: found.gid,
        })
    }

    /// How much is queued and not yet taken by the system, in bytes.
    pub fn buffered_len(&self) -> usize {
        self.stream.unsent_len()
    }

    /// Closes the connection when all that is queued is sent. Reading stops at once.
    ///
    /// A pull producer, or a push producer that is paused, is waited for until it is unregistered.
    /// The protocol hears [`Disconnect::Done`](crate::Disconnect::Done) in a later step; only when
    /// the write side is closed already, right after the current callback. Over TLS the peer has its
    /// say too: module `tls` tells.
    pub fn lose_connection(&self) {
        self.stream.lose();
    }

    /// Closes the write side when all that is queued is sent: the peer sees the end of the stream,
    /// and this side goes on reading. The protocol hears
    /// [`write_closed`](Protocol::write_closed).
    pub fn lose_write_connection(&self) {
        self.stream.request(StreamState::lose_write);
    }

    /// Throws away what is queued and resets the connection. Nothing is received any more, and the
    /// protocol hears [`Disconnect::Aborted`](crate::Disconnect::Aborted) in a later step.
    pub fn abort_connection(&self) {
        self.stream.request(StreamState::abort);
    }

    /// Stops reading. A paused connection hears of nothing, not even that it broke, until it is
    /// resumed or written to.
    pub fn pause_producing(&self) {
        self.stream.set_paused(true);
    }

    /// Reads again; without effect while the connection is being closed.
    pub fn resume_producing(&self) {
        self.stream.set_paused(false);
    }

    /// Lets `producer` supply the data, at the pace of the peer. A pull producer is resumed before
    /// this returns; on a connection that has ended, any producer is stopped instead.
    ///
    /// # Errors
    ///
    /// [`Misuse::ProducerInUse`] when another one is registered.
    pub fn register_producer(
        &self,
        producer: impl Producer,
        kind: ProducerKind,
    ) -> Result<(), Misuse> {
        self.stream.register_producer(Rc::new(producer), kind)
    }

    /// Lets the producer go; a close that waited for it goes on.
    pub fn unregister_producer(&self) {
        self.stream.unregister_producer();
    }

    /// The mark above which a push producer is paused, in bytes.
    pub fn high_water(&self) -> usize {
        self.stream.queue().borrow().high_water()
    }

    /// Moves that mark; later writes are measured by it. The producer is resumed when all is sent,
    /// whatever the mark.
    pub fn set_high_water(&self, bytes: usize) {
        self.stream.queue().borrow_mut().set_high_water(bytes);
    }

    /// Lets another protocol hear of this connection from here on, for example after an upgrade.
    /// The present one is dropped when its running callback returns, and told nothing.
    pub fn set_protocol(&self, protocol: impl Protocol) {
        self.stream.replace_protocol(Box::new(protocol));
    }

    /// Whether the connection has not ended. True in the callback that begins to close it.
    pub fn is_connected(&self) -> bool {
        self.stream.state().is_connected()
    }

    /// Whether the connection is being closed after its flush.
    pub fn is_disconnecting(&self) -> bool {
        self.stream.state().is_disconnecting()
    }

    /// Whether reading is paused.
    pub fn is_paused(&self) -> bool {
        self.stream.state().is_paused()
    }

    /// The peer's address.
    pub fn peer_addr(&self) -> NetAddr {
        self.stream.peer().clone()
    }

    /// This side's address.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected) when the connection has ended.
    pub fn local_addr(&self) -> io::Result<NetAddr> {
        match self.stream.peer() {
            NetAddr::Ip(_) => self.with_fd(socket::local_addr)?.map(NetAddr::Ip),
            NetAddr::Unix(_) => {
                let local = self.with_fd(unix::local_addr)??;
                Ok(UnixAddr::from_system(&local).into())
            }
        }
    }

    /// Whether small writes go out without waiting for an acknowledgement (`TCP_NODELAY`); off
    /// unless set.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected) when the connection has ended.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.with_fd(socket::nodelay)?
    }

    /// Sets `TCP_NODELAY`.
    ///
    /// # Errors
    ///
    /// As [`nodelay`](Self::nodelay).
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.with_fd(|fd| socket::set_nodelay(fd, nodelay))?
    }

    /// Whether the system probes an idle peer (`SO_KEEPALIVE`); off unless set.
    ///
    /// # Errors
    ///
    /// As [`nodelay`](Self::nodelay).
    pub fn keepalive(&self) -> io::Result<bool> {
        self.with_fd(socket::keepalive)?
    }

    /// Sets `SO_KEEPALIVE`.
    ///
    /// # Errors
    ///
    /// As [`nodelay`](Self::nodelay).
    pub fn set_keepalive(&self, keepalive: bool) -> io::Result<()> {
        self.with_fd(|fd| socket::set_keepalive(fd, keepalive))?
    }

    /// Runs `use_fd` on the socket, for options this handle does not know. `use_fd` must not call
    /// the reactor or its transports, and must leave the socket non-blocking and open.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected) when the connection has ended.
    pub fn with_fd<R>(&self, use_fd: impl FnOnce(BorrowedFd<'_>) -> R) -> io::Result<R> {
        self.stream
            .with_fd(use_fd)
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Whether both are handles to the same connection.
    pub fn same_connection(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.stream, &other.stream)
    }
}

/// Pushes `chunk`. One that is copied stays with the caller, who drops it when nothing is borrowed:
/// its owner may be anybody.
pub(super) fn append(queue: &mut WriteQueue<Bytes>, chunk: &mut Bytes) -> Flow {
    if queue.copies(chunk.len()) {
        queue.push_copy(chunk)
    } else {
        queue.push(mem::take(chunk))
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("peer", &format_args!("{}", self.stream.peer()))
            .field("connected", &self.is_connected())
            .field("buffered", &self.buffered_len())
            .finish()
    }
}
