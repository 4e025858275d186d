//! Making UNIX datagram sockets.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ropewalk_os::socket::adopt::{self, Family, Kind};
use ropewalk_os::socket::unix;

use super::port::{Port, Socket};
use super::{DatagramProtocol, DatagramTransport, UnixDatagramOptions};
use crate::error::{ConnectError, ConnectErrorKind, Error, Result};
use crate::reactor::Reactor;
use crate::transport::adopt::{cannot_adopt, unfit};
use crate::transport::unix::place;
use crate::transport::{NetAddr, UnixAddr};

/// UNIX datagrams.
impl Reactor {
    /// Listens for datagrams on a UNIX socket: a path, or an abstract name (text that begins with a
    /// zero byte, [`UnixAddr::abstract_name`]). The protocol hears of every datagram, from the next
    /// turn on. A sender that was not bound has no name, and cannot be answered.
    ///
    /// The path is made here and removed when the transport is closed, unless it names something
    /// else by then. One that exists is refused; see [`UnixDatagramOptions::lock`] for how to recover
    /// what a killed process left. On Linux an empty name has the system choose an abstract one.
    ///
    /// The same as Twisted's `IReactorUNIXDatagram.listenUNIXDatagram`.
    ///
    /// # Errors
    ///
    /// [`Error::CannotListen`]: the path exists, is too long, or the system refused otherwise, for
    /// example because no descriptor is left.
    ///
    /// # Examples
    ///
    /// ```
    /// use ropewalk::{DatagramProtocol, DatagramTransport, NetAddr, Reactor};
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
    ///         if let Err(error) = transport.send_to(data, from) {
    ///             eprintln!("{error}");
    ///         }
    ///     }
    /// }
    ///
    /// # fn main() -> ropewalk::Result<()> {
    /// let reactor = Reactor::new()?;
    /// # let directory = std::env::temp_dir().join(format!("ropewalk-doc-{}", std::process::id()));
    /// # std::fs::create_dir_all(&directory).expect("a directory for temporary files");
    /// let port = reactor.listen_unix_datagram(directory.join("echo.sock"), Echo)?;
    /// println!("listening on {}", port.local_addr());
    /// # reactor.disconnect_all();
    /// # std::fs::remove_dir(&directory).expect("the port has removed its socket");
    /// # Ok(())
    /// # }
    /// ```
    pub fn listen_unix_datagram(
        &self,
        address: impl Into<UnixAddr>,
        protocol: impl DatagramProtocol,
    ) -> Result<DatagramTransport> {
        self.listen_unix_datagram_with(address, UnixDatagramOptions::new(), protocol)
    }

    /// Listens as [`listen_unix_datagram`](Self::listen_unix_datagram) does, with other options than
    /// the usual ones.
    ///
    /// # Errors
    ///
    /// As [`listen_unix_datagram`](Self::listen_unix_datagram); with a lock,
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when a live process holds it.
    pub fn listen_unix_datagram_with(
        &self,
        address: impl Into<UnixAddr>,
        options: UnixDatagramOptions,
        protocol: impl DatagramProtocol,
    ) -> Result<DatagramTransport> {
        let address = address.into();
        let socket = bound(&address, &options).map_err(|source| Error::CannotListen {
            addr: address.into(),
            source,
        })?;
        Ok(Port::open(&self.core, socket, protocol))
    }

    /// Makes a UNIX datagram socket without a name and [connects](DatagramTransport::connect) it to
    /// `peer`, a path or an abstract name. Nothing is received, for nobody can send to a socket
    /// without a name: [`connect_unix_datagram_with`](Self::connect_unix_datagram_with) gives it one.
    ///
    /// The same as Twisted's `IReactorUNIXDatagram.connectUNIXDatagram`.
    ///
    /// # Errors
    ///
    /// [`Error::Connect`]: [`NotFound`](ConnectErrorKind::NotFound) where no such path is,
    /// [`Refused`](ConnectErrorKind::Refused) where nobody receives any more,
    /// [`Os`](ConnectErrorKind::Os) for what the system said otherwise, `EPROTOTYPE` of a stream's
    /// socket, for example, or that no descriptor is left.
    pub fn connect_unix_datagram(
        &self,
        peer: impl Into<UnixAddr>,
        protocol: impl DatagramProtocol,
    ) -> Result<DatagramTransport> {
        let options = UnixDatagramOptions::new();
        self.connect_unix_datagram_with(peer, UnixAddr::UNNAMED, options, protocol)
    }

    /// Connects as [`connect_unix_datagram`](Self::connect_unix_datagram) does, from the address
    /// `local`, to which the peer may answer, and with other options than the usual ones. A path is
    /// made and removed as by [`listen_unix_datagram`](Self::listen_unix_datagram); with
    /// [`UnixAddr::UNNAMED`] the socket is not bound.
    ///
    /// # Errors
    ///
    /// As [`connect_unix_datagram`](Self::connect_unix_datagram);
    /// [`Bind`](ConnectErrorKind::Bind) when `local` cannot be bound.
    pub fn connect_unix_datagram_with(
        &self,
        peer: impl Into<UnixAddr>,
        local: impl Into<UnixAddr>,
        options: UnixDatagramOptions,
        protocol: impl DatagramProtocol,
    ) -> Result<DatagramTransport> {
        let socket = connected(peer.into(), &local.into(), &options)?;
        Ok(Port::open(&self.core, socket, protocol))
    }

    /// Listens for datagrams on a UNIX socket that is open already: one of `std::os::unix::net`, one
    /// that was inherited (see [`systemd`](crate::systemd)) or received. A connected one stays so
    /// ([`DatagramTransport::peer_addr`]), one of a pair included, whose ends have no names.
    ///
    /// It is made non-blocking, which all descriptors of the same socket notice. Closing the
    /// transport closes `socket`, and nothing else: a path is left alone, as is what made it.
    ///
    /// # Errors
    ///
    /// [`Error::CannotAdopt`]: not a UNIX datagram socket
    /// ([`InvalidInput`](io::ErrorKind::InvalidInput)). The descriptor is closed.
    pub fn adopt_unix_datagram(
        &self,
        socket: impl Into<OwnedFd>,
        protocol: impl DatagramProtocol,
    ) -> Result<DatagramTransport> {
        let socket = adopted(socket.into()).map_err(cannot_adopt)?;
        Ok(Port::open(&self.core, socket, protocol))
    }
}

/// A socket that listens on `address`. Whatever fails, nothing stays behind.
fn bound(address: &UnixAddr, options: &UnixDatagramOptions) -> io::Result<Socket> {
    let mut socket = unbound(options)?;
    bind(&mut socket, address, options)?;
    Ok(socket)
}

/// A socket that is connected to `peer`, and bound to `local` if that is a name.
fn connected(
    peer: UnixAddr,
    local: &UnixAddr,
    options: &UnixDatagramOptions,
) -> Result<Socket, ConnectError> {
    let os = |source| ConnectError::with_source(ConnectErrorKind::Os, source);
    let mut socket = unbound(options).map_err(os)?;
    if !local.is_unnamed() {
        bind(&mut socket, local, options)
            .map_err(|source| ConnectError::with_source(ConnectErrorKind::Bind, source))?;
    }
    let system = peer.to_system().map_err(os)?;
    unix::connect(socket.fd.as_fd(), &system).map_err(ConnectError::from_connect)?;
    socket.peer = Some(peer.into());
    Ok(socket)
}

fn unbound(options: &UnixDatagramOptions) -> io::Result<Socket> {
    let fd = unix::datagram_socket()?;
    options.sizes.set_buffers(fd.as_fd())?;
    let local = UnixAddr::UNNAMED.into();
    Ok(Socket::new(fd, local, &options.sizes))
}

fn bind(socket: &mut Socket, to: &UnixAddr, options: &UnixDatagramOptions) -> io::Result<()> {
    let fd = socket.fd.as_fd();
    socket.place = place::bind(fd, to, options.file)?;
    socket.local = local_addr(fd)?;
    Ok(())
}

/// A socket that somebody else made, with the usual options.
fn adopted(fd: OwnedFd) -> io::Result<Socket> {
    if adopt::family_and_type(fd.as_fd())? != (Family::Unix, Kind::Datagram) {
        return Err(unfit("the socket is not a UNIX datagram socket"));
    }
    adopt::prepare(fd.as_fd())?;
    let peer = unix::peer_addr(fd.as_fd()).ok();
    let local = local_addr(fd.as_fd())?;
    let mut socket = Socket::new(fd, local, &UnixDatagramOptions::new().sizes);
    socket.peer = peer.map(|peer| UnixAddr::from_system(&peer).into());
    Ok(socket)
}

fn local_addr(fd: BorrowedFd<'_>) -> io::Result<NetAddr> {
    Ok(UnixAddr::from_system(&unix::local_addr(fd)?).into())
}
