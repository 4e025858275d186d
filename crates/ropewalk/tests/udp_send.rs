//! Sending datagrams, over every poller.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod udp_support;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::rc::Rc;
use std::time::Duration;

use ropewalk::{AddressFault, DatagramTransport, Reactor, SendError, UdpOptions};
use rustix::net::sockopt;
use tcp_support::{over_every_poller, settle, until};
use udp_support::{Log, has_ipv6, listen, listen_with, peer, receive, replace, stop};

over_every_poller! {
    a_datagram_leaves_inside_the_call_that_sends_it,
    a_datagram_that_is_too_long_is_refused_with_its_size,
    addresses_that_cannot_be_sent_to_are_refused,
    broadcasting_needs_the_option,
    a_network_without_a_way_is_told,
    a_refused_datagram_does_not_harm_the_next,
    a_full_buffer_queues_and_drains_in_order,
    beyond_the_bound_the_newest_is_dropped_with_a_notice,
    a_bound_of_nothing_drops_at_once,
    a_notice_that_causes_another_lets_the_loop_go_on,
    what_waits_at_the_end_is_sent_or_told,
    a_paused_port_still_sends,
    a_datagram_that_no_buffer_takes_is_given_up,
}

fn kind(error: &SendError) -> &'static str {
    match error {
        SendError::TooLong { .. } => "too long",
        SendError::BadAddress { .. } => "bad address",
        SendError::Unreachable { .. } => "unreachable",
        SendError::Denied { .. } => "denied",
        SendError::NotConnected => "not connected",
        SendError::Closed => "closed",
        _ => "other",
    }
}

fn a_datagram_leaves_inside_the_call_that_sends_it(reactor: &Reactor) {
    let (port, log) = listen(reactor);
    let client = peer();
    port.send_to(b"now", client.local_addr().unwrap()).unwrap();
    // No turn was made.
    assert_eq!(receive(&client), (b"now".to_vec(), port.local_addr()));
    assert!(!port.is_full());
    assert_eq!(port.buffered_len(), 0);
    settle(reactor);
    assert_eq!(log.notices(), ["started"]);
}

fn a_datagram_that_is_too_long_is_refused_with_its_size(reactor: &Reactor) {
    let (port, _) = listen(reactor);
    let client = peer();
    let to = client.local_addr().unwrap();
    for size in [65_508, 65_535, 65_536, 70_000, 1 << 20] {
        let refused = port.send_to(&vec![0; size], to).unwrap_err();
        assert!(
            matches!(refused, SendError::TooLong { size: told } if told == size),
            "{size}: {refused}"
        );
        assert!(refused.to_string().contains(&size.to_string()));
    }
    if has_ipv6() {
        let (recorder, _) = udp_support::Recorder::new();
        let six = reactor.listen_udp("[::1]:0", recorder).unwrap();
        six.send_to(&[0; 65_527], six.local_addr()).unwrap();
        let refused = six.send_to(&[0; 65_528], six.local_addr()).unwrap_err();
        assert_eq!(kind(&refused), "too long");
    }
    port.send_to(&[1; 65_507], to).unwrap();
    assert_eq!(receive(&client).0.len(), 65_507);
}

fn addresses_that_cannot_be_sent_to_are_refused(reactor: &Reactor) {
    let (port, _) = listen(reactor);
    let fault = |to: &str| match port.send_to(b"x", to.parse::<SocketAddr>().unwrap()) {
        Err(SendError::BadAddress { to: told, fault }) => {
            assert_eq!(told, to.parse::<SocketAddr>().unwrap());
            fault
        }
        other => panic!("{to}: {other:?}"),
    };
    assert_eq!(fault("[::1]:9"), AddressFault::WrongFamily);
    assert_eq!(fault("127.0.0.1:0"), AddressFault::PortZero);
    let nobody = port.send(b"x").unwrap_err();
    assert_eq!(kind(&nobody), "not connected");
    if has_ipv6() {
        let (recorder, _) = udp_support::Recorder::new();
        let six = reactor.listen_udp("[::1]:0", recorder).unwrap();
        let refused = six.send_to(b"x", "127.0.0.1:9".parse::<SocketAddr>().unwrap());
        assert_eq!(kind(&refused.unwrap_err()), "bad address");
    }
}

fn broadcasting_needs_the_option(reactor: &Reactor) {
    let everybody: SocketAddr = "127.255.255.255:9".parse::<SocketAddr>().unwrap();
    let (port, _) = listen(reactor);
    let refused = port.send_to(b"x", everybody).unwrap_err();
    assert!(
        matches!(&refused, SendError::Denied { to, .. } if *to == everybody),
        "{refused}"
    );
    assert!(!port.broadcast().unwrap());
    port.set_broadcast(true).unwrap();
    port.send_to(b"x", everybody).unwrap();
    let options = UdpOptions::new().broadcast(true);
    let (port, _) = listen_with(reactor, options, |_, _| {});
    assert!(port.broadcast().unwrap());
    port.send_to(b"x", everybody).unwrap();
}

fn a_network_without_a_way_is_told(reactor: &Reactor) {
    // From the loopback address, nobody outside is reached.
    let (port, _) = listen(reactor);
    let outside: SocketAddr = "192.0.2.1:9".parse::<SocketAddr>().unwrap();
    let refused = port.send_to(b"x", outside).unwrap_err();
    assert!(
        matches!(kind(&refused), "unreachable" | "bad address"),
        "{refused}"
    );
    if has_ipv6() {
        let (recorder, _) = udp_support::Recorder::new();
        let only = UdpOptions::new().v6_only(true);
        let six = reactor.listen_udp_with("[::]:0", only, recorder).unwrap();
        let refused = six.send_to(b"x", "[::ffff:127.0.0.1]:9".parse::<SocketAddr>().unwrap());
        assert_eq!(kind(&refused.unwrap_err()), "unreachable");
    }
}

fn a_refused_datagram_does_not_harm_the_next(reactor: &Reactor) {
    let (port, log) = listen(reactor);
    let client = peer();
    let to = client.local_addr().unwrap();
    port.send_to(&[0; 70_000], to).unwrap_err();
    port.send_to(b"x", "127.0.0.1:0".parse::<SocketAddr>().unwrap())
        .unwrap_err();
    port.send_to(b"fine", to).unwrap();
    assert_eq!(receive(&client).0, b"fine");
    client.send_to(b"too", port.local_addr()).unwrap();
    until(reactor, "a datagram", || log.received() == 1);
    assert_eq!(log.notices(), ["started"]);
}

/// A port whose datagrams stay in its own buffer until they are received. Over loopback they do not:
/// what the receiver has no room for is dropped. Those of UNIX sockets do, so a connected one takes
/// the place of the port's, under its number, before the poller knows of it.
struct Slow {
    port: DatagramTransport,
    log: Rc<Log>,
    end: UnixDatagram,
}

impl Slow {
    fn new(
        reactor: &Reactor,
        options: UdpOptions,
        hook: impl FnMut(&'static str, Option<&DatagramTransport>) + 'static,
    ) -> Self {
        let (port, log) = listen_with(reactor, options, hook);
        port.connect(peer().local_addr().unwrap()).unwrap();
        let (ours, end) = UnixDatagram::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        // Room for some ten datagrams.
        sockopt::set_socket_send_buffer_size(&ours, 5_000).unwrap();
        end.set_nonblocking(true).unwrap();
        port.with_fd(|fd| replace(fd, &ours)).unwrap();
        Self { port, log, end }
    }

    /// Sends numbered datagrams until the system takes no more, and `more` after that. Answers how
    /// many.
    fn fill(&self, more: u8) -> u8 {
        let mut number = 0;
        while !self.port.is_full() {
            self.port.send(&[number; 100]).unwrap();
            number += 1;
        }
        for _ in 0..more {
            self.port.send(&[number; 100]).unwrap();
            number += 1;
        }
        number
    }

    /// The numbers that have arrived.
    fn arrived(&self) -> Vec<u8> {
        let mut buffer = [0; 200];
        let mut numbers = Vec::new();
        while let Ok(length) = self.end.recv(&mut buffer) {
            assert_eq!(length, 100);
            numbers.push(buffer[0]);
        }
        numbers
    }

    /// Receives while the reactor turns, until the port has drained.
    fn drain(&self, reactor: &Reactor) -> Vec<u8> {
        let arrived = RefCell::new(Vec::new());
        until(reactor, "the queue is sent", || {
            arrived.borrow_mut().extend(self.arrived());
            !self.port.is_full()
        });
        arrived
            .into_inner()
            .into_iter()
            .chain(self.arrived())
            .collect()
    }
}

fn a_full_buffer_queues_and_drains_in_order(reactor: &Reactor) {
    let slow = Slow::new(reactor, UdpOptions::new(), |_, _| {});
    let sent = slow.fill(20);
    assert!(slow.port.is_full());
    assert_eq!(
        slow.port.buffered_len(),
        21 * 100,
        "the refused one and twenty"
    );
    settle(reactor);
    assert_eq!(slow.log.notices(), ["started"], "nothing moved");
    assert_eq!(slow.drain(reactor), (0..sent).collect::<Vec<_>>());
    until(reactor, "the notice", || slow.log.has("drained"));
    settle(reactor);
    assert_eq!(slow.log.notices(), ["started", "drained"]);
    assert_eq!(slow.port.buffered_len(), 0);
    slow.port.send(&[9; 100]).unwrap();
    assert_eq!(slow.arrived(), [9], "at once again");
}

fn beyond_the_bound_the_newest_is_dropped_with_a_notice(reactor: &Reactor) {
    let options = UdpOptions::new().queue_bound(5 * (100 + 64));
    let slow = Slow::new(reactor, options, |_, _| {});
    let sent = slow.fill(12);
    assert_eq!(slow.port.buffered_len(), 5 * 100);
    assert_eq!(slow.log.count("dropped"), 0, "in a later step");
    until(reactor, "the notice", || slow.log.has("dropped"));
    assert_eq!((slow.log.count("dropped"), slow.log.dropped.get()), (1, 8));
    assert_eq!(slow.drain(reactor), (0..sent - 8).collect::<Vec<_>>());
}

fn a_bound_of_nothing_drops_at_once(reactor: &Reactor) {
    let slow = Slow::new(reactor, UdpOptions::new().queue_bound(0), |_, _| {});
    let sent = slow.fill(3);
    settle(reactor);
    assert_eq!(slow.log.dropped.get(), 4);
    assert!(slow.port.is_full());
    assert_eq!(slow.drain(reactor), (0..sent - 4).collect::<Vec<_>>());
    until(reactor, "the notice", || slow.log.has("drained"));
}

fn a_notice_that_causes_another_lets_the_loop_go_on(reactor: &Reactor) {
    let hook = |event, transport: Option<&DatagramTransport>| {
        if let ("dropped", Some(transport)) = (event, transport) {
            transport.send(&[0; 100]).unwrap();
        }
    };
    let slow = Slow::new(reactor, UdpOptions::new().queue_bound(0), hook);
    slow.fill(1);
    for turns in 1..5 {
        reactor.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(slow.log.count("dropped"), turns, "one in each turn");
    }
}

fn what_waits_at_the_end_is_sent_or_told(reactor: &Reactor) {
    let slow = Slow::new(reactor, UdpOptions::new(), |_, _| {});
    let sent = slow.fill(3);
    let first = slow.arrived();
    assert_eq!(first.len(), usize::from(sent) - 4);
    // There is room for what waits, which is offered once more.
    stop(reactor, &slow.port);
    assert_eq!(slow.arrived(), (sent - 4..sent).collect::<Vec<_>>());
    assert_eq!(slow.log.notices(), ["started", "stopped"]);

    let slow = Slow::new(reactor, UdpOptions::new(), |_, _| {});
    slow.fill(3);
    stop(reactor, &slow.port);
    assert_eq!(slow.log.notices(), ["started", "dropped", "stopped"]);
    assert_eq!((slow.log.dropped.get(), slow.port.buffered_len()), (4, 0));
}

fn a_paused_port_still_sends(reactor: &Reactor) {
    let slow = Slow::new(reactor, UdpOptions::new(), |_, _| {});
    slow.port.pause_receiving();
    let sent = slow.fill(5);
    assert_eq!(slow.drain(reactor), (0..sent).collect::<Vec<_>>());
    until(reactor, "the notice", || slow.log.has("drained"));
}

fn a_datagram_that_no_buffer_takes_is_given_up(reactor: &Reactor) {
    if !cfg!(target_os = "linux") || !has_ipv6() {
        return;
    }
    // The longest datagram has two fragments even on loopback, and both must fit into twice the
    // buffer: ENOBUFS, although the socket is writable, whatever time passes.
    let (recorder, log) = udp_support::Recorder::new();
    let small = UdpOptions::new().send_buffer(5_000);
    let port = reactor.listen_udp_with("[::1]:0", small, recorder).unwrap();
    let client = udp_support::peer_on("[::1]:0");
    let to = client.local_addr().unwrap();
    port.send_to(&[0; 65_527], to).unwrap();
    assert!(port.is_full());
    port.send_to(b"next", to).unwrap();
    assert_eq!(port.buffered_len(), 65_527 + 4);
    until(reactor, "the notices", || log.has("drained"));
    assert_eq!(log.notices(), ["started", "dropped", "drained"]);
    assert_eq!(log.dropped.get(), 1);
    assert_eq!(receive(&client).0, b"next");
}
