//! Options of UDP sockets, and what their sends fail with.

use std::ffi::CString;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::net::sockopt;

/// Whether datagrams may be sent to broadcast addresses (`SO_BROADCAST`).
///
/// # Errors
///
/// What getsockopt(2) failed with.
pub fn broadcast(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(sockopt::socket_broadcast(fd)?)
}

/// Says whether datagrams may be sent to broadcast addresses (`SO_BROADCAST`).
///
/// # Errors
///
/// What setsockopt(2) failed with.
pub fn set_broadcast(fd: BorrowedFd<'_>, broadcast: bool) -> io::Result<()> {
    Ok(sockopt::set_socket_broadcast(fd, broadcast)?)
}

/// Says whether an IPv6 socket refuses IPv4 peers (`IPV6_V6ONLY`).
///
/// # Errors
///
/// What setsockopt(2) failed with: `EINVAL` for a socket that is bound.
pub fn set_v6_only(fd: BorrowedFd<'_>, only: bool) -> io::Result<()> {
    Ok(sockopt::set_ipv6_v6only(fd, only)?)
}

/// Says how much the system may hold until it is received, in bytes (`SO_RCVBUF`). Linux takes less
/// where its own limit is lower, and doubles it for its bookkeeping.
///
/// # Errors
///
/// What setsockopt(2) failed with: elsewhere than on Linux `ENOBUFS` beyond the system's limit.
pub fn set_receive_buffer_size(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    Ok(sockopt::set_socket_recv_buffer_size(fd, int(bytes))?)
}

/// Says how much the system may hold until it is sent, in bytes (`SO_SNDBUF`), as
/// [`set_receive_buffer_size`] does.
///
/// # Errors
///
/// As [`set_receive_buffer_size`].
pub fn set_send_buffer_size(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    Ok(sockopt::set_socket_send_buffer_size(fd, int(bytes))?)
}

/// How much the system may hold until it is received, in bytes (`SO_RCVBUF`). Linux answers what it
/// made of the number that it was told: twice as much.
///
/// # Errors
///
/// What getsockopt(2) failed with.
pub fn receive_buffer_size(fd: BorrowedFd<'_>) -> io::Result<usize> {
    Ok(sockopt::socket_recv_buffer_size(fd)?)
}

/// How much the system may hold until it is sent, in bytes (`SO_SNDBUF`), as
/// [`receive_buffer_size`] does.
///
/// # Errors
///
/// What getsockopt(2) failed with.
pub fn send_buffer_size(fd: BorrowedFd<'_>) -> io::Result<usize> {
    Ok(sockopt::socket_send_buffer_size(fd)?)
}

/// The option is an `int`, which the system cuts to its own limit; a number beyond it means as much
/// as there may be.
fn int(bytes: usize) -> usize {
    bytes.min(i32::MAX as usize)
}

/// Receives and sends through the network interface of this name only (Linux's `SO_BINDTODEVICE`).
///
/// # Errors
///
/// What setsockopt(2) failed with: `ENODEV` for an interface that is not there, `EPERM` without the
/// privilege that older kernels ask for. [`Unsupported`](io::ErrorKind::Unsupported) on systems
/// without the option; [`InvalidInput`](io::ErrorKind::InvalidInput) for no name.
pub fn bind_to_device(fd: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    if name.is_empty() {
        // To the system, no name undoes the binding.
        let text = "the name of a network interface is not empty";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    bind_to(fd, name)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn bind_to(fd: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    if name.len() >= libc::IFNAMSIZ {
        // The system would cut it, and find another interface.
        return Err(rustix::io::Errno::NODEV.into());
    }
    // SAFETY: the call reads the name by its length and keeps nothing of it.
    let failed = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            name.as_ptr().cast(),
            name.len() as libc::socklen_t,
        )
    };
    if failed == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn bind_to(_: BorrowedFd<'_>, _: &str) -> io::Result<()> {
    let text = "only Linux binds a socket to a network interface by its name";
    Err(io::Error::new(io::ErrorKind::Unsupported, text))
}

/// The index of the network interface of this name.
///
/// # Errors
///
/// What if_nametoindex(3) failed with: `ENODEV` or `ENXIO` when there is none;
/// [`InvalidInput`](io::ErrorKind::InvalidInput) for a name with a zero byte.
pub fn interface_index(name: &str) -> io::Result<u32> {
    let name = CString::new(name)?;
    // SAFETY: the name ends with a zero byte and lives through the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// Whether a datagram is longer than the way to its receiver carries (`EMSGSIZE`).
pub fn is_message_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMSGSIZE)
}
