//! How sockets come into being: close-on-exec, non-blocking, and silent when the peer is gone.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::{Errno, Result};
use rustix::net::{AddressFamily, SocketAddrAny, SocketType};

#[cfg(not(target_vendor = "apple"))]
use at_once as system;
#[cfg(target_vendor = "apple")]
use in_steps as system;

/// What every send is told: one to a connection that the peer closed is an error of the call, not
/// a signal to the process. Apple's systems are told once per socket instead.
#[cfg(not(target_vendor = "apple"))]
pub(super) const NO_SIGNAL: i32 = libc::MSG_NOSIGNAL;
#[cfg(target_vendor = "apple")]
pub(super) const NO_SIGNAL: i32 = 0;

/// A stream socket.
pub(super) fn stream(family: AddressFamily) -> Result<OwnedFd> {
    system::socket(family, SocketType::STREAM)
}

/// A datagram socket.
pub(super) fn datagram(family: AddressFamily) -> Result<OwnedFd> {
    system::socket(family, SocketType::DGRAM)
}

/// A connection, and the address of the peer. `ECONNABORTED` when it is over already, which some
/// systems tell by an empty address.
pub(super) fn accept(listener: BorrowedFd<'_>) -> Result<(OwnedFd, SocketAddrAny)> {
    match accept_any(listener)? {
        (connection, Some(peer)) => Ok((connection, peer)),
        (_, None) => Err(Errno::CONNABORTED),
    }
}

/// A connection, and the address of the peer if it has one: UNIX sockets need none.
pub(super) fn accept_any(listener: BorrowedFd<'_>) -> Result<(OwnedFd, Option<SocketAddrAny>)> {
    loop {
        match system::accept(listener) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Gives a socket that somebody else made what those made here have.
pub(super) fn prepare(fd: BorrowedFd<'_>) -> Result<()> {
    rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(fd, true)?;
    #[cfg(target_vendor = "apple")]
    rustix::net::sockopt::set_socket_nosigpipe(fd, true)?;
    Ok(())
}

/// Linux and the BSDs: the flags are arguments, and no other thread ever sees a socket without
/// them.
#[cfg(not(target_vendor = "apple"))]
mod at_once {
    use rustix::net::{SocketFlags, acceptfrom_with, socket_with};

    use super::*;

    const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

    pub(super) fn socket(family: AddressFamily, kind: SocketType) -> Result<OwnedFd> {
        socket_with(family, kind, FLAGS, None)
    }

    pub(super) fn accept(listener: BorrowedFd<'_>) -> Result<(OwnedFd, Option<SocketAddrAny>)> {
        acceptfrom_with(listener, FLAGS)
    }
}

/// macOS and its kin, which have no such flags: calls follow. A program that another thread starts
/// in between inherits the socket. Built for the tests everywhere, for they can run it.
#[cfg(any(target_vendor = "apple", test))]
#[cfg_attr(not(target_vendor = "apple"), allow(dead_code, reason = "for tests"))]
mod in_steps {
    use rustix::io::{FdFlags, fcntl_setfd, ioctl_fionbio};

    use super::*;

    pub(super) fn socket(family: AddressFamily, kind: SocketType) -> Result<OwnedFd> {
        let fd = rustix::net::socket(family, kind, None)?;
        set_flags(&fd)?;
        silence(&fd)?;
        Ok(fd)
    }

    pub(super) fn accept(listener: BorrowedFd<'_>) -> Result<(OwnedFd, Option<SocketAddrAny>)> {
        let (fd, peer) = rustix::net::acceptfrom(listener)?;
        set_flags(&fd)?;
        match silence(&fd) {
            // The peer is gone already, which takes no options any more, but may have left data to
            // read. What `stream` made to listen has passed the option on, as it is inherited; for
            // another listener, what the process does with SIGPIPE counts.
            Ok(()) | Err(Errno::INVAL) => Ok((fd, peer)),
            Err(error) => Err(error),
        }
    }

    fn set_flags(fd: &OwnedFd) -> Result<()> {
        fcntl_setfd(fd, FdFlags::CLOEXEC)?;
        ioctl_fionbio(fd, true)
    }

    /// `SO_NOSIGPIPE`, see setsockopt(2) of macOS.
    #[cfg(target_vendor = "apple")]
    fn silence(fd: &OwnedFd) -> Result<()> {
        rustix::net::sockopt::set_socket_nosigpipe(fd, true)
    }

    #[cfg(not(target_vendor = "apple"))]
    fn silence(_fd: &OwnedFd) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::net::{SocketAddr, TcpStream};
    use std::os::fd::AsFd;

    use rustix::fs::{OFlags, fcntl_getfl};
    use rustix::io::{FdFlags, fcntl_getfd};

    use super::*;

    fn has_its_flags(fd: &OwnedFd) -> bool {
        fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC)
            && fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK)
    }

    #[test]
    fn sockets_and_connections_have_their_flags_either_way() {
        type Make = fn(AddressFamily, SocketType) -> Result<OwnedFd>;
        type Accept = fn(BorrowedFd<'_>) -> Result<(OwnedFd, Option<SocketAddrAny>)>;
        let ways: [(Make, Accept); 2] = [
            (system::socket, system::accept),
            (in_steps::socket, in_steps::accept),
        ];
        for (socket, accept) in ways {
            let listener = socket(AddressFamily::INET, SocketType::STREAM).unwrap();
            assert!(has_its_flags(&listener));
            let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
            rustix::net::bind(&listener, &loopback).unwrap();
            rustix::net::listen(&listener, 1).unwrap();
            assert_eq!(accept(listener.as_fd()).err(), Some(Errno::AGAIN));
            let address: SocketAddr = rustix::net::getsockname(&listener)
                .unwrap()
                .try_into()
                .unwrap();
            let peer = TcpStream::connect(address).unwrap();
            let (connection, from) = accept(listener.as_fd()).unwrap();
            assert!(has_its_flags(&connection));
            let from: SocketAddr = from.unwrap().try_into().unwrap();
            assert_eq!(from, peer.local_addr().unwrap());
        }
    }
}
