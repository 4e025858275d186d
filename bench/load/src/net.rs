//! Sockets of the client.

use std::net::{AddrParseError, Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::str::FromStr;

use rustix::io::ioctl_fionbio;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind,
    connect as connect_socket, recv, send, socket_with, sockopt,
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
    Udp(SocketAddrV4),
    Unix(PathBuf),
}

impl FromStr for Server {
    type Err = AddrParseError;

    fn from_str(text: &str) -> std::result::Result<Self, AddrParseError> {
        match text.split_once(':') {
            Some(("udp", address)) => Ok(Self::Udp(address.parse()?)),
            Some(("unix", path)) => Ok(Self::Unix(path.into())),
            _ => Ok(Self::Tcp(text.parse()?)),
        }
    }
}

/// A connected, blocking socket; `number` chooses the source address.
pub(crate) fn connect(server: &Server, number: usize) -> Result<OwnedFd> {
    let (family, kind) = match server {
        Server::Tcp(_) => (AddressFamily::INET, SocketType::STREAM),
        Server::Udp(_) => (AddressFamily::INET, SocketType::DGRAM),
        Server::Unix(_) => (AddressFamily::UNIX, SocketType::STREAM),
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    match server {
        Server::Unix(path) => connect_socket(&socket, &SocketAddrUnix::new(path)?)?,
        Server::Udp(address) => connect_socket(&socket, address)?,
        Server::Tcp(address) => {
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

/// Opens `count` connections, and sees an echo from every 500th and the last: the server has
/// accepted all before it then, and its queue of connections never overflows.
pub(crate) fn hold(server: &Server, count: usize) -> Result<Vec<OwnedFd>> {
    let mut held = Vec::with_capacity(count);
    for number in 0..count {
        let socket = connect(server, number)?;
        if number % 500 == 499 || number + 1 == count {
            let mut answer = [0];
            send(&socket, b"?", SendFlags::NOSIGNAL)?;
            if recv(&socket, &mut answer, RecvFlags::empty())?.0 != 1 || answer != *b"?" {
                return Err("the server does not echo".into());
            }
        }
        held.push(socket);
    }
    Ok(held)
}
