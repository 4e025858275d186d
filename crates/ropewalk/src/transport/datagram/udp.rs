//! Making UDP sockets.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use ropewalk_os::socket::adopt::{self, Family, Kind};
use ropewalk_os::socket::{self, datagram};

use super::port::{Port, Socket};
use super::{DatagramProtocol, DatagramTransport, UdpOptions};
use crate::error::{Error, Result};
use crate::reactor::Reactor;
use crate::transport::adopt::{cannot_adopt, unfit};
use crate::transport::{Address, NetAddr};

/// UDP.
impl Reactor {
    /// Listens for datagrams on `address`, a literal one (`"127.0.0.1:5353"`, `"[::]:0"`); with port
    /// 0 the system chooses. The protocol hears of every datagram, from the next turn on. To send,
    /// or to talk to one peer, listen on port 0 and [connect](DatagramTransport::connect).
    ///
    /// # Errors
    ///
    /// - [`Error::InvalidAddress`]: not a socket address. Host names are not resolved here.
    /// - [`Error::CannotListen`]: the system refused, for example because the address is in use or
    ///   no descriptor is left.
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
    /// let port = reactor.listen_udp("127.0.0.1:0", Echo)?;
    /// println!("listening on {}", port.local_addr());
    /// # Ok(())
    /// # }
    /// ```
    pub fn listen_udp(
        &self,
        address: impl Into<Address>,
        protocol: impl DatagramProtocol,
    ) -> Result<DatagramTransport> {
        self.listen_udp_with(address, UdpOptions::new(), protocol)
    }

    /// Listens as [`listen_udp`](Self::listen_udp) does, with other options than the usual ones.
    ///
    /// # Errors
    ///
    /// As [`listen_udp`](Self::listen_udp).
    pub fn listen_udp_with(
        &self,
        address: impl Into<Address>,
        options: UdpOptions,
        protocol: impl DatagramProtocol,
    ) -> Result<DatagramTransport> {
        let addr = address.into().literal()?;
        let socket = bound(addr, &options).map_err(|source| Error::CannotListen {
            addr: addr.into(),
            source,
        })?;
        Ok(Port::open(&self.core, socket, protocol))
    }

    /// Listens for datagrams on a UDP socket that is open already: one of `std::net`, one that was
    /// inherited (see [`systemd`](crate::systemd)) or received. A connected one stays so
    /// ([`DatagramTransport::peer_addr`]).
    ///
    /// It is made non-blocking, which all descriptors of the same socket notice. Closing the
    /// transport closes `socket`, and nothing else: where a duplicate lives on, datagrams arrive.
    ///
    /// # Errors
    ///
    /// [`Error::CannotAdopt`]: not a UDP socket ([`InvalidInput`](io::ErrorKind::InvalidInput)).
    /// The descriptor is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::net::UdpSocket;
    /// use ropewalk::{DatagramProtocol, DatagramTransport, NetAddr, Reactor};
    ///
    /// struct Sink;
    ///
    /// impl DatagramProtocol for Sink {
    ///     fn datagram_received(&mut self, _: &DatagramTransport, _: &[u8], _: NetAddr) {}
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = Reactor::new()?;
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// let address = socket.local_addr()?;
    /// assert_eq!(reactor.adopt_udp(socket, Sink)?.local_addr(), address);
    /// # Ok(())
    /// # }
    /// ```
    pub fn adopt_udp(
        &self,
        socket: impl Into<OwnedFd>,
        protocol: impl DatagramProtocol,
    ) -> Result<DatagramTransport> {
        let socket = adopted(socket.into()).map_err(cannot_adopt)?;
        Ok(Port::open(&self.core, socket, protocol))
    }
}

/// A socket that somebody else made, with the usual options.
fn adopted(fd: OwnedFd) -> io::Result<Socket> {
    let (family, kind) = adopt::family_and_type(fd.as_fd())?;
    if kind != Kind::Datagram || !matches!(family, Family::Inet | Family::Inet6) {
        return Err(unfit("the socket is not a UDP socket"));
    }
    adopt::prepare(fd.as_fd())?;
    let peer = socket::peer_addr(fd.as_fd()).ok();
    let mut socket = named(fd, &UdpOptions::new())?;
    socket.peer = peer.map(NetAddr::from);
    Ok(socket)
}

/// A socket with its options, bound to `addr`.
fn bound(addr: SocketAddr, options: &UdpOptions) -> io::Result<Socket> {
    let owned = datagram::socket(addr)?;
    let fd = owned.as_fd();
    if options.reuse_address {
        socket::set_reuse_address(fd, true)?;
    }
    if options.reuse_port {
        socket::set_reuse_port(fd, true)?;
    }
    if options.broadcast {
        socket::set_broadcast(fd, true)?;
    }
    if let (true, Some(only)) = (addr.is_ipv6(), options.v6_only) {
        socket::set_v6_only(fd, only)?;
    }
    options.sizes.set_buffers(fd)?;
    if let Some(device) = &options.device {
        socket::bind_to_device(fd, device)?;
    }
    socket::bind(fd, addr)?;
    named(owned, options)
}

/// The socket behind `fd`, which has its address.
fn named(fd: OwnedFd, options: &UdpOptions) -> io::Result<Socket> {
    let local = socket::local_addr(fd.as_fd())?;
    let mut socket = Socket::new(fd, local.into(), &options.sizes);
    socket.longest = socket.longest.min(longest(local));
    Ok(socket)
}

/// The longest datagram of the address's family: the length fields count headers too.
fn longest(local: SocketAddr) -> usize {
    if local.is_ipv4() {
        UdpOptions::MAX_IPV4
    } else {
        UdpOptions::MAX_IPV6
    }
}
