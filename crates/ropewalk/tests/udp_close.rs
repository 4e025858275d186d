//! How UDP sockets begin and end, over every poller.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod udp_support;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::net::UdpSocket;
use std::rc::Rc;
use std::time::Duration;

use ropewalk::{DatagramTransport, Disconnect, Error, Reactor, SendError, UdpOptions};
use rustix::net::sockopt;
use tcp_support::{over_every_poller, settle, until};
use udp_support::{
    Recorder, WANTED, has_ipv6, listen, listen_hooked, listen_with, peer, replace, stop,
};
use variant::Variant;

over_every_poller! {
    an_address_in_use_is_refused,
    an_address_that_is_not_ours_is_refused,
    a_name_is_no_address_to_listen_on,
    a_full_table_of_descriptors_is_told,
    options_reach_the_socket,
    an_interface_that_is_not_there_is_refused,
    two_listeners_share_a_port,
    stopping_closes_the_socket_in_a_later_step,
    stopping_twice_ends_both,
    a_port_may_be_stopped_in_each_callback,
    a_port_stopped_within_a_batch_hears_no_more,
    a_port_stopped_and_closed_in_a_nested_turn_is_told_after_its_callback,
    a_panic_in_stopped_reaches_whoever_waits,
    a_panic_in_started_is_reported,
    a_closed_port_takes_nothing,
    a_port_outlives_its_handle,
    a_shutdown_closes_the_port,
    a_disconnection_within_a_callback_is_told_after_it,
    a_socket_shut_down_by_somebody_is_closed,
    an_error_that_does_not_go_by_ends_the_port,
    a_reactor_that_is_dropped_lets_go_of_its_ports,
}

fn refusal(result: ropewalk::Result<DatagramTransport>) -> io::ErrorKind {
    match result {
        Err(Error::CannotListen { source, .. }) => source.kind(),
        other => panic!("{other:?}"),
    }
}

fn an_address_in_use_is_refused(reactor: &Reactor) {
    let (port, _) = listen(reactor);
    let (recorder, log) = Recorder::new();
    let refused = reactor.listen_udp(port.local_addr(), recorder);
    assert_eq!(refusal(refused), io::ErrorKind::AddrInUse);
    assert!(log.notices().is_empty());
}

fn an_address_that_is_not_ours_is_refused(reactor: &Reactor) {
    let refused = reactor.listen_udp("192.0.2.1:0", Recorder::new().0);
    assert_eq!(refusal(refused), io::ErrorKind::AddrNotAvailable);
}

fn a_name_is_no_address_to_listen_on(reactor: &Reactor) {
    for text in ["example.test:80", "nonsense", "127.0.0.1"] {
        let refused = reactor.listen_udp(text, Recorder::new().0);
        assert!(
            matches!(refused, Err(Error::InvalidAddress { .. })),
            "{text}"
        );
    }
}

fn a_full_table_of_descriptors_is_told(reactor: &Reactor) {
    let mut taken = Vec::new();
    let before = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let low = rustix::process::Rlimit {
        current: Some(64),
        maximum: before.maximum,
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, low).unwrap();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    let refused = reactor.listen_udp("127.0.0.1:0", Recorder::new().0);
    rustix::process::setrlimit(rustix::process::Resource::Nofile, before).unwrap();
    drop(taken);
    let Err(Error::CannotListen { source, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(
        source.raw_os_error(),
        Some(rustix::io::Errno::MFILE.raw_os_error())
    );
}

fn options_reach_the_socket(reactor: &Reactor) {
    let (usual, _) = listen(reactor);
    let options = UdpOptions::new()
        .reuse_address(true)
        .reuse_port(true)
        .broadcast(true)
        .receive_buffer(30_000)
        .send_buffer(20_000)
        .device("lo");
    let (port, log) = listen_with(reactor, options, |_, _| {});
    let flags = |port: &DatagramTransport| {
        port.with_fd(|fd| {
            (
                sockopt::socket_reuseaddr(fd).unwrap(),
                sockopt::socket_reuseport(fd).unwrap(),
                sockopt::socket_broadcast(fd).unwrap(),
            )
        })
        .unwrap()
    };
    assert_eq!(flags(&usual), (false, false, false));
    assert_eq!(flags(&port), (true, true, true));
    let sizes = port.with_fd(|fd| {
        (
            sockopt::socket_recv_buffer_size(fd).unwrap(),
            sockopt::socket_send_buffer_size(fd).unwrap(),
        )
    });
    // Linux doubles them.
    assert!(matches!(sizes.unwrap(), (30_000 | 60_000, 20_000 | 40_000)));
    peer().send_to(b"x", port.local_addr()).unwrap();
    until(reactor, "a datagram", || log.received() == 1);
    if has_ipv6() {
        let only = UdpOptions::new().v6_only(true);
        let six = reactor.listen_udp_with("[::1]:0", only, Recorder::new().0);
        let only = six.unwrap().with_fd(|fd| sockopt::ipv6_v6only(fd));
        assert_eq!(only.unwrap(), Ok(true));
    }
}

fn an_interface_that_is_not_there_is_refused(reactor: &Reactor) {
    for name in ["nosuchdevice", "", "a-name-longer-than-any-interface-has"] {
        let options = UdpOptions::new().device(name);
        let refused = reactor.listen_udp_with("127.0.0.1:0", options, Recorder::new().0);
        assert!(matches!(refused, Err(Error::CannotListen { .. })), "{name}");
    }
}

fn two_listeners_share_a_port(reactor: &Reactor) {
    let shared = || UdpOptions::new().reuse_port(true);
    let (first, first_log) = listen_with(reactor, shared(), |_, _| {});
    let (recorder, second_log) = Recorder::new();
    let second = reactor
        .listen_udp_with(first.local_addr(), shared(), recorder)
        .unwrap();
    let clients: Vec<UdpSocket> = (0..64).map(|_| peer()).collect();
    for client in &clients {
        client.send_to(b"x", first.local_addr()).unwrap();
    }
    until(reactor, "all datagrams", || {
        first_log.received() + second_log.received() == 64
    });
    // The system spreads the peers: that all fall to one of two is as likely as 64 equal coins.
    assert!(first_log.received() > 0 && second_log.received() > 0);
    stop(reactor, &first);
    for client in &clients {
        client.send_to(b"x", second.local_addr()).unwrap();
    }
    let before = second_log.received();
    until(reactor, "all of them", || {
        second_log.received() == before + 64
    });
}

fn stopping_closes_the_socket_in_a_later_step(reactor: &Reactor) {
    let (port, log) = listen(reactor);
    let client = peer();
    client.send_to(b"unread", port.local_addr()).unwrap();
    let stopped = port.stop_listening();
    assert!(port.is_listening() && !stopped.is_ready());
    let local = port.local_addr();
    UdpSocket::bind(local.clone()).unwrap_err();
    until(reactor, "the end", || stopped.is_ready());
    assert!(!port.is_listening());
    assert_eq!(port.local_addr(), local);
    assert_eq!(log.notices(), ["started", "stopped"]);
    assert_eq!(log.received(), 0);
    assert!(matches!(log.reason(), Disconnect::Done));
    UdpSocket::bind(local).unwrap();
    assert!(port.stop_listening().is_ready());
}

fn stopping_twice_ends_both(reactor: &Reactor) {
    let (port, log) = listen(reactor);
    let (first, second) = (port.stop_listening(), port.stop_listening());
    until(reactor, "the end", || first.is_ready() && second.is_ready());
    settle(reactor);
    assert_eq!(log.count("stopped"), 1);
}

fn a_port_may_be_stopped_in_each_callback(reactor: &Reactor) {
    for callback in ["started", "data", "refused"] {
        let done = Rc::new(Cell::new(false));
        let hook_done = Rc::clone(&done);
        let (port, log) = listen_hooked(reactor, move |event, transport| {
            if let (true, Some(transport)) = (event == callback, transport) {
                let done = Rc::clone(&hook_done);
                let stopped = transport.stop_listening();
                stopped.then(move |_| done.set(true)).ignore();
            }
        });
        let gone = peer().local_addr().unwrap();
        match callback {
            "data" => drop(port.send_to(b"self", port.local_addr())),
            "refused" => {
                port.connect(gone).unwrap();
                port.send(b"anybody?").unwrap();
            }
            _ => {}
        }
        until(reactor, callback, || done.get());
        assert_eq!(log.count("stopped"), 1);
        assert_eq!(log.count(callback), 1);
    }
}

fn a_port_stopped_within_a_batch_hears_no_more(reactor: &Reactor) {
    let count = Rc::new(Cell::new(0));
    let hook_count = Rc::clone(&count);
    let (port, log) = listen_hooked(reactor, move |event, transport| {
        if let ("data", Some(transport)) = (event, transport) {
            hook_count.set(hook_count.get() + 1);
            if hook_count.get() == 25 {
                transport.stop_listening().ignore();
            }
        }
    });
    let client = peer();
    for _ in 0..60 {
        client.send_to(b"x", port.local_addr()).unwrap();
    }
    until(reactor, "the end", || log.has("stopped"));
    assert_eq!(log.received(), 25);
}

fn a_port_stopped_and_closed_in_a_nested_turn_is_told_after_its_callback(reactor: &Reactor) {
    let inner = Rc::new(RefCell::new(Some(reactor.clone())));
    let hook_inner = Rc::clone(&inner);
    // The recorder fails when callbacks overlap, or come after the end.
    let (port, log) = listen_hooked(reactor, move |event, transport| {
        if let ("data", Some(transport)) = (event, transport) {
            let reactor = hook_inner.borrow().clone().unwrap();
            let stopped = transport.stop_listening();
            until(&reactor, "the socket is closed", || {
                !transport.is_listening()
            });
            assert!(!stopped.is_ready(), "its protocol does not know yet");
            assert!(!transport.stop_listening().is_ready());
            stopped.ignore();
        }
    });
    for _ in 0..3 {
        port.send_to(b"x", port.local_addr()).unwrap();
    }
    until(reactor, "the end", || log.has("stopped"));
    assert_eq!(log.received(), 1);
    inner.take();
}

fn a_panic_in_stopped_reaches_whoever_waits(reactor: &Reactor) {
    reactor.on_failure(|failure| assert_eq!(failure.during(), "a protocol's stopped"));
    let (port, _) = listen_hooked(reactor, |event, _| {
        assert_ne!(event, "stopped", "{WANTED}");
    });
    let stopped = port.stop_listening();
    until(reactor, "the end", || stopped.is_ready());
    assert!(matches!(
        stopped.try_take().unwrap(),
        Err(Error::Panicked { .. })
    ));
    assert!(!port.is_listening());
}

fn a_panic_in_started_is_reported(reactor: &Reactor) {
    let reported = Rc::new(Cell::new(false));
    let hook_reported = Rc::clone(&reported);
    reactor.on_failure(move |failure| {
        assert_eq!(failure.during(), "a protocol's started");
        hook_reported.set(true);
    });
    let (port, log) = listen_hooked(reactor, |event, _| {
        assert_ne!(event, "started", "{WANTED}");
    });
    assert!(reported.get());
    port.send_to(b"x", port.local_addr()).unwrap();
    until(reactor, "a datagram", || log.received() == 1);
}

fn a_closed_port_takes_nothing(reactor: &Reactor) {
    let (port, _) = listen(reactor);
    let to = port.local_addr();
    stop(reactor, &port);
    assert!(matches!(port.send_to(b"x", to), Err(SendError::Closed)));
    assert!(matches!(port.send(b"x"), Err(SendError::Closed)));
    let gone = port.with_fd(|_| ()).unwrap_err();
    assert_eq!(gone.kind(), io::ErrorKind::NotConnected);
    port.pause_receiving();
    port.resume_receiving();
    assert!(!port.is_full());
    settle(reactor);
}

fn a_port_outlives_its_handle(reactor: &Reactor) {
    let (port, log) = listen(reactor);
    let to = port.local_addr();
    drop(port);
    peer().send_to(b"x", to).unwrap();
    until(reactor, "a datagram", || log.received() == 1);
}

fn a_shutdown_closes_the_port(reactor: &Reactor) {
    let (port, log) = listen(reactor);
    reactor.call_later(Duration::ZERO, |reactor| reactor.stop().unwrap());
    variant::run(reactor).unwrap();
    assert_eq!(log.notices(), ["started", "stopped"]);
    assert!(matches!(log.reason(), Disconnect::Shutdown));
    assert!(!port.is_listening());
}

fn a_disconnection_within_a_callback_is_told_after_it(reactor: &Reactor) {
    let inner = Rc::new(RefCell::new(Some(reactor.clone())));
    let hook_inner = Rc::clone(&inner);
    let (port, log) = listen_hooked(reactor, move |event, _| {
        if event == "data" {
            hook_inner.borrow().clone().unwrap().disconnect_all();
        }
    });
    port.send_to(b"x", port.local_addr()).unwrap();
    until(reactor, "the end", || log.has("stopped"));
    assert_eq!(log.notices(), ["started", "stopped"]);
    inner.take();
}

fn a_socket_shut_down_by_somebody_is_closed(reactor: &Reactor) {
    if !matches!(
        reactor.poller_kind(),
        ropewalk::PollerKind::Epoll | ropewalk::PollerKind::Poll
    ) {
        // The others do not tell a hang-up from something to receive.
        return;
    }
    let (port, log) = listen(reactor);
    port.connect(peer().local_addr().unwrap()).unwrap();
    port.with_fd(|fd| rustix::net::shutdown(fd, rustix::net::Shutdown::Both))
        .unwrap()
        .unwrap();
    until(reactor, "the end", || log.has("stopped"));
    assert!(matches!(log.reason(), Disconnect::Lost(_)));
}

fn an_error_that_does_not_go_by_ends_the_port(reactor: &Reactor) {
    let (port, log) = listen(reactor);
    let (input, output) = rustix::pipe::pipe().unwrap();
    rustix::io::write(&output, b"no socket").unwrap();
    port.with_fd(|fd| replace(fd, &input)).unwrap();
    until(reactor, "the end", || log.has("stopped"));
    assert!(matches!(log.reason(), Disconnect::Lost(_)));
}

fn a_reactor_that_is_dropped_lets_go_of_its_ports(_: &Reactor) {
    let reactor = Variant::ANY.reactor();
    // The protocol holds its transport, which holds the protocol.
    let held = Rc::new(RefCell::new(None));
    let hook_held = Rc::clone(&held);
    let (port, log) = listen_hooked(&reactor, move |_, transport| {
        *hook_held.borrow_mut() = transport.cloned();
    });
    let stopped = port.stop_listening();
    drop(reactor);
    assert!(!port.is_listening());
    assert!(matches!(
        port.send_to(b"x", port.local_addr()),
        Err(SendError::Closed)
    ));
    assert!(matches!(stopped.try_take().unwrap(), Err(Error::Abandoned)));
    assert!(port.stop_listening().is_ready());
    assert_eq!(log.notices(), ["started"], "nobody is told");
    assert_eq!((Rc::strong_count(&held), Rc::strong_count(&log)), (1, 1));
}
