//! Receiving datagrams, over every poller.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod udp_support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ropewalk::{DatagramTransport, Reactor, UdpOptions};
use tcp_support::{over_every_poller, settle, until};
use udp_support::{WANTED, has_ipv6, listen, listen_hooked, listen_with, peer, peer_on, receive};

over_every_poller! {
    a_datagram_arrives_whole_and_names_its_sender,
    an_empty_datagram_is_a_datagram,
    datagrams_of_every_size_arrive,
    datagrams_arrive_over_ipv6,
    a_socket_for_both_families_hears_ipv4,
    a_burst_arrives_in_order_over_several_turns,
    a_flood_does_not_keep_the_loop_from_others,
    a_paused_port_is_silent_and_loses_nothing,
    a_port_paused_within_a_batch_gets_the_rest_later,
    a_port_paused_and_resumed_in_one_callback_goes_on,
    a_nested_turn_waits_for_the_callback,
    a_nested_turn_is_no_busy_loop,
    a_nested_turn_serves_other_ports,
    a_panic_is_reported_and_the_port_lives_on,
    a_datagram_over_the_option_is_not_handed_over,
}

type Slot = Rc<RefCell<Option<Reactor>>>;

/// A place for the reactor that hooks can reach; emptied by the test.
fn slot(reactor: &Reactor) -> Slot {
    Rc::new(RefCell::new(Some(reactor.clone())))
}

/// Lets the port's pace find out that datagrams come many at a time.
fn warm_up(reactor: &Reactor, port: &DatagramTransport, received: impl Fn() -> usize) {
    let sender = peer();
    for _ in 0..20 {
        sender.send_to(b"-", port.local_addr()).unwrap();
    }
    until(reactor, "twenty datagrams", || received() == 20);
}

fn a_datagram_arrives_whole_and_names_its_sender(reactor: &Reactor) {
    let (port, log) = listen(reactor);
    let client = peer();
    client.send_to(b"hello", port.local_addr()).unwrap();
    until(reactor, "a datagram", || log.received() == 1);
    let expected = (b"hello".to_vec(), client.local_addr().unwrap().into());
    assert_eq!(*log.data.borrow(), [expected]);
    assert_eq!(log.notices(), ["started"]);
}

fn an_empty_datagram_is_a_datagram(reactor: &Reactor) {
    let (port, log) = listen(reactor);
    let client = peer();
    for data in [&b""[..], b"x", b"", b""] {
        client.send_to(data, port.local_addr()).unwrap();
    }
    until(reactor, "four datagrams", || log.received() == 4);
    let lengths: Vec<_> = log
        .data
        .borrow()
        .iter()
        .map(|(data, _)| data.len())
        .collect();
    assert_eq!(lengths, [0, 1, 0, 0]);
}

fn datagrams_of_every_size_arrive(reactor: &Reactor) {
    let (port, log) = listen_hooked(reactor, |_, _| {});
    let client = peer();
    let steps = (0..65_507).step_by(1_021);
    let ends = [0, 1, 2, 1_472, 1_473, 65_506, 65_507];
    for (count, size) in steps.chain(ends).enumerate() {
        let data: Vec<u8> = (0..size).map(|place| (place % 251) as u8).collect();
        client.send_to(&data, port.local_addr()).unwrap();
        until(reactor, "a datagram", || log.received() > count);
        let received = log.data.borrow()[count].0 == data;
        assert!(received, "{size} bytes");
        port.send_to(&data, client.local_addr().unwrap()).unwrap();
        assert!(receive(&client).0 == data, "{size} bytes back");
    }
}

fn datagrams_arrive_over_ipv6(reactor: &Reactor) {
    if !has_ipv6() {
        return;
    }
    let (recorder, log) = udp_support::Recorder::new();
    let port = reactor.listen_udp("[::1]:0", recorder).unwrap();
    let client = peer_on("[::1]:0");
    client.send_to(&[7; 65_527], port.local_addr()).unwrap();
    until(reactor, "a datagram", || log.received() == 1);
    let (data, from) = log.data.borrow()[0].clone();
    assert_eq!(
        (data.len(), from.clone()),
        (65_527, client.local_addr().unwrap().into())
    );
    port.send_to(b"back", from).unwrap();
    assert_eq!(receive(&client), (b"back".to_vec(), port.local_addr()));
}

fn a_socket_for_both_families_hears_ipv4(reactor: &Reactor) {
    if !has_ipv6() {
        return;
    }
    let (recorder, log) = udp_support::Recorder::new();
    let both = UdpOptions::new().v6_only(false);
    let port = reactor.listen_udp_with("[::]:0", both, recorder).unwrap();
    let client = peer();
    client
        .send_to(
            b"four",
            ("127.0.0.1", port.local_addr().ip().unwrap().port()),
        )
        .unwrap();
    until(reactor, "a datagram", || log.received() == 1);
    let (_, from) = log.data.borrow()[0].clone();
    assert_eq!(from.ip().unwrap().ip().to_string(), "::ffff:127.0.0.1");
    port.send_to(b"back", from).unwrap();
    assert_eq!(receive(&client).0, b"back");
}

fn a_burst_arrives_in_order_over_several_turns(reactor: &Reactor) {
    let (port, log) = listen(reactor);
    let client = peer();
    for number in 0..150 {
        client.send_to(&[number; 10], port.local_addr()).unwrap();
    }
    until(reactor, "the burst", || log.received() == 150);
    assert_eq!(log.firsts(), (0..150).collect::<Vec<_>>());
}

fn a_flood_does_not_keep_the_loop_from_others(reactor: &Reactor) {
    // Each datagram is sent on to the port itself, so that it is never drained.
    let (port, log) = listen_hooked(reactor, |event, transport| {
        if let ("data", Some(transport)) = (event, transport) {
            transport.send_to(b"again", transport.local_addr()).unwrap();
        }
    });
    for _ in 0..40 {
        port.send_to(b"first", port.local_addr()).unwrap();
    }
    let mut most = 0;
    for _ in 0..40 {
        let before = log.received();
        reactor.turn(Some(Duration::ZERO)).unwrap();
        most = most.max(log.received() - before);
    }
    assert!((32..=128).contains(&most), "{most} in one turn");
}

fn a_paused_port_is_silent_and_loses_nothing(reactor: &Reactor) {
    let (port, log) = listen(reactor);
    let client = peer();
    port.pause_receiving();
    assert!(port.is_paused());
    for number in 0..10 {
        client.send_to(&[number], port.local_addr()).unwrap();
    }
    settle(reactor);
    assert_eq!(log.received(), 0);
    port.resume_receiving();
    assert!(!port.is_paused() && log.received() == 0, "in a later step");
    until(reactor, "ten datagrams", || log.received() == 10);
    assert_eq!(log.firsts(), (0..10).collect::<Vec<_>>());
}

fn a_port_paused_within_a_batch_gets_the_rest_later(reactor: &Reactor) {
    let armed = Rc::new(Cell::new(false));
    let hook_armed = Rc::clone(&armed);
    let (port, log) = listen_hooked(reactor, move |event, transport| {
        if let ("data", Some(transport), true) = (event, transport, hook_armed.get()) {
            transport.pause_receiving();
        }
    });
    warm_up(reactor, &port, || log.received());
    armed.set(true);
    let client = peer();
    for number in 0..10 {
        client.send_to(&[number], port.local_addr()).unwrap();
    }
    for number in 1..=10 {
        until(reactor, "one more", || log.received() == 20 + number);
        settle(reactor);
        assert_eq!(log.received(), 20 + number, "it is paused");
        port.resume_receiving();
    }
    assert_eq!(log.firsts()[20..], (0..10).collect::<Vec<_>>());
}

fn a_port_paused_and_resumed_in_one_callback_goes_on(reactor: &Reactor) {
    let (port, log) = listen_hooked(reactor, |_, transport| {
        if let Some(transport) = transport {
            transport.pause_receiving();
            transport.resume_receiving();
        }
    });
    warm_up(reactor, &port, || log.received());
    assert_eq!(log.received(), 20);
}

fn a_nested_turn_waits_for_the_callback(reactor: &Reactor) {
    let inner = slot(reactor);
    let hook_inner = Rc::clone(&inner);
    // The recorder fails when callbacks overlap.
    let (port, log) = listen_hooked(reactor, move |event, _| {
        if event == "data" {
            let reactor = hook_inner.borrow().clone().unwrap();
            reactor.turn(Some(Duration::ZERO)).unwrap();
            reactor.turn(Some(Duration::ZERO)).unwrap();
        }
    });
    let client = peer();
    for number in 0..60 {
        client.send_to(&[number], port.local_addr()).unwrap();
    }
    until(reactor, "all datagrams", || log.received() == 60);
    assert_eq!(log.firsts(), (0..60).collect::<Vec<_>>());
    inner.take();
}

fn a_nested_turn_is_no_busy_loop(reactor: &Reactor) {
    let inner = slot(reactor);
    let (hook_inner, waited) = (Rc::clone(&inner), Rc::new(Cell::new(None)));
    let hook_waited = Rc::clone(&waited);
    let wait = Duration::from_millis(20);
    let (port, log) = listen_hooked(reactor, move |event, _| {
        if event == "data" && hook_waited.get().is_none() {
            let reactor = hook_inner.borrow().clone().unwrap();
            let start = Instant::now();
            for _ in 0..4 {
                reactor.turn(Some(wait)).unwrap();
            }
            hook_waited.set(Some(start.elapsed()));
        }
    });
    let client = peer();
    for _ in 0..3 {
        client.send_to(b"x", port.local_addr()).unwrap();
    }
    until(reactor, "all datagrams", || log.received() == 3);
    let waited = waited.get().unwrap();
    assert!(
        waited >= wait,
        "the datagrams behind are not asked for: {waited:?}"
    );
    inner.take();
}

fn a_nested_turn_serves_other_ports(reactor: &Reactor) {
    let inner = slot(reactor);
    let (other, other_log) = listen(reactor);
    let (hook_inner, address, heard) =
        (Rc::clone(&inner), other.local_addr(), Rc::clone(&other_log));
    let (port, log) = listen_hooked(reactor, move |event, transport| {
        if let ("data", Some(transport)) = (event, transport) {
            transport.send_to(b"inner", address.clone()).unwrap();
            let reactor = hook_inner.borrow().clone().unwrap();
            until(&reactor, "the inner datagram", || heard.received() > 0);
        }
    });
    peer().send_to(b"outer", port.local_addr()).unwrap();
    until(reactor, "the outer datagram", || log.received() == 1);
    assert_eq!(other_log.data.borrow()[0].0, b"inner");
    inner.take();
}

fn a_panic_is_reported_and_the_port_lives_on(reactor: &Reactor) {
    let failures = Rc::new(Cell::new(0));
    let reported = Rc::clone(&failures);
    reactor.on_failure(move |failure| {
        assert_eq!(failure.during(), "a protocol's datagram_received");
        reported.set(reported.get() + 1);
    });
    let (port, log) = listen_hooked(reactor, |event, _| {
        assert_ne!(event, "data", "{WANTED}");
    });
    let client = peer();
    for _ in 0..40 {
        client.send_to(b"boom", port.local_addr()).unwrap();
    }
    until(reactor, "all datagrams", || log.received() == 40);
    assert_eq!(failures.get(), 40);
    assert!(port.is_listening());
}

fn a_datagram_over_the_option_is_not_handed_over(reactor: &Reactor) {
    let options = UdpOptions::new().max_datagram(100);
    let (port, log) = listen_with(reactor, options, |_, _| {});
    let client = peer();
    for size in [101, 100, 5_000, 0] {
        client.send_to(&vec![1; size], port.local_addr()).unwrap();
    }
    until(reactor, "two datagrams", || log.received() == 2);
    settle(reactor);
    let lengths: Vec<_> = log
        .data
        .borrow()
        .iter()
        .map(|(data, _)| data.len())
        .collect();
    assert_eq!(lengths, [100, 0]);
    let refused = port.send_to(&[0; 101], client.local_addr().unwrap());
    assert!(matches!(
        refused,
        Err(ropewalk::SendError::TooLong { size: 101 })
    ));
}
