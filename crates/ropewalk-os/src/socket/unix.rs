//! UNIX sockets: streams and datagrams, by path or by abstract name, and who the peer is.
//!
//! Data goes through the functions for other sockets: [`recv`](super::recv), [`send`](super::send),
//! [`datagram`](super::datagram). Nothing here makes, changes or removes a file but [`bind`], by
//! what bind(2) does.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::AddressFamily;

pub use super::address::UnixAddr;
pub use super::descriptors::{
    MAX_DESCRIPTORS, Received, receive_with_descriptors, send_with_descriptors,
};

use super::address::{Address, RawAddress};
use super::{ConnectStart, fresh};

/// Makes a stream socket.
///
/// # Errors
///
/// What [socket(2)](https://man7.org/linux/man-pages/man2/socket.2.html) failed with, `EMFILE`
/// mostly.
pub fn stream_socket() -> io::Result<OwnedFd> {
    Ok(fresh::stream(AddressFamily::UNIX)?)
}

/// Makes a datagram socket.
///
/// # Errors
///
/// As [`stream_socket`].
pub fn datagram_socket() -> io::Result<OwnedFd> {
    Ok(fresh::datagram(AddressFamily::UNIX)?)
}

/// Binds a socket. A path is made, with the mode that the process's umask leaves, and stays when
/// the socket is closed; an abstract name goes with the socket. Bound to
/// [`UNNAMED`](UnixAddr::UNNAMED), a Linux socket is given an abstract name by the system.
///
/// # Errors
///
/// What [bind(2)](https://man7.org/linux/man-pages/man2/bind.2.html) failed with: `EADDRINUSE` for
/// a path that exists, whatever it is and whether anybody listens there, `ENOENT`, `EACCES`, …
pub fn bind(fd: BorrowedFd<'_>, address: &UnixAddr) -> io::Result<()> {
    let raw = RawAddress::new(&Address::Unix(*address));
    // SAFETY: the call reads the address, which lives through it, by its length.
    check(unsafe { libc::bind(fd.as_raw_fd(), raw.pointer(), raw.length()) })
}

/// Listens on a bound stream socket; may be asked for again to change the backlog.
///
/// # Errors
///
/// What [listen(2)](https://man7.org/linux/man-pages/man2/listen.2.html) failed with: `EINVAL` when
/// the socket is not bound.
pub fn listen(fd: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
    Ok(rustix::net::listen(fd, backlog)?)
}

/// Connects. Streams are connected at once on every system known here; datagram sockets may be
/// connected anew, which replaces the peer.
///
/// # Errors
///
/// What [connect(2)](https://man7.org/linux/man-pages/man2/connect.2.html) failed with: `ENOENT`
/// when there is no such path, `ECONNREFUSED` when nobody listens there (or at an abstract name),
/// `EACCES`, `EPROTOTYPE` for a socket of the other kind. [`WouldBlock`](io::ErrorKind::WouldBlock)
/// when the listener's backlog is full: nothing goes on then, and no readiness tells when there is
/// room; one tries again later.
pub fn connect(fd: BorrowedFd<'_>, address: &UnixAddr) -> io::Result<ConnectStart> {
    let raw = RawAddress::new(&Address::Unix(*address));
    loop {
        // SAFETY: as in `bind`.
        let result = check(unsafe { libc::connect(fd.as_raw_fd(), raw.pointer(), raw.length()) });
        match result.map_err(|error| (error.raw_os_error(), error)) {
            Ok(()) | Err((Some(libc::EISCONN), _)) => return Ok(ConnectStart::Connected),
            Err((Some(libc::EINPROGRESS | libc::EALREADY), _)) => {
                return Ok(ConnectStart::InProgress);
            }
            // Unlike TCP's, an interrupted one was not begun.
            Err((Some(libc::EINTR), _)) => {}
            Err((_, error)) => return Err(error),
        }
    }
}

/// Accepts one connection. The peer's address is mostly [`UNNAMED`](UnixAddr::UNNAMED): clients
/// seldom bind.
///
/// # Errors
///
/// As [`accept`](super::accept).
pub fn accept(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, UnixAddr)> {
    let (connection, peer) = fresh::accept_any(fd)?;
    let peer = peer.map_or(RawAddress::EMPTY, |peer| RawAddress::from_rustix(&peer));
    Ok((connection, named(&peer)?))
}

/// The local address.
///
/// # Errors
///
/// What getsockname(2) failed with; [`Unsupported`](io::ErrorKind::Unsupported) for a socket that
/// is not a UNIX one.
pub fn local_addr(fd: BorrowedFd<'_>) -> io::Result<UnixAddr> {
    named(&RawAddress::asked(fd, libc::getsockname)?)
}

/// The peer's address.
///
/// # Errors
///
/// As [`local_addr`]; `ENOTCONN` when there is no connection.
pub fn peer_addr(fd: BorrowedFd<'_>) -> io::Result<UnixAddr> {
    named(&RawAddress::asked(fd, libc::getpeername)?)
}

/// Whether a send failed because the peer of a connected datagram socket is not there any more, or
/// has turned to somebody else: whoever is bound to its address by now may be connected to anew.
/// Linux tells it once as a refusal, and from then on that there is no connection; other systems
/// say that an address is missing.
pub fn is_peer_gone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ECONNREFUSED | libc::ENOTCONN | libc::ECONNRESET | libc::EDESTADDRREQ)
    )
}

/// Whether the address is that of a socket of another kind (`EPROTOTYPE`): a stream's, for a
/// datagram.
pub fn is_other_kind(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EPROTOTYPE)
}

/// Who is at the other end of a stream: as it was when the peer connected, or began to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The process, on Linux; `None` elsewhere, and for one that this process's PID namespace does
    /// not show. It may have ended since, and its number may be another's by now.
    pub pid: Option<u32>,
    /// The effective user.
    pub uid: u32,
    /// The effective group.
    pub gid: u32,
}

/// Asks who is at the other end of a stream.
///
/// # Errors
///
/// `ENOTCONN` when there is no connection (Linux tells it as an unknown user for a socket that
/// never had one), `EOPNOTSUPP` or `EINVAL` for a socket of another family.
///
/// # References
///
/// `SO_PEERCRED` in [unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html); getpeereid(3) on
/// the BSDs and macOS.
pub fn peer_credentials(fd: BorrowedFd<'_>) -> io::Result<Credentials> {
    credentials::of(fd)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod credentials {
    use super::*;

    pub(super) fn of(fd: BorrowedFd<'_>) -> io::Result<Credentials> {
        let nobody = libc::uid_t::MAX;
        let mut found = libc::ucred {
            pid: 0,
            uid: nobody,
            gid: nobody,
        };
        let mut length = size_of::<libc::ucred>() as libc::socklen_t;
        // SAFETY: the call writes at most `length` bytes, into `found`, which is made of integers.
        check(unsafe {
            libc::getsockopt(
                fd.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERCRED,
                std::ptr::from_mut(&mut found).cast(),
                &mut length,
            )
        })?;
        // What Linux answers for a socket that was never connected.
        if found.uid == nobody && found.pid == 0 {
            return Err(io::Error::from_raw_os_error(libc::ENOTCONN));
        }
        Ok(Credentials {
            pid: u32::try_from(found.pid).ok().filter(|pid| *pid != 0),
            uid: found.uid,
            gid: found.gid,
        })
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod credentials {
    use super::*;

    pub(super) fn of(fd: BorrowedFd<'_>) -> io::Result<Credentials> {
        let (mut uid, mut gid) = (0, 0);
        // SAFETY: the call writes one number each.
        check(unsafe { libc::getpeereid(fd.as_raw_fd(), &mut uid, &mut gid) })?;
        Ok(Credentials {
            pid: None,
            uid,
            gid,
        })
    }
}

/// The UNIX address in `raw`. Some systems tell the absence of a name by an empty address.
fn named(raw: &RawAddress) -> io::Result<UnixAddr> {
    match raw.decode() {
        Some(Address::Unix(address)) => Ok(address),
        None if raw.length() == 0 => Ok(UnixAddr::UNNAMED),
        _ => {
            let text = "not a UNIX socket";
            Err(io::Error::new(io::ErrorKind::Unsupported, text))
        }
    }
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
