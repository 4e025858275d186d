//! Groups, on loopback, over every poller.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod udp_support;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use ropewalk::{DatagramTransport, Interface, Reactor, UdpOptions};
use tcp_support::{over_every_poller, settle, until};
use udp_support::{Log, Recorder, has_ipv6, stop};

over_every_poller! {
    a_member_receives_what_is_sent_to_its_group,
    a_member_receives_what_is_sent_to_its_group_over_ipv6,
    who_left_receives_no_more,
    all_members_on_one_port_receive,
    a_sender_need_not_hear_itself,
    hops_loop_and_interface_are_told,
    hops_loop_and_interface_are_told_over_ipv6,
    joining_twice_and_leaving_without_joining_are_refused,
    what_is_no_group_is_refused,
    an_interface_that_is_not_there_is_refused,
    a_closed_port_joins_nothing,
}

const LO: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Of this host only.
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0x5357, 7);

/// A group of this process's own: on Linux, a port also receives from groups that others on the
/// host are in.
fn group() -> Ipv4Addr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(239, high, middle, low)
}

/// A port for everybody, on an address that datagrams to groups reach.
fn listen(
    reactor: &Reactor,
    address: impl Into<ropewalk::Address>,
) -> (DatagramTransport, Rc<Log>) {
    let (recorder, log) = Recorder::new();
    let shared = UdpOptions::new().reuse_port(true).reuse_address(true);
    let port = reactor.listen_udp_with(address, shared, recorder).unwrap();
    (port, log)
}

/// A port that sends to groups over loopback.
fn sender(reactor: &Reactor) -> (DatagramTransport, Rc<Log>) {
    let (port, log) = listen(reactor, "0.0.0.0:0");
    port.set_multicast_interface(LO).unwrap();
    (port, log)
}

/// The group on the member's port.
fn group_of(member: &DatagramTransport) -> SocketAddr {
    (group(), member.local_addr().ip().unwrap().port()).into()
}

fn loopback() -> Interface {
    Interface::named("lo")
        .or_else(|_| Interface::named("lo0"))
        .unwrap()
}

fn a_member_receives_what_is_sent_to_its_group(reactor: &Reactor) {
    let (member, log) = listen(reactor, "0.0.0.0:0");
    let (sender, _) = sender(reactor);
    member.join_group(group().into(), LO).unwrap();
    sender.send_to(b"all", group_of(&member)).unwrap();
    until(reactor, "a datagram", || log.received() == 1);
    let (data, from) = log.data.borrow()[0].clone();
    assert_eq!(
        (data, from.ip().unwrap().port()),
        (b"all".to_vec(), sender.local_addr().ip().unwrap().port())
    );
}

fn a_member_receives_what_is_sent_to_its_group_over_ipv6(reactor: &Reactor) {
    if !has_ipv6() {
        return;
    }
    // Linux's loopback interface has no route to IPv6 groups unless it is given one; with no hops
    // the datagram stays on this host whatever the interface.
    let one_works = [loopback(), Interface::Any].into_iter().any(|interface| {
        let (member, log) = listen(reactor, "[::]:0");
        let (sender, _) = listen(reactor, "[::]:0");
        let to = SocketAddr::from((GROUP_V6, member.local_addr().ip().unwrap().port()));
        sender.set_multicast_interface(interface).unwrap();
        sender.set_multicast_hops(0).unwrap();
        let tried = member.join_group(GROUP_V6.into(), interface);
        if tried.is_err() || sender.send_to(b"all", to).is_err() {
            return false;
        }
        until(reactor, "a datagram", || log.received() == 1);
        member.leave_group(GROUP_V6.into(), interface).unwrap();
        let again = member.leave_group(GROUP_V6.into(), interface).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AddrNotAvailable);
        true
    });
    if !one_works {
        eprintln!("skipped: the system has no way to IPv6 groups");
    }
}

fn who_left_receives_no_more(reactor: &Reactor) {
    let (member, log) = listen(reactor, "0.0.0.0:0");
    let (sender, _) = sender(reactor);
    member.join_group(group().into(), LO).unwrap();
    sender.send_to(b"1", group_of(&member)).unwrap();
    until(reactor, "a datagram", || log.received() == 1);
    member.leave_group(group().into(), LO).unwrap();
    sender.send_to(b"2", group_of(&member)).unwrap();
    settle(reactor);
    // By index it is the same interface.
    member.join_group(group().into(), loopback()).unwrap();
    sender.send_to(b"3", group_of(&member)).unwrap();
    until(reactor, "a datagram", || log.received() == 2);
    assert_eq!(log.firsts(), *b"13");
    member.leave_group(group().into(), loopback()).unwrap();
}

fn all_members_on_one_port_receive(reactor: &Reactor) {
    let (first, first_log) = listen(reactor, "0.0.0.0:0");
    let (second, second_log) = listen(
        reactor,
        ("0.0.0.0", first.local_addr().ip().unwrap().port()),
    );
    let (sender, _) = sender(reactor);
    for member in [&first, &second] {
        member.join_group(group().into(), LO).unwrap();
    }
    for number in 0..30 {
        sender.send_to(&[number], group_of(&first)).unwrap();
    }
    until(reactor, "all at both", || {
        first_log.received() == 30 && second_log.received() == 30
    });
    assert_eq!(first_log.firsts(), second_log.firsts());
    stop(reactor, &first);
    sender.send_to(b"x", group_of(&second)).unwrap();
    until(reactor, "one more", || second_log.received() == 31);
}

fn a_sender_need_not_hear_itself(reactor: &Reactor) {
    let (member, log) = listen(reactor, "0.0.0.0:0");
    // Loopback brings back what it carries whatever the option says: it takes another interface, if
    // there is one. With no hops nothing leaves this host.
    member.set_multicast_hops(0).unwrap();
    assert!(member.multicast_loop().unwrap());
    let joined = member.join_group(group().into(), Interface::Any);
    if joined.is_err() || member.send_to(b"1", group_of(&member)).is_err() {
        eprintln!("skipped: no interface but loopback has a way to groups");
        return;
    }
    until(reactor, "its own datagram", || log.received() == 1);
    member.set_multicast_loop(false).unwrap();
    assert!(!member.multicast_loop().unwrap());
    member.send_to(b"2", group_of(&member)).unwrap();
    member.set_multicast_loop(true).unwrap();
    member.send_to(b"3", group_of(&member)).unwrap();
    until(reactor, "its own datagram", || log.received() == 2);
    assert_eq!(log.firsts(), *b"13");
}

fn hops_loop_and_interface_are_told(reactor: &Reactor) {
    let (port, _) = listen(reactor, "0.0.0.0:0");
    assert_eq!(port.multicast_hops().unwrap(), 1);
    for hops in [0, 1, 32, 255] {
        port.set_multicast_hops(hops).unwrap();
        assert_eq!(port.multicast_hops().unwrap(), hops);
    }
    assert_eq!(port.multicast_interface().unwrap(), Interface::Any);
    port.set_multicast_interface(LO).unwrap();
    assert_eq!(port.multicast_interface().unwrap(), Interface::Address(LO));
    port.set_multicast_interface(Interface::Any).unwrap();
    assert_eq!(port.multicast_interface().unwrap(), Interface::Any);
}

fn hops_loop_and_interface_are_told_over_ipv6(reactor: &Reactor) {
    if !has_ipv6() {
        return;
    }
    let (port, _) = listen(reactor, "[::1]:0");
    assert_eq!(port.multicast_hops().unwrap(), 1);
    for hops in [0, 255] {
        port.set_multicast_hops(hops).unwrap();
        assert_eq!(port.multicast_hops().unwrap(), hops);
    }
    assert!(port.multicast_loop().unwrap());
    port.set_multicast_loop(false).unwrap();
    assert!(!port.multicast_loop().unwrap());
    port.set_multicast_interface(loopback()).unwrap();
    assert_eq!(port.multicast_interface().unwrap(), loopback());
    let by_address = port.set_multicast_interface(LO).unwrap_err();
    assert_eq!(by_address.kind(), io::ErrorKind::InvalidInput);
}

fn joining_twice_and_leaving_without_joining_are_refused(reactor: &Reactor) {
    let (port, _) = listen(reactor, "0.0.0.0:0");
    port.join_group(group().into(), LO).unwrap();
    let twice = port.join_group(group().into(), LO).unwrap_err();
    assert_eq!(twice.kind(), io::ErrorKind::AddrInUse);
    let other = IpAddr::from(Ipv4Addr::new(239, 255, 83, 8));
    let stranger = port.leave_group(other, LO).unwrap_err();
    assert_eq!(stranger.kind(), io::ErrorKind::AddrNotAvailable);
}

fn what_is_no_group_is_refused(reactor: &Reactor) {
    let (port, _) = listen(reactor, "0.0.0.0:0");
    for wrong in ["127.0.0.1", "10.0.0.1", "::1", "ff02::1"] {
        let wrong: IpAddr = wrong.parse().unwrap();
        for refused in [
            port.join_group(wrong, Interface::Any),
            port.leave_group(wrong, Interface::Any),
        ] {
            assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }
}

fn an_interface_that_is_not_there_is_refused(reactor: &Reactor) {
    let (port, _) = listen(reactor, "0.0.0.0:0");
    let nowhere = Ipv4Addr::new(192, 0, 2, 77);
    port.join_group(group().into(), nowhere).unwrap_err();
    port.join_group(group().into(), Interface::Index(99_999))
        .unwrap_err();
    port.set_multicast_interface(nowhere).unwrap_err();
    port.set_multicast_interface(Interface::Index(99_999))
        .unwrap_err();
    Interface::named("nosuchdevice").unwrap_err();
    Interface::named("with\0zero").unwrap_err();
}

fn a_closed_port_joins_nothing(reactor: &Reactor) {
    let (port, _) = listen(reactor, "0.0.0.0:0");
    stop(reactor, &port);
    for refused in [
        port.join_group(group().into(), LO),
        port.leave_group(group().into(), LO),
        port.set_multicast_hops(1),
        port.set_multicast_loop(true),
        port.set_multicast_interface(LO),
    ] {
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::NotConnected);
    }
}
