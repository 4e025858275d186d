//! Where a socket is.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use super::UnixAddr;

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
    /// A path, an abstract name, or no name.
    Unix(UnixAddr),
}

impl NetAddr {
    /// The address and port of an internet socket.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// The address of a UNIX socket.
    pub fn unix(&self) -> Option<&UnixAddr> {
        match self {
            Self::Ip(_) => None,
            Self::Unix(address) => Some(address),
        }
    }
}

impl fmt::Display for NetAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(address) => address.fmt(f),
        }
    }
}

impl From<SocketAddr> for NetAddr {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl From<UnixAddr> for NetAddr {
    fn from(address: UnixAddr) -> Self {
        Self::Unix(address)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_says_what_it_is() {
        let ip = NetAddr::from(SocketAddr::from(([127, 0, 0, 1], 80)));
        let unix = NetAddr::from(UnixAddr::from("/run/hello"));
        assert_eq!((ip.unix(), unix.ip()), (None, None));
        assert_eq!(unix.unix(), Some(&UnixAddr::from("/run/hello")));
        assert_eq!(unix.to_string(), "/run/hello");
        assert_eq!(ip.to_socket_addrs().map(Iterator::count).ok(), Some(1));
        let refused = unix.to_socket_addrs().err().map(|error| error.kind());
        assert_eq!(refused, Some(io::ErrorKind::Unsupported));
    }

    #[test]
    fn an_address_is_no_larger_than_an_internet_one() {
        assert_eq!(size_of::<NetAddr>(), size_of::<SocketAddr>());
    }
}
