//! Where a socket is.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

/// Where a socket is: this side's address, or a peer's.
///
/// Compares with a [`SocketAddr`], and is taken by what takes one to connect to, `std::net`'s
/// functions included.
///
/// # Examples
///
/// ```
/// use std::net::SocketAddr;
/// use ropewalk::NetAddr;
///
/// let address = SocketAddr::from(([127, 0, 0, 1], 80));
/// assert_eq!(NetAddr::from(address), address);
/// assert_eq!(NetAddr::from(address).to_string(), "127.0.0.1:80");
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NetAddr {
    /// On the internet: an IPv4 or IPv6 address and a port.
    Ip(SocketAddr),
}

impl NetAddr {
    /// The address and port of an internet socket.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
        }
    }
}

impl fmt::Display for NetAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
        }
    }
}

impl From<SocketAddr> for NetAddr {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl PartialEq<SocketAddr> for NetAddr {
    fn eq(&self, other: &SocketAddr) -> bool {
        self.ip().as_ref() == Some(other)
    }
}

impl ToSocketAddrs for NetAddr {
    type Iter = std::option::IntoIter<SocketAddr>;

    /// # Errors
    ///
    /// [`Unsupported`](io::ErrorKind::Unsupported) for an address that is none of the internet.
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        match self.ip() {
            Some(address) => Ok(Some(address).into_iter()),
            None => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "not an internet address",
            )),
        }
    }
}
