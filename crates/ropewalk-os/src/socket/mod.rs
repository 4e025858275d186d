//! Sockets: thin functions over the system's, with `errno` intact.
//!
//! Everything made here is non-blocking and close-on-exec, and no send raises `SIGPIPE`.

mod address;
pub mod adopt;
pub mod datagram;
mod descriptors;
mod fresh;
mod listen;
pub mod multicast;
mod options;
mod reserve;
mod udp;
pub mod unix;

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use fresh::NO_SIGNAL;
use rustix::net::AddressFamily;

pub use address::{Address, UnixAddr};
pub use listen::{AcceptError, ListenOptions, accept, accept_error, listen};
pub use options::{
    keepalive, local_addr, nodelay, peer_addr, reuse_address, reuse_port, set_keepalive,
    set_linger_zero, set_nodelay, set_reuse_address, set_reuse_port, take_error,
};
pub use reserve::FdReserve;
pub use udp::{
    bind_to_device, broadcast, interface_index, is_message_too_long, receive_buffer_size,
    send_buffer_size, set_broadcast, set_receive_buffer_size, set_send_buffer_size, set_v6_only,
};

/// How a connect began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectStart {
    /// It is over already.
    Connected,
    /// It goes on: the socket becomes writable when it is over, and [`take_error`] tells how.
    InProgress,
}

/// Makes a stream socket of the address's family.
///
/// # Errors
///
/// What [socket(2)](https://man7.org/linux/man-pages/man2/socket.2.html) failed with, `EMFILE`
/// mostly.
pub fn stream_socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    Ok(fresh::stream(family)?)
}

/// Binds a socket to a local address.
///
/// # Errors
///
/// What [bind(2)](https://man7.org/linux/man-pages/man2/bind.2.html) failed with: `EADDRINUSE`,
/// `EADDRNOTAVAIL`, `EACCES`, …
pub fn bind(fd: BorrowedFd<'_>, address: SocketAddr) -> io::Result<()> {
    Ok(rustix::net::bind(fd, &address)?)
}

/// Begins to connect.
///
/// # Errors
///
/// What [connect(2)](https://man7.org/linux/man-pages/man2/connect.2.html) failed with at once.
pub fn connect(fd: BorrowedFd<'_>, address: SocketAddr) -> io::Result<ConnectStart> {
    use rustix::io::Errno;
    match rustix::net::connect(fd, &address) {
        Ok(()) | Err(Errno::ISCONN) => Ok(ConnectStart::Connected),
        // An interrupted connect goes on in the background, as a non-blocking one does.
        Err(Errno::INPROGRESS | Errno::ALREADY | Errno::INTR) => Ok(ConnectStart::InProgress),
        Err(error) => Err(error.into()),
    }
}

/// Receives into `buffer`: 0 at the end of the stream.
///
/// # Errors
///
/// [`WouldBlock`](io::ErrorKind::WouldBlock) when nothing waits; `ECONNRESET` and the like when
/// the connection is lost.
pub fn recv(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let room = buffer.len();
    retry(|| {
        // SAFETY: the call writes at most `room` bytes into the buffer.
        unsafe { libc::recv(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), room, 0) }
    })
}

/// Whether received data waits to be read. It may, although a send just failed: the peer sent it
/// before it broke off.
pub fn has_input(fd: BorrowedFd<'_>) -> bool {
    let mut byte = 0_u8;
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: the call writes at most one byte, into `byte`.
    let peek = || unsafe {
        libc::recv(
            fd.as_raw_fd(),
            std::ptr::from_mut(&mut byte).cast(),
            1,
            flags,
        )
    };
    matches!(retry(peek), Ok(1))
}

/// Sends what the system takes of `data`.
///
/// # Errors
///
/// [`WouldBlock`](io::ErrorKind::WouldBlock) when it takes nothing now; `EPIPE`, `ECONNRESET` and
/// the like when the connection is lost.
pub fn send(fd: BorrowedFd<'_>, data: &[u8]) -> io::Result<usize> {
    retry(|| {
        // SAFETY: the call reads `data` and keeps nothing of it.
        unsafe { libc::send(fd.as_raw_fd(), data.as_ptr().cast(), data.len(), NO_SIGNAL) }
    })
}

/// Sends what the system takes of `slices`, in order, with one call.
///
/// # Errors
///
/// As [`send`].
pub fn send_vectored(fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: a message header of zeros is a valid one: no name, no slices, no control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    // `IoSlice` is an `iovec` by its documentation; sendmsg only reads it.
    message.msg_iov = slices.as_ptr().cast_mut().cast();
    message.msg_iovlen = slices.len() as _;
    retry(|| {
        // SAFETY: the header and the slices it names live through the call.
        unsafe { libc::sendmsg(fd.as_raw_fd(), &message, NO_SIGNAL) }
    })
}

/// Closes the write side: the peer reads the end of the stream.
///
/// # Errors
///
/// `ENOTCONN` when the connection is gone.
pub fn shutdown_write(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::net::shutdown(fd, rustix::net::Shutdown::Write)?)
}

/// Closes both sides.
///
/// # Errors
///
/// `ENOTCONN` when the connection is gone.
pub fn shutdown_both(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::net::shutdown(fd, rustix::net::Shutdown::Both)?)
}

/// Whether the system was out of buffers for a moment (`ENOBUFS`): to be tried again later.
pub fn is_no_buffers(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOBUFS)
}

/// Makes a call again while signals interrupt it.
fn retry(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        if let Ok(length) = usize::try_from(call()) {
            return Ok(length);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
