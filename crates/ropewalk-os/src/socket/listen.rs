//! Listening sockets and what accept(2) may answer.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{bind, fresh, set_reuse_address, set_reuse_port, stream_socket};

/// How to listen.
#[derive(Clone, Copy, Debug)]
pub struct ListenOptions {
    /// How many connections may wait to be accepted.
    pub backlog: i32,
    /// `SO_REUSEADDR`: bind although old connections of the port linger.
    pub reuse_address: bool,
    /// `SO_REUSEPORT`: share the port with other sockets that say so too.
    pub reuse_port: bool,
    /// `IPV6_V6ONLY`, where the system's default is not wanted.
    pub v6_only: Option<bool>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            backlog: 50,
            reuse_address: true,
            reuse_port: false,
            v6_only: None,
        }
    }
}

/// Makes a socket that listens on `address`.
///
/// # Errors
///
/// What socket(2), [bind(2)](https://man7.org/linux/man-pages/man2/bind.2.html) or listen(2)
/// failed with: `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES`, `EMFILE`, …
pub fn listen(address: SocketAddr, options: &ListenOptions) -> io::Result<OwnedFd> {
    let fd = stream_socket(address)?;
    if options.reuse_address {
        set_reuse_address(fd.as_fd(), true)?;
    }
    if options.reuse_port {
        set_reuse_port(fd.as_fd(), true)?;
    }
    if let (true, Some(only)) = (address.is_ipv6(), options.v6_only) {
        rustix::net::sockopt::set_ipv6_v6only(&fd, only)?;
    }
    bind(fd.as_fd(), address)?;
    rustix::net::listen(&fd, options.backlog)?;
    Ok(fd)
}

/// Accepts one connection.
///
/// # Errors
///
/// [`WouldBlock`](io::ErrorKind::WouldBlock) when none waits; see [`accept_error`] for the others.
pub fn accept(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
    let (connection, peer) = fresh::accept(fd)?;
    // A listening socket of another family has no business here.
    let unfit = |_| io::Error::new(io::ErrorKind::Unsupported, "not an internet address");
    Ok((connection, peer.try_into().map_err(unfit)?))
}

/// What a failed [`accept`] means for the accept loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptError {
    /// Nobody waits: the round is over.
    Drained,
    /// This one connection is gone; the next may be fine.
    Skip,
    /// The process has no descriptor left: shed connections with the reserve.
    NoDescriptor,
    /// The system refuses for now, or for good: log it and end the round.
    Refused,
}

/// Sorts the errors of accept(2).
///
/// # References
///
/// [accept(2)](https://man7.org/linux/man-pages/man2/accept.2.html), "Error handling": pending
/// network errors of a connection are given to accept, and to be treated like `EAGAIN`.
pub fn accept_error(error: &io::Error) -> AcceptError {
    match error.raw_os_error() {
        Some(libc::EAGAIN) => AcceptError::Drained,
        Some(
            libc::EPERM
            | libc::ECONNABORTED
            | libc::ENETDOWN
            | libc::EPROTO
            | libc::ENOPROTOOPT
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH,
        ) => AcceptError::Skip,
        #[cfg(any(target_os = "linux", target_os = "android"))]
        Some(libc::ENONET) => AcceptError::Skip,
        Some(libc::EMFILE) => AcceptError::NoDescriptor,
        _ => AcceptError::Refused,
    }
}
