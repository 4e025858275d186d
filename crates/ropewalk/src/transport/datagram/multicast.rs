//! Groups.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use ropewalk_os::socket;
use ropewalk_os::socket::multicast::{self, InterfaceV4};

use super::DatagramTransport;

/// A network interface, as multicast names it.
///
/// # Examples
///
/// ```
/// use std::net::Ipv4Addr;
/// use ropewalk::Interface;
///
/// assert_eq!(Interface::from(Ipv4Addr::LOCALHOST), Interface::Address(Ipv4Addr::LOCALHOST));
/// assert!(Interface::named("nosuchdevice").is_err());
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Interface {
    /// The one that the system's routes choose.
    #[default]
    Any,
    /// The one with this address; for IPv4 sockets.
    Address(Ipv4Addr),
    /// The one with this index, from 1 on.
    Index(u32),
}

impl Interface {
    /// The interface of this name, such as `eth0`.
    ///
    /// # Errors
    ///
    /// What if_nametoindex(3) failed with: `ENODEV` or `ENXIO` when there is none.
    pub fn named(name: &str) -> io::Result<Self> {
        socket::interface_index(name).map(Self::Index)
    }

    fn v4(self) -> InterfaceV4 {
        match self {
            Self::Any => InterfaceV4::Address(Ipv4Addr::UNSPECIFIED),
            Self::Address(address) => InterfaceV4::Address(address),
            Self::Index(index) => InterfaceV4::Index(index),
        }
    }

    fn v6(self) -> io::Result<u32> {
        match self {
            Self::Any => Ok(0),
            Self::Index(index) => Ok(index),
            Self::Address(_) => Err(misfit(
                "an IPv6 socket names interfaces by index, not by address",
            )),
        }
    }
}

impl From<Ipv4Addr> for Interface {
    fn from(address: Ipv4Addr) -> Self {
        Self::Address(address)
    }
}

/// Multicast. The changes are made at once. On a closed transport all fail with
/// [`NotConnected`](io::ErrorKind::NotConnected), on a UNIX one with
/// [`InvalidInput`](io::ErrorKind::InvalidInput).
impl DatagramTransport {
    /// Joins a group: what is sent to it and comes over `interface` is received from now on, if it
    /// is sent to the port of this socket. The socket leaves its groups when it is closed. For
    /// several sockets on one port see [`UdpOptions::reuse_port`](super::UdpOptions::reuse_port).
    ///
    /// On Linux a socket that is bound to the wildcard address also receives what is sent to groups
    /// that others on this host have joined.
    ///
    /// # Errors
    ///
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): no group's address, or of another family
    ///   than the socket.
    /// - [`AddrInUse`](io::ErrorKind::AddrInUse): joined already.
    /// - `ENODEV`, or what the system says instead: no such interface.
    pub fn join_group(&self, group: IpAddr, interface: impl Into<Interface>) -> io::Result<()> {
        let interface = interface.into();
        match self.groups(group)? {
            IpAddr::V4(group) => {
                self.with_fd(|fd| multicast::join_v4(fd, group, interface.v4()))?
            }
            IpAddr::V6(group) => {
                let index = interface.v6()?;
                self.with_fd(|fd| multicast::join_v6(fd, group, index))?
            }
        }
    }

    /// Leaves a group, by the interface that it was joined on.
    ///
    /// # Errors
    ///
    /// As [`join_group`](Self::join_group);
    /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable): not joined.
    pub fn leave_group(&self, group: IpAddr, interface: impl Into<Interface>) -> io::Result<()> {
        let interface = interface.into();
        match self.groups(group)? {
            IpAddr::V4(group) => {
                self.with_fd(|fd| multicast::leave_v4(fd, group, interface.v4()))?
            }
            IpAddr::V6(group) => {
                let index = interface.v6()?;
                self.with_fd(|fd| multicast::leave_v6(fd, group, index))?
            }
        }
    }

    /// How far datagrams to groups go, in routers to pass and one: 1, the local network, unless
    /// set. IPv4 calls it the TTL.
    ///
    /// # Errors
    ///
    /// What getsockopt(2) failed with.
    pub fn multicast_hops(&self) -> io::Result<u8> {
        match self.is_ipv4()? {
            true => self.with_fd(multicast::ttl_v4)?,
            false => self.with_fd(multicast::hops_v6)?,
        }
    }

    /// Says how far datagrams to groups go; 0 stays on this host.
    ///
    /// # Errors
    ///
    /// What setsockopt(2) failed with.
    pub fn set_multicast_hops(&self, hops: u8) -> io::Result<()> {
        match self.is_ipv4()? {
            true => self.with_fd(|fd| multicast::set_ttl_v4(fd, hops))?,
            false => self.with_fd(|fd| multicast::set_hops_v6(fd, hops))?,
        }
    }

    /// Whether this host's members of a group, this socket included, receive what it sends to the
    /// group. They do unless it was changed.
    ///
    /// # Errors
    ///
    /// What getsockopt(2) failed with.
    pub fn multicast_loop(&self) -> io::Result<bool> {
        match self.is_ipv4()? {
            true => self.with_fd(multicast::loop_v4)?,
            false => self.with_fd(multicast::loop_v6)?,
        }
    }

    /// Says whether this host's members of a group receive what this socket sends to it.
    ///
    /// # Errors
    ///
    /// What setsockopt(2) failed with.
    pub fn set_multicast_loop(&self, looped: bool) -> io::Result<()> {
        match self.is_ipv4()? {
            true => self.with_fd(|fd| multicast::set_loop_v4(fd, looped))?,
            false => self.with_fd(|fd| multicast::set_loop_v6(fd, looped))?,
        }
    }

    /// The interface that datagrams to groups leave by: an IPv4 socket tells it by address, and not
    /// at all if it was set by index.
    ///
    /// # Errors
    ///
    /// What getsockopt(2) failed with.
    pub fn multicast_interface(&self) -> io::Result<Interface> {
        if self.is_ipv4()? {
            let address = self.with_fd(multicast::interface_v4)??;
            let any = address.is_unspecified();
            return Ok(if any { Interface::Any } else { address.into() });
        }
        let index = self.with_fd(multicast::interface_v6)??;
        Ok(if index == 0 {
            Interface::Any
        } else {
            Interface::Index(index)
        })
    }

    /// Says which interface datagrams to groups leave by.
    ///
    /// # Errors
    ///
    /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable), `ENODEV`, or what the system says
    /// instead: no such interface.
    pub fn set_multicast_interface(&self, interface: impl Into<Interface>) -> io::Result<()> {
        let interface = interface.into();
        if self.is_ipv4()? {
            return self.with_fd(|fd| multicast::set_interface_v4(fd, interface.v4()))?;
        }
        let index = interface.v6()?;
        self.with_fd(|fd| multicast::set_interface_v6(fd, index))?
    }

    fn is_ipv4(&self) -> io::Result<bool> {
        let local = self.local_addr().ip();
        let family = local.map(|local| local.is_ipv4());
        family.ok_or_else(|| misfit("UNIX sockets have no groups"))
    }

    /// `group`, if this socket can be in it.
    fn groups(&self, group: IpAddr) -> io::Result<IpAddr> {
        if !group.is_multicast() {
            return Err(misfit("not the address of a group"));
        }
        if group.is_ipv4() != self.is_ipv4()? {
            return Err(misfit("a group of another family than the socket"));
        }
        Ok(group)
    }
}

fn misfit(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
