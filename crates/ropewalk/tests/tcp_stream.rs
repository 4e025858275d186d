//! Reading and writing on a TCP connection, over every poller.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use ropewalk::{ListenOptions, Protocol, Reactor, Transport};
use tcp_support::{
    Log, Recorder, connect, over_every_poller, receive_exactly, send, serve, settle, until,
};
use variant::Variant;

over_every_poller! {
    an_echo_comes_back,
    many_clients_are_echoed_side_by_side,
    sixty_megabytes_and_one_byte_arrive,
    many_small_writes_arrive_in_order,
    copied_and_borrowed_chunks_arrive_in_order,
    nothing_is_sent_before_the_callback_returns,
    a_large_request_is_read_in_bounded_steps,
    options_and_addresses_are_those_of_the_socket,
    a_nested_turn_never_overlaps_callbacks,
    a_replaced_protocol_hears_the_rest,
    an_ended_connection_ignores_everything,
    a_chunks_owner_may_write_when_it_is_dropped,
    a_reactor_dropped_without_shutdown_leaves_nothing_behind,
    ipv6_peers_are_served,
}

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

fn an_echo_comes_back(reactor: &Reactor) {
    let port = reactor.listen_tcp("127.0.0.1:0", |_| Echo).unwrap();
    let mut client = connect(port.local_addr());
    for length in [1, 64, 4096, 100_000] {
        let message: Vec<u8> = (0..length).map(|n| n as u8).collect();
        send(reactor, &mut client, &message);
        assert_eq!(receive_exactly(reactor, &mut client, length), message);
    }
}

fn many_clients_are_echoed_side_by_side(reactor: &Reactor) {
    // All connect before the reactor turns for the first time.
    let roomy = ListenOptions::new().backlog(200);
    let port = reactor
        .listen_tcp_with("127.0.0.1:0", roomy, |_| Echo)
        .unwrap();
    let mut clients: Vec<_> = (0..150).map(|_| connect(port.local_addr())).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.write_all(&(n as u32).to_be_bytes()).unwrap();
    }
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(
            receive_exactly(reactor, client, 4),
            (n as u32).to_be_bytes()
        );
    }
}

fn sixty_megabytes_and_one_byte_arrive(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut client) = serve(reactor, Recorder::new(&log));
    let transport = log.transport();
    let size = 60_000_000;
    let data: Vec<u8> = (0..size).map(|n| (n / 251) as u8).collect();
    transport.write_bytes(data.clone());
    transport.write(b"!");
    assert_eq!(transport.buffered_len(), size + 1);
    let received = receive_exactly(reactor, &mut client, size + 1);
    assert!(received[..size] == data[..] && received[size] == b'!');
    assert_eq!(transport.buffered_len(), 0);
}

fn many_small_writes_arrive_in_order(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut client) = serve(reactor, Recorder::new(&log));
    let transport = log.transport();
    for n in 0..200_000_u32 {
        transport.write(&[n as u8]);
    }
    let received = receive_exactly(reactor, &mut client, 200_000);
    assert!(
        received
            .iter()
            .zip(0_u32..)
            .all(|(byte, n)| *byte == n as u8)
    );
}

fn copied_and_borrowed_chunks_arrive_in_order(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut client) = serve(reactor, Recorder::new(&log));
    let transport = log.transport();
    let mut expected = Vec::new();
    for n in 0..100_u8 {
        transport.write(&[n]);
        transport.write_bytes(vec![n; 3000]);
        transport.write_bytes(Bytes::from_static(b"small"));
        transport.write_sequence([vec![], vec![n, n], vec![n; 2000]]);
        expected.push(n);
        expected.extend([n; 3000]);
        expected.extend(b"small");
        expected.extend([n; 2002]);
    }
    assert_eq!(transport.buffered_len(), expected.len());
    assert!(receive_exactly(reactor, &mut client, expected.len()) == expected);
}

fn nothing_is_sent_before_the_callback_returns(reactor: &Reactor) {
    let log = Log::new();
    let unsent = Rc::new(Cell::new(0));
    let seen = Rc::clone(&unsent);
    let recorder = Recorder::new(&log).hook(move |event, transport| {
        if let ("data", Some(transport)) = (event, transport) {
            transport.write(b"one");
            transport.write(b"two");
            seen.set(transport.buffered_len());
        }
    });
    let (_port, mut client) = serve(reactor, recorder);
    client.write_all(b"go").unwrap();
    assert_eq!(receive_exactly(reactor, &mut client, 6), b"onetwo");
    assert_eq!(unsent.get(), 6);
}

fn a_large_request_is_read_in_bounded_steps(reactor: &Reactor) {
    let log = Log::new();
    let largest = Rc::new(Cell::new(0));
    let (seen, so_far, counted) = (Rc::clone(&largest), Cell::new(0), Rc::clone(&log));
    let recorder = Recorder::new(&log).hook(move |_, _| {
        let all = counted.received();
        seen.set(seen.get().max(all - so_far.replace(all)));
    });
    let (_port, mut client) = serve(reactor, recorder);
    send(reactor, &mut client, &vec![7; 1_000_000]);
    until(reactor, "all the data", || log.received() == 1_000_000);
    assert!(largest.get() <= 65_536, "{} bytes at once", largest.get());
}

fn options_and_addresses_are_those_of_the_socket(reactor: &Reactor) {
    let log = Log::new();
    let (port, client) = serve(reactor, Recorder::new(&log));
    let transport = log.transport();
    assert_eq!(transport.peer_addr(), client.local_addr().unwrap());
    assert_eq!(transport.local_addr().unwrap(), port.local_addr());
    assert!(!transport.nodelay().unwrap() && !transport.keepalive().unwrap());
    transport.set_nodelay(true).unwrap();
    transport.set_keepalive(true).unwrap();
    assert!(transport.nodelay().unwrap() && transport.keepalive().unwrap());
    let same = transport
        .with_fd(|fd| rustix::net::sockopt::tcp_nodelay(fd))
        .unwrap();
    assert_eq!(same, Ok(true));
    assert!(transport.same_connection(&log.transport()));
}

fn a_nested_turn_never_overlaps_callbacks(reactor: &Reactor) {
    let log = Log::new();
    let (inner, nested) = (reactor.clone(), Rc::new(Cell::new(0)));
    let turns = Rc::clone(&nested);
    let recorder = Recorder::new(&log).hook(move |_, transport| {
        if let Some(transport) = transport {
            transport.write(b"x");
        }
        if turns.get() < 20 {
            turns.set(turns.get() + 1);
            inner.turn(Some(Duration::from_millis(1))).unwrap();
            inner.turn(Some(Duration::ZERO)).unwrap();
        }
    });
    let port = {
        let mut recorder = Some(recorder);
        reactor
            .listen_tcp("127.0.0.1:0", move |_| recorder.take().unwrap())
            .unwrap()
    };
    let mut client = connect(port.local_addr());
    // Waits in the socket while the first callback turns the reactor.
    client.write_all(b"hello").unwrap();
    until(reactor, "the data", || log.received() == 5);
    client.write_all(b"again").unwrap();
    drop(client);
    until(reactor, "the end", || log.is_lost());
    assert_eq!(log.data.borrow().as_slice(), b"helloagain");
    assert!(nested.get() > 0);
}

fn a_replaced_protocol_hears_the_rest(reactor: &Reactor) {
    let (first, second) = (Log::new(), Log::new());
    let mut next = Some(Recorder::new(&second));
    let recorder = Recorder::new(&first).hook(move |event, transport| {
        if let ("data", Some(transport)) = (event, transport) {
            transport.set_protocol(next.take().expect("replaced once"));
        }
    });
    let (_port, mut client) = serve(reactor, recorder);
    client.write_all(b"old").unwrap();
    until(reactor, "the first data", || first.received() == 3);
    client.write_all(b"new").unwrap();
    drop(client);
    until(reactor, "the end", || second.is_lost());
    assert_eq!(second.data.borrow().as_slice(), b"new");
    assert_eq!(first.events.borrow().as_slice(), ["made", "data"]);
    assert_eq!(second.events.borrow().as_slice(), ["data", "lost"]);
}

fn an_ended_connection_ignores_everything(reactor: &Reactor) {
    let log = Log::new();
    let (_port, client) = serve(reactor, Recorder::new(&log));
    let transport = log.transport();
    drop(client);
    until(reactor, "the end", || log.is_lost());
    transport.write(b"x");
    transport.write_bytes(vec![1; 5000]);
    transport.pause_producing();
    transport.resume_producing();
    transport.lose_connection();
    transport.lose_write_connection();
    transport.abort_connection();
    transport.unregister_producer();
    transport.set_protocol(Echo);
    settle(reactor);
    assert_eq!(
        (transport.buffered_len(), transport.is_connected()),
        (0, false)
    );
    for error in [
        transport.local_addr().unwrap_err(),
        transport.set_nodelay(true).unwrap_err(),
        transport.keepalive().unwrap_err(),
        transport.with_fd(|_| ()).unwrap_err(),
    ] {
        assert_eq!(error.kind(), std::io::ErrorKind::NotConnected);
    }
    assert_eq!(log.count("lost"), 1);
}

thread_local! {
    /// Where an owner of data, which must be `Send`, finds the connection.
    static CONNECTION: RefCell<Option<Transport>> = const { RefCell::new(None) };
}

/// Data whose owner writes when it is dropped.
struct Owned(Vec<u8>);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        CONNECTION.with_borrow(|connection| connection.as_ref().unwrap().write(b"."));
    }
}

fn a_chunks_owner_may_write_when_it_is_dropped(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut client) = serve(reactor, Recorder::new(&log));
    let transport = log.transport();
    CONNECTION.set(Some(transport.clone()));
    transport.write(b"small: ");
    transport.write_bytes(Bytes::from_owner(Owned(b"copied".to_vec())));
    transport.write_sequence([Bytes::from_owner(Owned(b"copied".to_vec()))]);
    transport.write_bytes(Bytes::from_owner(Owned(vec![b'x'; 5000])));
    let received = receive_exactly(reactor, &mut client, 7 + 7 + 7 + 5001);
    assert!(received.starts_with(b"small: copied.copied.xxx") && received.ends_with(b"xxx."));
    CONNECTION.take();
}

fn a_reactor_dropped_without_shutdown_leaves_nothing_behind(reactor: &Reactor) {
    let log = Log::new();
    let (first, second) = (Rc::clone(&log), Log::new());
    {
        let variant = Variant::alone(reactor.poller_kind());
        let other = variant.builder().signals(false).build().unwrap();
        // Keeps its own transport, as protocols do, and produces for itself.
        struct Keeper(Rc<Log>, Option<Transport>);
        impl Protocol for Keeper {
            fn connection_made(&mut self, transport: &Transport) {
                self.1 = Some(transport.clone());
                *self.0.transport.borrow_mut() = Some(transport.clone());
                let producer = transport.clone();
                transport
                    .register_producer(producer, ropewalk::ProducerKind::Push)
                    .unwrap();
            }
            fn data_received(&mut self, _: &Transport, _: &[u8]) {}
        }
        let shared = Rc::clone(&log);
        let keep = move |_| Keeper(Rc::clone(&shared), None);
        let port = other.listen_tcp("127.0.0.1:0", keep).unwrap();
        // A factory that holds its own connector.
        let held = Rc::new(RefCell::new(None));
        let (mine, shared) = (Rc::clone(&held), Rc::clone(&second));
        let keep = move |_| {
            assert!(mine.borrow().is_some());
            Keeper(Rc::clone(&shared), None)
        };
        *held.borrow_mut() = Some(other.connect_tcp(port.local_addr(), keep).unwrap());
        until(&other, "both ends", || {
            log.is_connected() && second.is_connected()
        });
        drop(first);
    }
    assert!(!log.transport().is_connected());
    log.transport().write(b"nobody is left");
    assert_eq!((Rc::strong_count(&log), Rc::strong_count(&second)), (1, 1));
}

fn ipv6_peers_are_served(reactor: &Reactor) {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("no IPv6 here");
        return;
    }
    let port = reactor.listen_tcp("[::1]:0", |_| Echo).unwrap();
    assert!(port.local_addr().ip().unwrap().is_ipv6());
    let mut client = connect(port.local_addr());
    client.write_all(b"six").unwrap();
    assert_eq!(receive_exactly(reactor, &mut client, 3), b"six");
}
