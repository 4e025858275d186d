//! Socket options and addresses.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::net::sockopt;

/// Takes the error that waits in a socket, so that it waits no longer.
///
/// # Errors
///
/// What getsockopt(2) failed with.
pub fn take_error(fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
    Ok(sockopt::socket_error(fd)?.err().map(io::Error::from))
}

/// Has the next close reset the connection instead of ending it.
///
/// # Errors
///
/// What setsockopt(2) failed with.
pub fn set_linger_zero(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(sockopt::set_socket_linger(fd, Some(Duration::ZERO))?)
}

/// The local address; the IPv6 scope is kept.
///
/// # Errors
///
/// What getsockname(2) failed with; [`Unsupported`](io::ErrorKind::Unsupported) for a socket that
/// is not an internet one.
pub fn local_addr(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    rustix::net::getsockname(fd)?
        .try_into()
        .map_err(|_| not_internet())
}

/// The peer's address; the IPv6 scope is kept.
///
/// # Errors
///
/// As [`local_addr`]; `ENOTCONN` when there is no connection.
pub fn peer_addr(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let peer = rustix::net::getpeername(fd)?;
    let Some(peer) = peer else {
        return Err(io::ErrorKind::NotConnected.into());
    };
    peer.try_into().map_err(|_| not_internet())
}

fn not_internet() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "not an internet socket")
}

/// Whether small writes leave at once (`TCP_NODELAY`).
///
/// # Errors
///
/// What getsockopt(2) failed with.
pub fn nodelay(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(sockopt::tcp_nodelay(fd)?)
}

/// Says whether small writes leave at once (`TCP_NODELAY`).
///
/// # Errors
///
/// What setsockopt(2) failed with.
pub fn set_nodelay(fd: BorrowedFd<'_>, nodelay: bool) -> io::Result<()> {
    Ok(sockopt::set_tcp_nodelay(fd, nodelay)?)
}

/// Whether an idle connection is probed (`SO_KEEPALIVE`).
///
/// # Errors
///
/// What getsockopt(2) failed with.
pub fn keepalive(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(sockopt::socket_keepalive(fd)?)
}

/// Says whether an idle connection is probed (`SO_KEEPALIVE`).
///
/// # Errors
///
/// What setsockopt(2) failed with.
pub fn set_keepalive(fd: BorrowedFd<'_>, keepalive: bool) -> io::Result<()> {
    Ok(sockopt::set_socket_keepalive(fd, keepalive)?)
}

/// Whether the port may be bound while old connections of it linger (`SO_REUSEADDR`).
///
/// # Errors
///
/// What getsockopt(2) failed with.
pub fn reuse_address(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(sockopt::socket_reuseaddr(fd)?)
}

/// Says whether the port may be bound while old connections of it linger (`SO_REUSEADDR`).
///
/// # Errors
///
/// What setsockopt(2) failed with.
pub fn set_reuse_address(fd: BorrowedFd<'_>, reuse: bool) -> io::Result<()> {
    Ok(sockopt::set_socket_reuseaddr(fd, reuse)?)
}

/// Whether other sockets may share the port (`SO_REUSEPORT`).
///
/// # Errors
///
/// What getsockopt(2) failed with.
pub fn reuse_port(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(sockopt::socket_reuseport(fd)?)
}

/// Says whether other sockets may share the port (`SO_REUSEPORT`).
///
/// # Errors
///
/// What setsockopt(2) failed with.
pub fn set_reuse_port(fd: BorrowedFd<'_>, reuse: bool) -> io::Result<()> {
    Ok(sockopt::set_socket_reuseport(fd, reuse)?)
}
