//! Sockets that others made: what they are, and descriptors of one's own for them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{SocketType, sockopt};

use super::address::RawAddress;
use super::fresh;

/// The kind of addresses that a socket has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Family {
    /// IPv4.
    Inet,
    /// IPv6.
    Inet6,
    /// UNIX sockets.
    Unix,
    /// Another, by the system's number.
    Other(i32),
}

/// What a socket carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A connection, or one who listens for them.
    Stream,
    /// Datagrams.
    Datagram,
    /// Another, by the system's number.
    Other(i32),
}

/// Asks what a socket is.
///
/// # Errors
///
/// `EBADF` when nothing is open under the number, `ENOTSOCK` when something else is.
pub fn family_and_type(fd: BorrowedFd<'_>) -> io::Result<(Family, Kind)> {
    let kind = match sockopt::socket_type(fd)? {
        SocketType::STREAM => Kind::Stream,
        SocketType::DGRAM => Kind::Datagram,
        other => Kind::Other(other.as_raw() as i32),
    };
    // Not every system has SO_DOMAIN.
    let family = match RawAddress::asked(fd, libc::getsockname)?.family() {
        libc::AF_INET => Family::Inet,
        libc::AF_INET6 => Family::Inet6,
        libc::AF_UNIX => Family::Unix,
        other => Family::Other(other),
    };
    Ok((family, kind))
}

/// Whether a stream socket listens (`SO_ACCEPTCONN`).
///
/// # Errors
///
/// As [`family_and_type`].
pub fn is_listening(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let (mut answer, mut length) = (0_i32, size_of::<i32>() as libc::socklen_t);
    // SAFETY: the call writes at most `length` bytes, into `answer`.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ACCEPTCONN,
            std::ptr::from_mut(&mut answer).cast(),
            &mut length,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(answer != 0)
}

/// A second descriptor for a socket: close-on-exec, and the first stays its owner's to close.
/// Closing one ends nothing while the other is open.
///
/// The socket does not block from now on, neither by the one nor by the other, for that is the
/// socket's and not the descriptor's.
///
/// # Errors
///
/// `EBADF` when nothing is open under the number; `EMFILE`.
pub fn duplicate(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // Not over the standard streams, should one of them be closed.
    let own = rustix::io::fcntl_dupfd_cloexec(fd, 3)?;
    prepare(own.as_fd())?;
    Ok(own)
}

/// Makes a socket as those made here are: non-blocking, close-on-exec, and silent when the peer is
/// gone.
///
/// # Errors
///
/// What fcntl(2), ioctl(2) or setsockopt(2) failed with.
pub fn prepare(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(fresh::prepare(fd)?)
}
