//! Multicast on the loopback interface: groups, and how datagrams to them leave.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::ffi::CStr;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use ropewalk_os::socket::datagram::{self, ReceiveBatch};
use ropewalk_os::socket::multicast::{self, InterfaceV4};
use ropewalk_os::socket::{self, Address};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const ANY_V4: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
const ANY_V6: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
const LOOPBACK: InterfaceV4 = InterfaceV4::Address(Ipv4Addr::LOCALHOST);

fn loopback_index() -> u32 {
    let name: &CStr = if cfg!(target_os = "linux") {
        c"lo"
    } else {
        c"lo0"
    };
    // SAFETY: the call reads the name, up to its end.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    assert_ne!(index, 0);
    index
}

/// An interface with IPv6 multicast, which Linux's loopback mostly has no route for. What is sent to
/// a group of interface scope does not leave it.
fn interface_v6() -> Option<u32> {
    let fd = datagram::socket(ANY_V6).unwrap();
    let to = Address::from(SocketAddr::from((group_v6(0), 9)));
    (1..64).find(|index| {
        multicast::set_interface_v6(fd.as_fd(), *index).is_ok()
            && datagram::send_to(fd.as_fd(), b"", &to).is_ok()
    })
}

/// Sockets on one port, as several members of a group have them.
fn members(any: SocketAddr, count: usize) -> (Vec<OwnedFd>, u16) {
    let mut address = any;
    let sockets = (0..count)
        .map(|_| {
            let fd = datagram::socket(address).unwrap();
            socket::set_reuse_address(fd.as_fd(), true).unwrap();
            socket::set_reuse_port(fd.as_fd(), true).unwrap();
            socket::bind(fd.as_fd(), address).unwrap();
            address = socket::local_addr(fd.as_fd()).unwrap();
            fd
        })
        .collect();
    (sockets, address.port())
}

fn receive(fd: &OwnedFd) -> Vec<u8> {
    let limit = Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    let count = poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&limit)).unwrap();
    assert_eq!(count, 1, "nothing came in ten seconds");
    let mut batch = ReceiveBatch::new(1, 100);
    batch.receive(fd.as_fd(), 1).unwrap();
    batch.data(0).to_vec()
}

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}

/// A group for use within an organization. Each test has its own: by default Linux gives a socket
/// what any socket of the host joined.
fn group_v4(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(239, 255, 47, last)
}

/// A group for use within an interface.
fn group_v6(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0x47, last)
}

/// That nothing came to `fd`: the loopback delivers in order, and what is sent now comes first.
fn received_nothing(fd: &OwnedFd, sender: &OwnedFd) {
    let to = socket::local_addr(fd.as_fd()).unwrap();
    let loopback = if to.is_ipv4() {
        SocketAddr::from((Ipv4Addr::LOCALHOST, to.port()))
    } else {
        SocketAddr::from((Ipv6Addr::LOCALHOST, to.port()))
    };
    datagram::send_to(sender.as_fd(), b"direct", &loopback.into()).unwrap();
    assert_eq!(receive(fd), b"direct");
}

fn members_of_a_v4_group_receive_until_they_leave(group: Ipv4Addr, interface: InterfaceV4) {
    let (members, port) = members(ANY_V4, 2);
    let sender = datagram::socket(ANY_V4).unwrap();
    multicast::set_interface_v4(sender.as_fd(), interface).unwrap();
    let to = Address::from(SocketAddr::from((group, port)));
    for fd in &members {
        multicast::join_v4(fd.as_fd(), group, interface).unwrap();
    }
    datagram::send_to(sender.as_fd(), b"to all", &to).unwrap();
    assert!(members.iter().all(|fd| receive(fd) == b"to all"));
    for fd in &members {
        multicast::leave_v4(fd.as_fd(), group, interface).unwrap();
    }
    datagram::send_to(sender.as_fd(), b"to nobody", &to).unwrap();
    let [last, _] = <[OwnedFd; 2]>::try_from(members).unwrap();
    received_nothing(&last, &sender);
}

#[test]
fn members_of_a_v4_group_receive_until_they_leave_by_address() {
    members_of_a_v4_group_receive_until_they_leave(group_v4(1), LOOPBACK);
}

#[test]
fn members_of_a_v4_group_receive_until_they_leave_by_index() {
    let interface = InterfaceV4::Index(loopback_index());
    members_of_a_v4_group_receive_until_they_leave(group_v4(2), interface);
}

#[test]
fn members_of_a_v6_group_receive_until_they_leave() {
    let Some(index) = interface_v6() else {
        eprintln!("no interface has IPv6 multicast: not tested");
        return;
    };
    let (members, port) = members(ANY_V6, 2);
    let sender = datagram::socket(ANY_V6).unwrap();
    multicast::set_interface_v6(sender.as_fd(), index).unwrap();
    assert_eq!(multicast::interface_v6(sender.as_fd()).unwrap(), index);
    let to = Address::from(SocketAddr::from((group_v6(1), port)));
    for fd in &members {
        multicast::join_v6(fd.as_fd(), group_v6(1), index).unwrap();
    }
    datagram::send_to(sender.as_fd(), b"to all", &to).unwrap();
    assert!(members.iter().all(|fd| receive(fd) == b"to all"));
    for fd in &members {
        multicast::leave_v6(fd.as_fd(), group_v6(1), index).unwrap();
    }
    datagram::send_to(sender.as_fd(), b"to nobody", &to).unwrap();
    let [last, _] = <[OwnedFd; 2]>::try_from(members).unwrap();
    received_nothing(&last, &sender);
}

#[test]
fn this_host_receives_what_it_sends_unless_told_otherwise() {
    let (members, port) = members(ANY_V4, 1);
    let sender = datagram::socket(ANY_V4).unwrap();
    multicast::set_interface_v4(sender.as_fd(), LOOPBACK).unwrap();
    multicast::join_v4(members[0].as_fd(), group_v4(3), LOOPBACK).unwrap();
    let to = Address::from(SocketAddr::from((group_v4(3), port)));
    assert!(multicast::loop_v4(sender.as_fd()).unwrap());
    datagram::send_to(sender.as_fd(), b"looped", &to).unwrap();
    assert_eq!(receive(&members[0]), b"looped");
    // What leaves by the loopback interface itself comes back all the same: only the option shows.
    multicast::set_loop_v4(sender.as_fd(), false).unwrap();
    assert!(!multicast::loop_v4(sender.as_fd()).unwrap());
}

#[test]
fn options_are_as_they_were_set() {
    let (four, six) = (
        datagram::socket(ANY_V4).unwrap(),
        datagram::socket(ANY_V6).unwrap(),
    );
    let (four, six) = (four.as_fd(), six.as_fd());
    assert_eq!(multicast::ttl_v4(four).unwrap(), 1);
    assert_eq!(
        multicast::interface_v4(four).unwrap(),
        Ipv4Addr::UNSPECIFIED
    );
    assert_eq!(multicast::interface_v6(six).unwrap(), 0);
    for limit in [0, 1, 255] {
        multicast::set_ttl_v4(four, limit).unwrap();
        assert_eq!(multicast::ttl_v4(four).unwrap(), limit);
        multicast::set_hops_v6(six, limit).unwrap();
        assert_eq!(multicast::hops_v6(six).unwrap(), limit);
    }
    multicast::set_interface_v4(four, LOOPBACK).unwrap();
    assert_eq!(multicast::interface_v4(four).unwrap(), Ipv4Addr::LOCALHOST);
    multicast::set_interface_v4(four, Ipv4Addr::UNSPECIFIED.into()).unwrap();
    assert_eq!(
        multicast::interface_v4(four).unwrap(),
        Ipv4Addr::UNSPECIFIED
    );
    for looped in [false, true] {
        multicast::set_loop_v6(six, looped).unwrap();
        assert_eq!(multicast::loop_v6(six).unwrap(), looped);
    }
}

#[test]
fn errors_of_groups_are_the_systems() {
    let (four, six) = (
        datagram::socket(ANY_V4).unwrap(),
        datagram::socket(ANY_V6).unwrap(),
    );
    let (four, six, index) = (four.as_fd(), six.as_fd(), loopback_index());
    let group = group_v4(4);
    let no_group = Ipv4Addr::LOCALHOST;
    assert_eq!(
        errno(multicast::join_v4(four, no_group, LOOPBACK)),
        libc::EINVAL
    );
    assert_eq!(
        errno(multicast::leave_v4(four, group, LOOPBACK)),
        libc::EADDRNOTAVAIL
    );
    multicast::join_v4(four, group, LOOPBACK).unwrap();
    assert_eq!(
        errno(multicast::join_v4(four, group, LOOPBACK)),
        libc::EADDRINUSE
    );
    multicast::join_v6(six, group_v6(4), index).unwrap();
    assert_eq!(
        errno(multicast::join_v6(six, group_v6(4), index)),
        libc::EADDRINUSE
    );
    let nowhere = Ipv4Addr::new(192, 0, 2, 1);
    let result = multicast::set_interface_v4(four, nowhere.into());
    assert_eq!(errno(result), libc::EADDRNOTAVAIL);
    assert!(multicast::join_v4(four, group_v4(5), nowhere.into()).is_err());
    assert!(multicast::join_v6(six, Ipv6Addr::LOCALHOST, index).is_err());
    assert!(multicast::join_v6(four, group_v6(5), index).is_err());
}

#[test]
fn broadcast_needs_leave() {
    let sender = datagram::socket(ANY_V4).unwrap();
    let to = Address::from(SocketAddr::from((Ipv4Addr::new(127, 255, 255, 255), 9)));
    assert!(!socket::broadcast(sender.as_fd()).unwrap());
    let result = datagram::send_to(sender.as_fd(), b"to all", &to);
    assert_eq!(errno(result), libc::EACCES);
    socket::set_broadcast(sender.as_fd(), true).unwrap();
    assert!(socket::broadcast(sender.as_fd()).unwrap());
    datagram::send_to(sender.as_fd(), b"to all", &to).unwrap();
}

#[test]
fn buffers_have_the_size_that_was_asked_for_at_least() {
    let fd = datagram::socket(ANY_V4).unwrap();
    socket::set_receive_buffer_size(fd.as_fd(), 50_000).unwrap();
    socket::set_send_buffer_size(fd.as_fd(), 40_000).unwrap();
    assert!(socket::receive_buffer_size(fd.as_fd()).unwrap() >= 50_000);
    assert!(socket::send_buffer_size(fd.as_fd()).unwrap() >= 40_000);
}

#[test]
fn two_sockets_share_a_port_if_both_say_so() {
    let first = datagram::socket(ANY_V4).unwrap();
    let second = datagram::socket(ANY_V4).unwrap();
    socket::set_reuse_port(first.as_fd(), true).unwrap();
    socket::bind(first.as_fd(), ANY_V4).unwrap();
    let address = socket::local_addr(first.as_fd()).unwrap();
    assert_eq!(
        errno(socket::bind(second.as_fd(), address)),
        libc::EADDRINUSE
    );
    socket::set_reuse_port(second.as_fd(), true).unwrap();
    socket::bind(second.as_fd(), address).unwrap();
    assert!(socket::reuse_port(second.as_fd()).unwrap());
}
