//! Datagram sockets, internet and UNIX: one call for many datagrams where the system has it.
//!
//! A datagram of no bytes is a datagram. No call here waits, even if somebody made the socket
//! block, and no call allocates: batches keep their buffers and are used for one socket after the
//! other.
//!
//! # Which call for how many
//!
//! Measured on Linux 6.18 over the loopback, datagrams of 64 bytes, nanoseconds per datagram to
//! receive all that waits and to know that no more does:
//!
//! | datagrams at once | recvfrom until `EAGAIN` | recvmmsg of 16 | one recvfrom, no second |
//! | --- | --- | --- | --- |
//! | 1 | 1030, two calls | 1220, one call | 740 |
//! | 2 | 840, three calls | 880, one call | |
//! | 4 | 730, five calls | 670, one call | |
//! | 16 | 670, 17 calls | 550, two calls | |
//!
//! So a call for many pays from three datagrams on, and saves a fifth in a flood. For one, it costs
//! more than it saves: the system reads and writes its headers, and looks for a second datagram as
//! another call would. Cheapest is one datagram and to trust the poller, which is level-triggered,
//! with the rest. [`ReceiveBatch::receive`] therefore makes a recvfrom of a limit of 1. A transport
//! asks for one while datagrams come singly, and for many once they do not.

mod message;
mod receive;
mod send;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::AddressFamily;

pub use receive::ReceiveBatch;
pub use send::{Datagram, SendBatch, Sent};

use super::address::{Address, RawAddress};
use super::fresh::{self, NO_SIGNAL};
use super::retry;

/// Makes a datagram socket (UDP) of the address's family; [`bind`](super::bind) and
/// [`connect`](super::connect) are those of streams, but that a connect is over at once.
///
/// # Errors
///
/// What [socket(2)](https://man7.org/linux/man-pages/man2/socket.2.html) failed with, `EMFILE`
/// mostly.
pub fn socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    Ok(fresh::datagram(family)?)
}

/// Sends one datagram to the peer of a connected socket.
///
/// # Errors
///
/// [`WouldBlock`](io::ErrorKind::WouldBlock) when the socket's buffer is full; `ENOBUFS` when
/// another buffer is; `EMSGSIZE` for one that is too long; `ECONNREFUSED` when an earlier one met
/// a closed port: the system tells it to the next call, and this datagram was not sent.
pub fn send(fd: BorrowedFd<'_>, data: &[u8]) -> io::Result<usize> {
    retry(|| {
        // SAFETY: the call reads `data` and keeps nothing of it.
        unsafe { libc::send(fd.as_raw_fd(), data.as_ptr().cast(), data.len(), FLAGS) }
    })
}

/// Sends one datagram to `address`.
///
/// # Errors
///
/// As [`send`]; `EISCONN` on some systems when the socket is connected; `EACCES` for a broadcast
/// address without leave; `EAFNOSUPPORT` or `EINVAL` for an address of another family;
/// `ENETUNREACH`, `EHOSTUNREACH`, `EPERM` as the system finds them.
pub fn send_to(fd: BorrowedFd<'_>, data: &[u8], address: &Address) -> io::Result<usize> {
    let to = RawAddress::new(address);
    retry(|| {
        // SAFETY: the call reads `data` and the address, which live through it, by their lengths.
        unsafe {
            libc::sendto(
                fd.as_raw_fd(),
                data.as_ptr().cast(),
                data.len(),
                FLAGS,
                to.pointer(),
                to.length(),
            )
        }
    })
}

/// What every send is told.
const FLAGS: i32 = NO_SIGNAL | libc::MSG_DONTWAIT;
