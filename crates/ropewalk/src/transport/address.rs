//! Where to listen or connect to: a socket address, or a host name and a port.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::{NetAddr, UnixAddr};
use crate::error::{Error, Result};

/// A socket address, or a host name to be resolved and a port.
///
/// Whatever takes an address takes `impl Into<Address>`: text (`"127.0.0.1:80"`, `"[::1]:80"`,
/// `"example.org:80"`), a pair of host and port, a [`SocketAddr`]. Text that is no address is told
/// apart when it is used.
///
/// # Examples
///
/// ```
/// use ropewalk::Address;
///
/// assert_eq!(Address::from(("::1", 80)).to_string(), "[::1]:80");
/// assert_eq!(Address::from("example.org:80"), Address::from(("example.org", 80)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Socket(SocketAddr),
    Name { host: String, port: u16 },
    Unix(UnixAddr),
    Invalid(String),
}

/// What an [`Address`] means.
pub(crate) enum Target {
    Socket(SocketAddr),
    Name { host: String, port: u16 },
    Unix(UnixAddr),
}

impl Address {
    /// The socket address, if it needs no resolver.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self.kind {
            Kind::Socket(address) => Some(address),
            _ => None,
        }
    }

    /// # Errors
    ///
    /// [`Error::InvalidAddress`] for text that is no address.
    pub(crate) fn target(&self) -> Result<Target> {
        match &self.kind {
            Kind::Socket(address) => Ok(Target::Socket(*address)),
            Kind::Name { host, port } => Ok(Target::Name {
                host: host.clone(),
                port: *port,
            }),
            Kind::Unix(address) => Ok(Target::Unix(address.clone())),
            Kind::Invalid(text) => Err(Error::InvalidAddress { text: text.clone() }),
        }
    }

    /// # Errors
    ///
    /// [`Error::InvalidAddress`] for anything but a socket address.
    pub(crate) fn literal(&self) -> Result<SocketAddr> {
        self.socket_addr().ok_or_else(|| Error::InvalidAddress {
            text: self.to_string(),
        })
    }

    /// The host, as a certificate would be for it.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidAddress`] for text that is no address.
    #[cfg(feature = "tls")]
    pub(crate) fn host(&self) -> Result<String> {
        match self.target()? {
            Target::Socket(address) => Ok(address.ip().to_string()),
            Target::Name { host, .. } => Ok(host),
            Target::Unix(address) => Err(Error::InvalidAddress {
                text: address.to_string(),
            }),
        }
    }

    /// For a connector over UNIX sockets: no `Address` of a program becomes this.
    pub(super) fn unix(address: UnixAddr) -> Self {
        Self {
            kind: Kind::Unix(address),
        }
    }

    fn parse(text: &str) -> Self {
        if let Ok(address) = text.parse() {
            return Self {
                kind: Kind::Socket(address),
            };
        }
        let kind = match split(text) {
            Some((host, port)) => Kind::Name {
                host: host.to_owned(),
                port,
            },
            None => Kind::Invalid(text.to_owned()),
        };
        Self { kind }
    }

    fn from_host(host: &str, port: u16) -> Self {
        let literal = host.parse::<IpAddr>().ok();
        let kind = match literal {
            Some(ip) => Kind::Socket(SocketAddr::new(ip, port)),
            None => Kind::Name {
                host: host.to_owned(),
                port,
            },
        };
        Self { kind }
    }
}

/// Host and port. A host with colons is an IPv6 address that names its scope, in brackets; the
/// resolver knows interfaces by name.
fn split(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let fits = bare.map_or(!host.contains(':'), |bare| bare.contains('%'));
    let host = bare.unwrap_or(host);
    (fits && !host.is_empty()).then_some((host, port.parse().ok()?))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Socket(address) => address.fmt(f),
            Kind::Name { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Kind::Name { host, port } => write!(f, "{host}:{port}"),
            Kind::Unix(address) => address.fmt(f),
            Kind::Invalid(text) => f.write_str(text),
        }
    }
}

impl From<&str> for Address {
    fn from(text: &str) -> Self {
        Self::parse(text)
    }
}

impl From<&String> for Address {
    fn from(text: &String) -> Self {
        Self::parse(text)
    }
}

impl From<String> for Address {
    fn from(text: String) -> Self {
        Self::parse(&text)
    }
}

impl From<(&str, u16)> for Address {
    fn from((host, port): (&str, u16)) -> Self {
        Self::from_host(host, port)
    }
}

impl From<(String, u16)> for Address {
    fn from((host, port): (String, u16)) -> Self {
        Self::from_host(&host, port)
    }
}

impl From<(IpAddr, u16)> for Address {
    fn from((ip, port): (IpAddr, u16)) -> Self {
        SocketAddr::new(ip, port).into()
    }
}

impl From<(Ipv4Addr, u16)> for Address {
    fn from((ip, port): (Ipv4Addr, u16)) -> Self {
        SocketAddr::new(ip.into(), port).into()
    }
}

impl From<(Ipv6Addr, u16)> for Address {
    fn from((ip, port): (Ipv6Addr, u16)) -> Self {
        SocketAddr::new(ip.into(), port).into()
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self {
            kind: Kind::Socket(address),
        }
    }
}

impl From<SocketAddrV4> for Address {
    fn from(address: SocketAddrV4) -> Self {
        SocketAddr::from(address).into()
    }
}

impl From<SocketAddrV6> for Address {
    fn from(address: SocketAddrV6) -> Self {
        SocketAddr::from(address).into()
    }
}

impl From<NetAddr> for Address {
    /// One that is none of the internet is told apart when it is used, as text is.
    fn from(address: NetAddr) -> Self {
        match address.ip() {
            Some(address) => address.into(),
            None => Self {
                kind: Kind::Invalid(address.to_string()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_need_no_resolver() {
        for text in ["127.0.0.1:80", "[::1]:80", "[fe80::1%2]:80"] {
            assert_eq!(Address::from(text).to_string(), text);
            assert!(Address::from(text).literal().is_ok(), "{text}");
        }
    }

    #[test]
    fn names_are_left_to_the_resolver() {
        let address = Address::from("example.org:80");
        assert!(
            matches!(address.target(), Ok(Target::Name { host, port: 80 }) if host == "example.org")
        );
        assert!(matches!(
            address.literal(),
            Err(Error::InvalidAddress { .. })
        ));
    }

    #[test]
    fn an_interface_in_an_address_is_left_to_the_resolver() {
        let address = Address::from("[fe80::1%eth0]:80");
        assert!(
            matches!(address.target(), Ok(Target::Name { host, .. }) if host == "fe80::1%eth0")
        );
        assert_eq!(address.to_string(), "[fe80::1%eth0]:80");
    }

    #[test]
    fn text_that_is_no_address_is_told_when_it_is_used() {
        for text in [
            "",
            "host",
            ":80",
            "host:",
            "host:port",
            "host:65536",
            "::1:80:",
            "::1",
        ] {
            let refused = Address::from(text).target().err();
            let expected = format!("{text:?} is not an address; expected host:port");
            assert_eq!(refused.map(|error| error.to_string()), Some(expected));
        }
    }
}
