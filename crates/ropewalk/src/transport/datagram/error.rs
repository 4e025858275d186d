//! Why a datagram was not sent.

use std::io;

use ropewalk_os::socket::{self, unix};

use crate::transport::NetAddr;

/// Why a datagram was not sent: what [`DatagramTransport::send_to`](super::DatagramTransport::send_to)
/// and [`send`](super::DatagramTransport::send) fail with.
///
/// A full buffer, this socket's or the receiver's, is none of these: the datagram waits, or is
/// dropped with a notice. Nor is that an internet receiver did not get it, which nobody knows; of a
/// UNIX one the system knows whether it is there.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Longer than the way to the receiver carries, or than the options allow.
    #[error("a datagram of {size} bytes is too long")]
    TooLong {
        /// Its length in bytes.
        size: usize,
    },
    /// No address that this socket can send to.
    #[error("cannot send to {to}: {fault}")]
    BadAddress {
        /// The receiver that was named.
        to: NetAddr,
        /// What is wrong with it.
        fault: AddressFault,
    },
    /// There is no way to the network or the host.
    #[error("no route to {to}: {source}")]
    Unreachable {
        /// The receiver.
        to: NetAddr,
        /// What the system said: `ENETUNREACH`, `EHOSTUNREACH`, `ENETDOWN`.
        source: io::Error,
    },
    /// Nobody receives there: no such path, or no socket bound to it any more.
    #[error("nobody receives at {to}: {source}")]
    NoReceiver {
        /// The receiver.
        to: NetAddr,
        /// What the system said: `ENOENT`, `ECONNREFUSED`; `ENOTCONN` when the other end of a pair
        /// is gone.
        source: io::Error,
    },
    /// Not allowed: a broadcast address without
    /// [`UdpOptions::broadcast`](super::UdpOptions::broadcast), or a firewall's rule; a path that
    /// this user may not write to, or a UNIX socket that is connected to somebody else.
    #[error("not allowed to send to {to}: {source}")]
    Denied {
        /// The receiver.
        to: NetAddr,
        /// What the system said: `EACCES`, `EPERM`.
        source: io::Error,
    },
    /// No receiver was named, and the transport is not connected to one.
    #[error("no receiver is named, and the transport is not connected")]
    NotConnected,
    /// The transport is closed.
    #[error("the transport is closed")]
    Closed,
    /// Any other refusal of the system.
    #[error("cannot send to {to}: {source}")]
    Os {
        /// The receiver.
        to: NetAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// What is wrong with an address that a datagram was to be sent to.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AddressFault {
    /// A path for an internet socket, IPv4 for an IPv6 socket, or the other way round. An IPv6
    /// socket for both families names IPv4 peers by mapped addresses (`::ffff:192.0.2.1`).
    #[error("of another family than the socket")]
    WrongFamily,
    /// Port 0, where nobody receives.
    #[error("port 0 is no receiver")]
    PortZero,
    /// A UNIX socket without a name, which nobody can send to: who wants answers binds.
    #[error("a socket without a name is no receiver")]
    Unnamed,
    /// A UNIX socket of another kind: a stream's.
    #[error("a socket of another kind")]
    WrongKind,
    /// The transport is connected to another peer.
    #[error("connected to another peer")]
    NotThePeer,
    /// The system says it is none to send to (`EINVAL`, `EADDRNOTAVAIL`).
    #[error("no address to send to")]
    Unusable,
}

impl SendError {
    /// Sorts what the system refused a datagram of `size` bytes with.
    pub(super) fn from_system(source: io::Error, size: usize, to: NetAddr) -> Self {
        use io::ErrorKind::{
            AddrNotAvailable, HostUnreachable, InvalidInput, NetworkDown, NetworkUnreachable,
            PermissionDenied,
        };
        if socket::is_message_too_long(&source) {
            return Self::TooLong { size };
        }
        if unix::is_other_kind(&source) {
            let fault = AddressFault::WrongKind;
            return Self::BadAddress { to, fault };
        }
        if is_nobody_there(&source) {
            return Self::NoReceiver { to, source };
        }
        match source.kind() {
            NetworkUnreachable | HostUnreachable | NetworkDown => Self::Unreachable { to, source },
            PermissionDenied => Self::Denied { to, source },
            InvalidInput | AddrNotAvailable => Self::BadAddress {
                to,
                fault: AddressFault::Unusable,
            },
            _ => Self::Os { to, source },
        }
    }
}

/// Whether the system says that no socket is there to receive.
pub(super) fn is_nobody_there(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotConnected, NotFound};
    matches!(error.kind(), ConnectionRefused | NotConnected | NotFound)
}

/// What of an address can be seen without asking the system.
pub(super) fn fault(to: &NetAddr, local: &NetAddr) -> Option<AddressFault> {
    match (to, local) {
        (NetAddr::Ip(to), NetAddr::Ip(local)) if to.is_ipv4() == local.is_ipv4() => {
            (to.port() == 0).then_some(AddressFault::PortZero)
        }
        (NetAddr::Unix(to), NetAddr::Unix(_)) => to.is_unnamed().then_some(AddressFault::Unnamed),
        _ => Some(AddressFault::WrongFamily),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::UnixAddr;
    use std::net::SocketAddr;

    fn receiver() -> NetAddr {
        SocketAddr::from(([192, 0, 2, 1], 7)).into()
    }

    fn sorted(source: io::Error) -> SendError {
        SendError::from_system(source, 9, receiver())
    }

    #[test]
    fn what_cannot_be_sent_to_is_seen_without_the_system() {
        let (path, unnamed) = (UnixAddr::from("/run/log").into(), UnixAddr::UNNAMED.into());
        assert_eq!(fault(&receiver(), &receiver()), None);
        assert_eq!(fault(&path, &unnamed), None);
        assert_eq!(fault(&unnamed, &path), Some(AddressFault::Unnamed));
        let wrong = Some(AddressFault::WrongFamily);
        assert_eq!(
            (fault(&path, &receiver()), fault(&receiver(), &path)),
            (wrong, wrong)
        );
    }

    #[test]
    fn refusals_are_sorted_by_what_the_system_said() {
        let of = |kind: io::ErrorKind| sorted(kind.into());
        assert!(matches!(
            of(io::ErrorKind::NetworkUnreachable),
            SendError::Unreachable { .. }
        ));
        assert!(matches!(
            of(io::ErrorKind::PermissionDenied),
            SendError::Denied { .. }
        ));
        for nobody in [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused] {
            assert!(matches!(of(nobody), SendError::NoReceiver { .. }));
        }
        let fault = AddressFault::Unusable;
        assert!(
            matches!(of(io::ErrorKind::InvalidInput), SendError::BadAddress { fault: f, .. } if f == fault)
        );
        assert!(matches!(
            of(io::ErrorKind::OutOfMemory),
            SendError::Os { .. }
        ));
    }

    #[test]
    fn each_refusal_names_what_was_refused() {
        let denied = sorted(io::ErrorKind::PermissionDenied.into()).to_string();
        assert!(
            denied.starts_with("not allowed to send to 192.0.2.1:7: "),
            "{denied}"
        );
        assert_eq!(
            SendError::TooLong { size: 65_508 }.to_string(),
            "a datagram of 65508 bytes is too long"
        );
    }
}
