//! Sockets of the client.

use std::net::{AddrParseError, Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::str::FromStr;

use rustix::io::ioctl_fionbio;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect as connect_socket,
    socket_with, sockopt,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Result;

/// Source addresses used in turn: a port that waits after a close (TIME_WAIT) is busy for a minute,
/// and one address has about 28,000 of them.
const SOURCES: usize = 100;

/// Raises the limit of open files to what is allowed.
pub(crate) fn allow_many_files() -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )?;
    Ok(())
}

/// Where the server is, and what speaks to it.
pub(crate) enum Server {
    Tcp(SocketAddrV4),
    Tls(SocketAddrV4),
    Udp(SocketAddrV4),
    Unix(PathBuf),
}

impl FromStr for Server {
    type Err = AddrParseError;

    fn from_str(text: &str) -> std::result::Result<Self, AddrParseError> {
        match text.split_once(':') {
            Some(("tls", address)) => Ok(Self::Tls(address.parse()?)),
            Some(("udp", address)) => Ok(Self::Udp(address.parse()?)),
            Some(("unix", path)) => Ok(Self::Unix(path.into())),
            _ => Ok(Self::Tcp(text.parse()?)),
        }
    }
}

/// A connected, blocking socket; `number` chooses the source address.
pub(crate) fn connect(server: &Server, number: usize) -> Result<OwnedFd> {
    let (family, kind) = match server {
        Server::Tcp(_) | Server::Tls(_) => (AddressFamily::INET, SocketType::STREAM),
        Server::Udp(_) => (AddressFamily::INET, SocketType::DGRAM),
        Server::Unix(_) => (AddressFamily::UNIX, SocketType::STREAM),
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    match server {
        Server::Unix(path) => connect_socket(&socket, &SocketAddrUnix::new(path)?)?,
        Server::Udp(address) => connect_socket(&socket, address)?,
        Server::Tcp(address) | Server::Tls(address) => {
            if address.ip().is_loopback() {
                let last = 2 + u8::try_from(number % SOURCES)?;
                bind(
                    &socket,
                    &SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, last), 0),
                )?;
            }
            connect_socket(&socket, address)?;
            sockopt::set_tcp_nodelay(&socket, true)?;
        }
    }
    Ok(socket)
}

pub(crate) fn set_nonblocking(socket: &OwnedFd) -> Result<()> {
    Ok(ioctl_fionbio(socket, true)?)
}
