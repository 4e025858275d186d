//! Multicast: groups that a datagram socket is in, and how it sends to groups.
//!
//! All errors are setsockopt(2)'s or getsockopt(2)'s: `EADDRINUSE` for a group that was joined
//! already, `EADDRNOTAVAIL` for one to leave that was not, `EINVAL` for an address that is no
//! group's, `ENODEV` for no such interface, `ENOBUFS` when the socket is in as many groups as the
//! system lets it be. Which ones come for a socket of the other family differs between systems.
//!
//! # References
//!
//! [ip(7)](https://man7.org/linux/man-pages/man7/ip.7.html) and
//! [ipv6(7)](https://man7.org/linux/man-pages/man7/ipv6.7.html); RFC 3493, section 5.2.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;

use rustix::net::sockopt;

/// An interface as IPv4's options name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterfaceV4 {
    /// The one that has this address; [`UNSPECIFIED`](Ipv4Addr::UNSPECIFIED) is the system's choice
    /// by its routes.
    Address(Ipv4Addr),
    /// The one with this index, see if_nametoindex(3); 0 is the system's choice. It need not have
    /// an address.
    Index(u32),
}

impl From<Ipv4Addr> for InterfaceV4 {
    fn from(address: Ipv4Addr) -> Self {
        Self::Address(address)
    }
}

/// Joins an IPv4 group: datagrams to it that come over the interface are received from now on, by
/// every socket that is bound to their port.
///
/// # Errors
///
/// See the [module](self).
pub fn join_v4(fd: BorrowedFd<'_>, group: Ipv4Addr, interface: InterfaceV4) -> io::Result<()> {
    match interface {
        InterfaceV4::Address(address) => Ok(sockopt::set_ip_add_membership(fd, &group, &address)?),
        InterfaceV4::Index(index) => by_index::join(fd, group, index),
    }
}

/// Leaves an IPv4 group, by the interface that it was joined on.
///
/// # Errors
///
/// See the [module](self).
pub fn leave_v4(fd: BorrowedFd<'_>, group: Ipv4Addr, interface: InterfaceV4) -> io::Result<()> {
    match interface {
        InterfaceV4::Address(address) => Ok(sockopt::set_ip_drop_membership(fd, &group, &address)?),
        InterfaceV4::Index(index) => by_index::leave(fd, group, index),
    }
}

/// Joins an IPv6 group on the interface with an index; 0 is the system's choice.
///
/// # Errors
///
/// See the [module](self).
pub fn join_v6(fd: BorrowedFd<'_>, group: Ipv6Addr, interface: u32) -> io::Result<()> {
    Ok(sockopt::set_ipv6_add_membership(fd, &group, interface)?)
}

/// Leaves an IPv6 group, by the interface that it was joined on.
///
/// # Errors
///
/// See the [module](self).
pub fn leave_v6(fd: BorrowedFd<'_>, group: Ipv6Addr, interface: u32) -> io::Result<()> {
    Ok(sockopt::set_ipv6_drop_membership(fd, &group, interface)?)
}

/// The address of the interface that datagrams to IPv4 groups leave by;
/// [`UNSPECIFIED`](Ipv4Addr::UNSPECIFIED) while routes decide.
///
/// # Errors
///
/// See the [module](self).
pub fn interface_v4(fd: BorrowedFd<'_>) -> io::Result<Ipv4Addr> {
    Ok(sockopt::ip_multicast_if(fd)?)
}

/// Says which interface datagrams to IPv4 groups leave by.
///
/// # Errors
///
/// See the [module](self); `EADDRNOTAVAIL` when no interface has the address.
pub fn set_interface_v4(fd: BorrowedFd<'_>, interface: InterfaceV4) -> io::Result<()> {
    match interface {
        InterfaceV4::Address(address) => Ok(sockopt::set_ip_multicast_if(fd, &address)?),
        InterfaceV4::Index(index) => by_index::set_interface(fd, index),
    }
}

/// The index of the interface that datagrams to IPv6 groups leave by; 0 while routes decide.
///
/// # Errors
///
/// See the [module](self).
pub fn interface_v6(fd: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(sockopt::ipv6_multicast_if(fd)?)
}

/// Says which interface datagrams to IPv6 groups leave by, by its index.
///
/// # Errors
///
/// See the [module](self).
pub fn set_interface_v6(fd: BorrowedFd<'_>, interface: u32) -> io::Result<()> {
    Ok(sockopt::set_ipv6_multicast_if(fd, interface)?)
}

/// Whether this host's members of an IPv4 group receive what the socket sends to it. They do
/// unless it was changed.
///
/// # Errors
///
/// See the [module](self).
pub fn loop_v4(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(sockopt::ip_multicast_loop(fd)?)
}

/// Says whether this host's members of an IPv4 group receive what the socket sends to it.
///
/// # Errors
///
/// See the [module](self).
pub fn set_loop_v4(fd: BorrowedFd<'_>, looped: bool) -> io::Result<()> {
    Ok(sockopt::set_ip_multicast_loop(fd, looped)?)
}

/// As [`loop_v4`], for IPv6 groups.
///
/// # Errors
///
/// See the [module](self).
pub fn loop_v6(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(sockopt::ipv6_multicast_loop(fd)?)
}

/// As [`set_loop_v4`], for IPv6 groups.
///
/// # Errors
///
/// See the [module](self).
pub fn set_loop_v6(fd: BorrowedFd<'_>, looped: bool) -> io::Result<()> {
    Ok(sockopt::set_ipv6_multicast_loop(fd, looped)?)
}

/// How many routers a datagram to an IPv4 group may pass, and one: 1, the local network, unless it
/// was changed.
///
/// # Errors
///
/// See the [module](self).
pub fn ttl_v4(fd: BorrowedFd<'_>) -> io::Result<u8> {
    Ok(clamp(sockopt::ip_multicast_ttl(fd)?))
}

/// Says how far datagrams to IPv4 groups go: 0 stays on this host.
///
/// # Errors
///
/// See the [module](self).
pub fn set_ttl_v4(fd: BorrowedFd<'_>, ttl: u8) -> io::Result<()> {
    Ok(sockopt::set_ip_multicast_ttl(fd, ttl.into())?)
}

/// As [`ttl_v4`], for IPv6 groups.
///
/// # Errors
///
/// See the [module](self).
pub fn hops_v6(fd: BorrowedFd<'_>) -> io::Result<u8> {
    Ok(clamp(sockopt::ipv6_multicast_hops(fd)?))
}

/// As [`set_ttl_v4`], for IPv6 groups.
///
/// # Errors
///
/// See the [module](self).
pub fn set_hops_v6(fd: BorrowedFd<'_>, hops: u8) -> io::Result<()> {
    Ok(sockopt::set_ipv6_multicast_hops(fd, hops.into())?)
}

/// The field of a datagram has eight bits, the system's answer more.
fn clamp(ttl: u32) -> u8 {
    ttl.try_into().unwrap_or(u8::MAX)
}

/// `ip_mreqn`, which has an index.
#[cfg(not(target_os = "netbsd"))]
mod by_index {
    use super::*;

    const NONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

    pub(super) fn join(fd: BorrowedFd<'_>, group: Ipv4Addr, index: u32) -> io::Result<()> {
        Ok(sockopt::set_ip_add_membership_with_ifindex(
            fd, &group, &NONE, index,
        )?)
    }

    pub(super) fn leave(fd: BorrowedFd<'_>, group: Ipv4Addr, index: u32) -> io::Result<()> {
        Ok(sockopt::set_ip_drop_membership_with_ifindex(
            fd, &group, &NONE, index,
        )?)
    }

    pub(super) fn set_interface(fd: BorrowedFd<'_>, index: u32) -> io::Result<()> {
        Ok(sockopt::set_ip_multicast_if_with_ifindex(
            fd, &NONE, &NONE, index,
        )?)
    }
}

/// NetBSD takes an address in 0.0.0.0/8 as an index (ip(4), after RFC 1724).
#[cfg(target_os = "netbsd")]
mod by_index {
    use super::*;

    pub(super) fn join(fd: BorrowedFd<'_>, group: Ipv4Addr, index: u32) -> io::Result<()> {
        Ok(sockopt::set_ip_add_membership(
            fd,
            &group,
            &address(index)?,
        )?)
    }

    pub(super) fn leave(fd: BorrowedFd<'_>, group: Ipv4Addr, index: u32) -> io::Result<()> {
        Ok(sockopt::set_ip_drop_membership(
            fd,
            &group,
            &address(index)?,
        )?)
    }

    pub(super) fn set_interface(fd: BorrowedFd<'_>, index: u32) -> io::Result<()> {
        Ok(sockopt::set_ip_multicast_if(fd, &address(index)?)?)
    }

    fn address(index: u32) -> io::Result<Ipv4Addr> {
        if index >= 1 << 24 {
            return Err(io::Error::from_raw_os_error(libc::ENXIO));
        }
        Ok(Ipv4Addr::from_bits(index))
    }
}
