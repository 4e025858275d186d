//! Connectors, over every poller.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::Duration;

use ropewalk::{
    ConnectErrorKind, ConnectOptions, Connector, ConnectorState, Misuse, Protocol, Reactor,
};
use tcp_support::client::Client;
use tcp_support::{Log, over_every_poller, settle, until};

over_every_poller! {
    a_connection_is_made_and_lost_in_order,
    nothing_happens_before_the_next_turn,
    a_refused_connection_says_so,
    a_connection_that_is_never_answered_times_out,
    a_local_address_that_is_not_ours_cannot_be_bound,
    a_connection_comes_from_the_bound_address,
    an_attempt_can_be_given_up_at_any_point,
    reconnecting_in_the_callback_keeps_the_factory_started,
    reconnecting_after_a_refusal_works_too,
    an_attempt_that_is_over_before_its_start_is_told_is_only_a_failure,
    a_connector_is_used_for_one_thing_at_a_time,
    a_factory_without_protocol_closes_in_order,
    a_factory_that_panics_fails_the_attempt,
    a_protocol_that_panics_in_connection_made_is_lost,
    disconnecting_while_the_protocol_is_made_closes_it,
    a_nested_turn_inside_a_factory_is_safe,
    the_reactors_end_gives_attempts_up,
    ipv6_destinations_work,
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address that nobody listens on: bound, so that nobody else takes it.
fn closed_port() -> (socket::Bound, SocketAddr) {
    socket::bound()
}

mod socket {
    use std::net::SocketAddr;
    use std::os::fd::OwnedFd;

    use rustix::net::{AddressFamily, SocketType};

    /// A socket that is bound and does not listen.
    pub(crate) struct Bound(#[allow(dead_code, reason = "held for its address")] OwnedFd);

    pub(crate) fn bound() -> (Bound, SocketAddr) {
        let fd = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        rustix::net::bind(&fd, &any).unwrap();
        let address = rustix::net::getsockname(&fd).unwrap().try_into().unwrap();
        (Bound(fd), address)
    }
}

fn a_connection_is_made_and_lost_in_order(reactor: &Reactor) {
    let (listener, address) = listener();
    let log = Log::new();
    let (client, notes) = Client::new(&log);
    let connector = reactor.connect_tcp(address, client).unwrap();
    until(reactor, "the connection", || log.is_connected());
    assert_eq!(connector.state(), ConnectorState::Connected);
    let (peer, from) = listener.accept().unwrap();
    let transport = connector.transport().unwrap();
    assert_eq!(
        (transport.peer_addr(), transport.local_addr().unwrap()),
        (address.into(), from.into())
    );
    drop(peer);
    until(reactor, "the end", || notes.has("stopped"));
    assert_eq!(
        notes.events.borrow().as_slice(),
        [
            "started",
            "connecting",
            "build",
            "made",
            "lost",
            "client lost",
            "stopped"
        ]
    );
    assert!(notes.reason.borrow().as_ref().unwrap().is_clean());
    assert_eq!(
        (connector.state(), connector.transport().is_none()),
        (ConnectorState::Disconnected, true)
    );
    assert_eq!(
        reactor.delayed_call_count(),
        0,
        "no time limit is left behind"
    );
}

fn nothing_happens_before_the_next_turn(reactor: &Reactor) {
    let (listener, address) = listener();
    listener.set_nonblocking(true).unwrap();
    let log = Log::new();
    let (client, notes) = Client::new(&log);
    let connector = reactor.connect_tcp(address, client).unwrap();
    assert_eq!(connector.state(), ConnectorState::Connecting);
    assert_eq!(notes.events.borrow().as_slice(), ["started", "connecting"]);
    assert!(listener.accept().is_err());
    until(reactor, "the connection", || log.is_connected());
}

fn a_refused_connection_says_so(reactor: &Reactor) {
    let (_bound, address) = closed_port();
    let (client, notes) = Client::new(&Log::new());
    let connector = reactor.connect_tcp(address, client).unwrap();
    until(reactor, "the refusal", || notes.has("stopped"));
    assert_eq!(notes.kind(), ConnectErrorKind::Refused);
    let error = notes.error.borrow();
    let said = error.as_ref().unwrap().io_error().unwrap();
    assert_eq!(said.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(said.raw_os_error().is_some(), "errno is kept");
    assert_eq!(connector.state(), ConnectorState::Disconnected);
    assert_eq!(
        notes.events.borrow().as_slice(),
        ["started", "connecting", "failed", "stopped"]
    );
    assert_eq!(reactor.delayed_call_count(), 0);
}

/// A listener whose queue is full: further connections are not answered.
fn unanswering() -> (TcpListener, Vec<std::net::TcpStream>, SocketAddr) {
    let (listener, address) = listener();
    rustix::net::listen(&listener, 0).unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(50))
    {
        waiting.push(stream);
    }
    (listener, waiting, address)
}

fn a_connection_that_is_never_answered_times_out(reactor: &Reactor) {
    let (_listener, _waiting, address) = unanswering();
    let (client, notes) = Client::new(&Log::new());
    let options = ConnectOptions::new().timeout(Duration::from_millis(30));
    let begun = reactor.now();
    reactor.connect_tcp_with(address, options, client).unwrap();
    until(reactor, "the time limit", || notes.has("failed"));
    assert!(reactor.now() - begun >= Duration::from_millis(30));
    assert_eq!(notes.kind(), ConnectErrorKind::Timeout);
}

fn a_local_address_that_is_not_ours_cannot_be_bound(reactor: &Reactor) {
    let (_listener, address) = listener();
    let (client, notes) = Client::new(&Log::new());
    // TEST-NET-1 (RFC 5737) is nobody's.
    let options = ConnectOptions::new().bind("192.0.2.1:0".parse().unwrap());
    reactor.connect_tcp_with(address, options, client).unwrap();
    assert!(!notes.has("failed"), "told later");
    until(reactor, "the failure", || notes.has("failed"));
    assert_eq!(notes.kind(), ConnectErrorKind::Bind);
}

fn a_connection_comes_from_the_bound_address(reactor: &Reactor) {
    let (listener, address) = listener();
    let log = Log::new();
    let (client, _) = Client::new(&log);
    let options = ConnectOptions::new().bind("127.0.0.2:0".parse().unwrap());
    reactor.connect_tcp_with(address, options, client).unwrap();
    until(reactor, "the connection", || log.is_connected());
    assert_eq!(listener.accept().unwrap().1.ip().to_string(), "127.0.0.2");
}

fn an_attempt_can_be_given_up_at_any_point(reactor: &Reactor) {
    let (_listener, _waiting, address) = unanswering();
    for turns in 0..3 {
        let (client, notes) = Client::new(&Log::new());
        let connector = reactor.connect_tcp(address, client).unwrap();
        (0..turns).for_each(|_| reactor.turn(Some(Duration::ZERO)).unwrap());
        connector.stop_connecting().unwrap();
        assert_eq!(notes.kind(), ConnectErrorKind::Cancelled);
        assert_eq!(connector.stop_connecting(), Err(Misuse::NotConnecting));
        settle(reactor);
        assert_eq!(
            notes.events.borrow().as_slice(),
            ["started", "connecting", "failed", "stopped"]
        );
    }
    let (client, notes) = Client::new(&Log::new());
    let client = client.hook(|event, connector| {
        if let ("connecting", Some(connector)) = (event, connector) {
            connector.stop_connecting().unwrap();
        }
    });
    reactor.connect_tcp(address, client).unwrap();
    assert_eq!(
        notes.kind(),
        ConnectErrorKind::Cancelled,
        "in started_connecting already"
    );
    assert_eq!(reactor.delayed_call_count(), 0);
}

fn reconnecting_in_the_callback_keeps_the_factory_started(reactor: &Reactor) {
    let (listener, address) = listener();
    let log = Log::new();
    let (client, notes) = Client::new(&log);
    let again = Cell::new(2);
    let seen = Rc::clone(&log);
    let client = client.hook(move |event, connector| {
        if let ("client lost", Some(connector)) = (event, connector) {
            if again.get() > 0 {
                again.set(again.get() - 1);
                *seen.reason.borrow_mut() = None;
                connector.connect().unwrap();
                assert_eq!(connector.state(), ConnectorState::Connecting);
            }
        }
    });
    reactor.connect_tcp(address, client).unwrap();
    for round in 1..=3 {
        let built = || {
            notes
                .events
                .borrow()
                .iter()
                .filter(|event| **event == "made")
                .count()
        };
        until(reactor, "a connection", || built() == round);
        drop(listener.accept().unwrap());
    }
    until(reactor, "the end", || notes.has("stopped"));
    let events = notes.events.borrow();
    let count = |name: &str| events.iter().filter(|event| **event == name).count();
    assert_eq!(
        (count("started"), count("stopped"), count("connecting")),
        (1, 1, 3)
    );
    assert_eq!((count("lost"), count("client lost")), (3, 3));
}

fn reconnecting_after_a_refusal_works_too(reactor: &Reactor) {
    let (_bound, address) = closed_port();
    let (client, notes) = Client::new(&Log::new());
    let again = Cell::new(5);
    let client = client.hook(move |event, connector| {
        if let ("failed", Some(connector)) = (event, connector) {
            if again.get() > 0 {
                again.set(again.get() - 1);
                connector.connect().unwrap();
            }
        }
    });
    reactor.connect_tcp(address, client).unwrap();
    until(reactor, "the last refusal", || notes.has("stopped"));
    let failed = notes
        .events
        .borrow()
        .iter()
        .filter(|event| **event == "failed")
        .count();
    assert_eq!(failed, 6);
}

fn an_attempt_that_is_over_before_its_start_is_told_is_only_a_failure(reactor: &Reactor) {
    let (_bound, address) = closed_port();
    let (client, notes) = Client::new(&Log::new());
    let again = Cell::new(true);
    let client = client.hook(move |event, connector| {
        if let ("failed", Some(connector)) = (event, connector) {
            if again.replace(false) {
                connector.connect().unwrap();
                connector.stop_connecting().unwrap();
            }
        }
    });
    reactor.connect_tcp(address, client).unwrap();
    until(reactor, "the end", || notes.has("stopped"));
    settle(reactor);
    let expected = ["started", "connecting", "failed", "failed", "stopped"];
    assert_eq!(notes.events.borrow().as_slice(), expected);
}

fn a_connector_is_used_for_one_thing_at_a_time(reactor: &Reactor) {
    let (_listener, address) = listener();
    let log = Log::new();
    let (client, notes) = Client::new(&log);
    let connector = reactor.connect_tcp(address, client).unwrap();
    assert_eq!(connector.connect(), Err(Misuse::ConnectorInUse));
    until(reactor, "the connection", || log.is_connected());
    assert_eq!(connector.connect(), Err(Misuse::ConnectorInUse));
    assert_eq!(connector.stop_connecting(), Err(Misuse::NotConnecting));
    connector.disconnect();
    until(reactor, "the end", || notes.has("stopped"));
    connector.disconnect();
    assert_eq!(connector.destination().socket_addr(), Some(address));
}

fn a_factory_without_protocol_closes_in_order(reactor: &Reactor) {
    let (listener, address) = listener();
    let (mut client, notes) = Client::new(&Log::new());
    client.refuse = true;
    reactor.connect_tcp(address, client).unwrap();
    until(reactor, "the end", || notes.has("stopped"));
    assert_eq!(
        notes.events.borrow().as_slice(),
        ["started", "connecting", "build", "client lost", "stopped"]
    );
    let mut peer = listener.accept().unwrap().0;
    assert_eq!(std::io::Read::read(&mut peer, &mut [0; 8]).unwrap(), 0);
}

fn a_factory_that_panics_fails_the_attempt(reactor: &Reactor) {
    reactor.on_failure(|_| ());
    let (_listener, address) = listener();
    let (client, notes) = Client::new(&Log::new());
    let client = client.hook(|event, _| assert_ne!(event, "build", "panic on purpose"));
    let connector = reactor.connect_tcp(address, client).unwrap();
    until(reactor, "the failure", || notes.has("stopped"));
    assert_eq!(notes.kind(), ConnectErrorKind::NoProtocol);
    assert_eq!(connector.state(), ConnectorState::Disconnected);
}

fn a_protocol_that_panics_in_connection_made_is_lost(reactor: &Reactor) {
    reactor.on_failure(|_| ());
    struct Panics;
    impl Protocol for Panics {
        fn connection_made(&mut self, _: &ropewalk::Transport) {
            panic!("panic on purpose");
        }
        fn data_received(&mut self, _: &ropewalk::Transport, _: &[u8]) {}
    }
    let (listener, address) = listener();
    let connector = reactor.connect_tcp(address, |_| Panics).unwrap();
    until(reactor, "the end", || {
        connector.state() == ConnectorState::Disconnected
    });
    let mut peer = listener.accept().unwrap().0;
    assert_eq!(std::io::Read::read(&mut peer, &mut [0; 8]).unwrap(), 0);
}

fn disconnecting_while_the_protocol_is_made_closes_it(reactor: &Reactor) {
    let (_listener, address) = listener();
    let (client, notes) = Client::new(&Log::new());
    let slot: Rc<RefCell<Option<Connector>>> = Rc::default();
    let held = Rc::clone(&slot);
    let client = client.hook(move |event, connector| match connector {
        Some(connector) if event == "connecting" => *held.borrow_mut() = Some(connector.clone()),
        None if event == "build" => held.borrow().as_ref().unwrap().disconnect(),
        _ => {}
    });
    reactor.connect_tcp(address, client).unwrap();
    until(reactor, "the end", || notes.has("stopped"));
    assert!(notes.reason.borrow().as_ref().unwrap().is_clean());
    slot.take();
}

fn a_nested_turn_inside_a_factory_is_safe(reactor: &Reactor) {
    let (listener, address) = listener();
    let log = Log::new();
    let (client, notes) = Client::new(&log);
    let inner = reactor.clone();
    let client = client.hook(move |_, _| settle(&inner));
    let connector = reactor.connect_tcp(address, client).unwrap();
    until(reactor, "the connection", || log.is_connected());
    drop(listener.accept().unwrap());
    until(reactor, "the end", || notes.has("stopped"));
    assert_eq!(
        notes.events.borrow().as_slice(),
        [
            "started",
            "connecting",
            "build",
            "made",
            "lost",
            "client lost",
            "stopped"
        ]
    );
    assert_eq!(connector.state(), ConnectorState::Disconnected);
}

fn the_reactors_end_gives_attempts_up(reactor: &Reactor) {
    let (_listener, _waiting, address) = unanswering();
    let (client, notes) = Client::new(&Log::new());
    let connector = reactor.connect_tcp(address, client).unwrap();
    settle(reactor);
    assert_eq!(connector.state(), ConnectorState::Connecting);
    reactor.disconnect_all();
    assert_eq!(notes.kind(), ConnectErrorKind::Cancelled);
    assert_eq!(connector.state(), ConnectorState::Disconnected);
}

fn ipv6_destinations_work(reactor: &Reactor) {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        eprintln!("no IPv6 here");
        return;
    };
    let log = Log::new();
    let (client, _) = Client::new(&log);
    reactor
        .connect_tcp(listener.local_addr().unwrap(), client)
        .unwrap();
    until(reactor, "the connection", || log.is_connected());
    assert!(log.transport().peer_addr().ip().unwrap().is_ipv6());
}
