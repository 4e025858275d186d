//! Sockets that somebody else made: listeners and streams that a reactor takes over.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ropewalk_os::socket::adopt::{self, Family, Kind};
use ropewalk_os::socket::{self, unix};

use super::listener::Port;
use super::stream::{Socket, Stream};
use super::{Factory, ListeningPort, NetAddr, Protocol, Transport, UnixAddr};
use crate::error::{Error, Result};
use crate::reactor::Reactor;

/// Adopting sockets.
///
/// What is adopted is made non-blocking, which all descriptors of the same socket notice: those
/// that were duplicated, passed or inherited. To keep a descriptor of one's own, adopt a duplicate
/// (`try_clone`).
impl Reactor {
    /// Accepts connections on a TCP or UNIX socket that listens already: one of `std::net` or
    /// `std::os::unix::net`, one that was inherited (see [`systemd`](crate::systemd)) or received.
    ///
    /// Closing the port closes `listener`, and nothing else: where a duplicate lives on,
    /// connections can still be made, and wait for whoever accepts there. The path of a UNIX socket is left
    /// alone, as is what made it.
    ///
    /// # Errors
    ///
    /// [`Error::CannotAdopt`]: not a socket, not a stream socket of these families, or one that
    /// does not listen ([`InvalidInput`](io::ErrorKind::InvalidInput)). The descriptor is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::net::TcpListener;
    /// use ropewalk::{Protocol, Reactor, Transport};
    ///
    /// struct Echo;
    ///
    /// impl Protocol for Echo {
    ///     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
    ///         transport.write(data);
    ///     }
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = Reactor::new()?;
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// let port = reactor.adopt_listener(listener, |_peer| Echo)?;
    /// assert_eq!(port.local_addr(), address);
    /// # Ok(())
    /// # }
    /// ```
    pub fn adopt_listener(
        &self,
        listener: impl Into<OwnedFd>,
        factory: impl Factory,
    ) -> Result<ListeningPort> {
        let fd = listener.into();
        let local = check_listener(fd.as_fd()).map_err(cannot_adopt)?;
        let port = Port::open(&self.core, fd, local, None, Box::new(factory));
        Ok(ListeningPort::new(port))
    }

    /// Serves a TCP or UNIX connection that is open already, with `protocol`, whose
    /// [`connection_made`](Protocol::connection_made) is called before this returns.
    ///
    /// The end of the connection closes `stream` without a shutdown(2): where a duplicate lives on,
    /// the peer sees no end until that is closed too. What the program asks for by name affects the
    /// connection all the same: [`Transport::lose_write_connection`] ends its write side, and
    /// [`Transport::abort_connection`] has the last close reset it.
    ///
    /// # Errors
    ///
    /// [`Error::CannotAdopt`]: not a socket, not a stream socket of these families
    /// ([`InvalidInput`](io::ErrorKind::InvalidInput)), or one without a peer
    /// ([`NotConnected`](io::ErrorKind::NotConnected)). The descriptor is closed.
    pub fn adopt_stream(
        &self,
        stream: impl Into<OwnedFd>,
        protocol: impl Protocol,
    ) -> Result<Transport> {
        let fd = stream.into();
        let peer = check_stream(fd.as_fd()).map_err(cannot_adopt)?;
        let socket = Socket {
            fd,
            peer,
            adopted: true,
        };
        let protocol = Box::new(protocol);
        Ok(Stream::open(&self.core, socket, protocol, None, |_| {}))
    }
}

/// Answers the address that a listener listens on.
fn check_listener(fd: BorrowedFd<'_>) -> io::Result<NetAddr> {
    let is_unix = check_kind(fd)?;
    if !adopt::is_listening(fd)? {
        return Err(unfit("the socket does not listen"));
    }
    adopt::prepare(fd)?;
    local_addr(fd, is_unix)
}

/// Answers the peer of a stream.
fn check_stream(fd: BorrowedFd<'_>) -> io::Result<NetAddr> {
    let is_unix = check_kind(fd)?;
    if adopt::is_listening(fd)? {
        return Err(unfit("the socket listens, and has no peer"));
    }
    let peer = match is_unix {
        true => UnixAddr::from_system(&unix::peer_addr(fd)?).into(),
        false => socket::peer_addr(fd)?.into(),
    };
    adopt::prepare(fd)?;
    Ok(peer)
}

fn local_addr(fd: BorrowedFd<'_>, is_unix: bool) -> io::Result<NetAddr> {
    match is_unix {
        true => Ok(UnixAddr::from_system(&unix::local_addr(fd)?).into()),
        false => Ok(socket::local_addr(fd)?.into()),
    }
}

/// Whether a stream socket is a UNIX one.
fn check_kind(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let (family, kind) = adopt::family_and_type(fd)?;
    if kind != Kind::Stream {
        return Err(unfit("the socket is not a stream socket"));
    }
    match family {
        Family::Inet | Family::Inet6 => Ok(false),
        Family::Unix => Ok(true),
        _ => Err(unfit("the socket is neither a TCP nor a UNIX one")),
    }
}

pub(super) fn unfit(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

pub(super) fn cannot_adopt(source: io::Error) -> Error {
    Error::CannotAdopt { source }
}
