//! TLS from the middle of a stream, and over streams of every kind, over every poller.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod tls_support;
mod unix_support;

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use ropewalk::os::socket::unix::send_with_descriptors;
use ropewalk::tls::{Fault, TlsClient};
use ropewalk::{Disconnect, Error, Misuse, Protocol, Reactor, Transport};
use tcp_support::{Log, Recorder, over_every_poller, receive_exactly, serve, settle, until};
use tls_support::{Peer, client, connected, peer, server};
use unix_support::Directory;

over_every_poller! {
    a_server_goes_over_to_tls_in_mid_stream,
    a_client_goes_over_to_tls_in_mid_stream,
    a_large_queue_goes_out_in_the_clear_first,
    what_came_in_the_clear_is_never_taken_for_tls,
    a_paused_producer_is_resumed_when_the_layer_is_drained,
    a_close_right_after_the_start_sends_what_was_in_the_clear,
    the_handle_tells_of_tls_from_the_start_on,
    a_second_layer_is_a_misuse,
    a_layer_on_a_closing_connection_is_a_misuse,
    a_layer_on_an_ended_connection_is_a_misuse,
    a_name_that_is_none_is_refused,
    unix_streams_speak_tls,
    descriptors_do_not_pass_a_layer,
    descriptors_that_come_beside_tls_are_not_delivered,
    adopted_streams_speak_tls,
    adopted_listeners_speak_tls,
    a_connector_may_be_the_server,
}

/// Goes over to TLS, as a server, when it hears "STARTTLS".
fn upgrading(log: &Rc<Log>) -> Recorder {
    let heard = Rc::clone(log);
    Recorder::new(log).hook(move |event, transport| {
        let asked = heard.data.borrow().starts_with(b"STARTTLS");
        if let ("data", true, Some(transport)) = (event, asked, transport) {
            heard.data.borrow_mut().clear();
            if transport.tls().is_none() {
                transport.write(b"220 go on\r\n");
                transport.start_tls_server(&server()).unwrap();
                transport.write(b"over TLS");
            }
        }
    })
}

fn a_server_goes_over_to_tls_in_mid_stream(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut socket) = serve(reactor, upgrading(&log));
    socket.write_all(b"STARTTLS\r\n").unwrap();
    assert_eq!(receive_exactly(reactor, &mut socket, 11), b"220 go on\r\n");
    let mut peer = Peer::on(socket, peer::client_config());
    peer.until(reactor, "the data", |peer| peer.received == b"over TLS");
    peer.send(b"an answer");
    until(reactor, "the answer", || log.received() == 9);
    assert_eq!(
        log.events.borrow().as_slice(),
        ["made", "data", "handshake", "data"]
    );
}

fn a_client_goes_over_to_tls_in_mid_stream(reactor: &Reactor) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let log = Log::new();
    let recorder = Recorder::new(&log).hook(|event, transport| {
        if let ("data", Some(transport)) = (event, transport) {
            if transport.tls().is_none() {
                transport.write(b"last in the clear");
                transport.start_tls_client(&client(), "localhost").unwrap();
            }
        }
    });
    let mut recorder = Some(recorder);
    let address = listener.local_addr().unwrap().to_string();
    reactor
        .connect_tcp(address, move |_| recorder.take().unwrap())
        .unwrap();
    until(reactor, "the connection", || log.is_connected());
    let (mut socket, _) = listener.accept().unwrap();
    socket.set_read_timeout(Some(tcp_support::LIMIT)).unwrap();
    socket.write_all(b"220 go on\r\n").unwrap();
    assert_eq!(
        receive_exactly_front(reactor, &mut socket, 17),
        b"last in the clear"
    );
    let mut peer = Peer::server(socket);
    peer.shake_hands(reactor);
    peer.send(b"over TLS");
    until(reactor, "the data", || log.received() == 11 + 8);
    assert_eq!(
        log.events.borrow().as_slice(),
        ["made", "data", "handshake", "data"]
    );
}

/// The first `count` bytes, and no more of what came.
fn receive_exactly_front(
    reactor: &Reactor,
    socket: &mut std::net::TcpStream,
    count: usize,
) -> Vec<u8> {
    until(reactor, "the clear text", || {
        let mut look = vec![0; count];
        socket.set_nonblocking(true).unwrap();
        let seen = socket.peek(&mut look);
        socket.set_nonblocking(false).unwrap();
        seen.is_ok_and(|seen| seen == count)
    });
    let mut front = vec![0; count];
    socket.read_exact(&mut front).unwrap();
    front
}

fn a_large_queue_goes_out_in_the_clear_first(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut socket) = serve(reactor, Recorder::new(&log));
    let transport = log.transport();
    transport.write_bytes(vec![b'c'; 3_000_000]);
    transport.start_tls_server(&server()).unwrap();
    transport.write_bytes(vec![b't'; 1_000_000]);
    assert_eq!(transport.buffered_len(), 4_000_000);
    let clear = receive_exactly(reactor, &mut socket, 3_000_000);
    assert!(clear.iter().all(|byte| *byte == b'c'));
    let mut peer = Peer::on(socket, peer::client_config());
    peer.until(reactor, "the data", |peer| peer.received.len() == 1_000_000);
    assert!(peer.received.iter().all(|byte| *byte == b't'));
    settle(reactor);
    assert_eq!(transport.buffered_len(), 0);
}

fn what_came_in_the_clear_is_never_taken_for_tls(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut socket) = serve(reactor, upgrading(&log));
    // A command injected behind the one that goes over, in the same read.
    socket.write_all(b"STARTTLS\r\nEVIL\r\n").unwrap();
    assert_eq!(receive_exactly(reactor, &mut socket, 11), b"220 go on\r\n");
    let mut peer = Peer::on(socket, peer::client_config());
    peer.send(b"good");
    peer.until(reactor, "the data", |_| log.received() > 0);
    assert_eq!(log.data.borrow().as_slice(), b"good");
}

fn a_paused_producer_is_resumed_when_the_layer_is_drained(reactor: &Reactor) {
    struct Notes(Rc<RefCell<Vec<&'static str>>>);
    impl ropewalk::Producer for Notes {
        fn resume_producing(&self, _: &Transport) {
            self.0.borrow_mut().push("resume");
        }
        fn pause_producing(&self, _: &Transport) {
            self.0.borrow_mut().push("pause");
        }
        fn stop_producing(&self) {
            self.0.borrow_mut().push("stop");
        }
    }
    let log = Log::new();
    let (_port, mut socket) = serve(reactor, Recorder::new(&log));
    let (transport, notes) = (log.transport(), Rc::<RefCell<Vec<_>>>::default());
    let producer = Notes(Rc::clone(&notes));
    transport
        .register_producer(producer, ropewalk::ProducerKind::Push)
        .unwrap();
    transport.write_bytes(vec![b'c'; 100_000]);
    transport.start_tls_server(&server()).unwrap();
    transport.write(b"secret");
    receive_exactly(reactor, &mut socket, 100_000);
    assert_eq!(
        notes.borrow().as_slice(),
        ["pause"],
        "the handshake is not over"
    );
    let mut peer = Peer::on(socket, peer::client_config());
    peer.until(reactor, "the data", |peer| peer.received == b"secret");
    until(reactor, "a resumption", || notes.borrow().len() == 2);
    assert_eq!(notes.borrow().as_slice(), ["pause", "resume"]);
}

fn a_close_right_after_the_start_sends_what_was_in_the_clear(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut socket) = serve(reactor, Recorder::new(&log));
    let transport = log.transport();
    transport.write(b"220 go on\r\n");
    transport.start_tls_server(&server()).unwrap();
    transport.lose_connection();
    assert_eq!(receive_exactly(reactor, &mut socket, 11), b"220 go on\r\n");
    transport.lose_connection();
    let mut peer = Peer::on(socket, peer::client_config());
    peer.until(reactor, "the close_notify", |peer| peer.closed);
    peer.say_goodbye();
    until(reactor, "the end", || log.is_lost());
    assert!(log.reason().is_clean(), "{}", log.reason());
}

fn the_handle_tells_of_tls_from_the_start_on(reactor: &Reactor) {
    let log = Log::new();
    let (_port, _socket) = serve(reactor, Recorder::new(&log));
    let transport = log.transport();
    assert_eq!(transport.tls(), None);
    transport.start_tls_client(&client(), "localhost").unwrap();
    let info = transport.tls().unwrap();
    assert!(info.handshaking);
    assert_eq!((info.version, info.cipher_suite), (None, None));
    assert_eq!(info.server_name.as_deref(), Some("localhost"));
}

fn is_misuse(result: ropewalk::Result<()>, expected: Misuse) {
    match result {
        Err(Error::Misuse(misuse)) => assert_eq!(misuse, expected),
        other => panic!("{other:?}"),
    }
}

fn a_second_layer_is_a_misuse(reactor: &Reactor) {
    let (ours, theirs) = (Log::new(), Log::new());
    let _port = connected(reactor, (&server(), &ours), (&client(), &theirs));
    let transport = ours.transport();
    is_misuse(transport.start_tls_server(&server()), Misuse::TlsInUse);
    let second = transport.start_tls_client(&client(), "localhost");
    is_misuse(second, Misuse::TlsInUse);
    transport.write(b"unharmed");
    until(reactor, "the data", || theirs.received() == 8);
}

fn a_layer_on_a_closing_connection_is_a_misuse(reactor: &Reactor) {
    let ends: [fn(&Transport); 3] = [
        Transport::lose_connection,
        Transport::lose_write_connection,
        Transport::abort_connection,
    ];
    for end in ends {
        let log = Log::new();
        let (_port, _socket) = serve(reactor, Recorder::new(&log));
        let transport = log.transport();
        end(&transport);
        is_misuse(transport.start_tls_server(&server()), Misuse::NotOpen);
        assert_eq!(transport.tls(), None);
    }
}

fn a_layer_on_an_ended_connection_is_a_misuse(reactor: &Reactor) {
    let log = Log::new();
    let (_port, socket) = serve(reactor, Recorder::new(&log).half_closing());
    drop(socket);
    until(reactor, "the peer's end", || log.has("read closed"));
    is_misuse(log.transport().start_tls_server(&server()), Misuse::NotOpen);
    log.transport().lose_connection();
    until(reactor, "the end", || log.is_lost());
    is_misuse(log.transport().start_tls_server(&server()), Misuse::NotOpen);
}

fn a_name_that_is_none_is_refused(reactor: &Reactor) {
    let log = Log::new();
    let (_port, _socket) = serve(reactor, Recorder::new(&log));
    let result = log.transport().start_tls_client(&client(), "two words");
    let Err(Error::Tls(error)) = result else {
        panic!("{result:?}")
    };
    assert!(matches!(error.fault(), Fault::InvalidName(_)));
    assert_eq!(log.transport().tls(), None);
    let nobody = |_| Recorder::new(&Log::new());
    let result = reactor.connect_tls("two words:443", &client(), nobody);
    assert!(matches!(result, Err(Error::Tls(_))), "{result:?}");
}

fn unix_streams_speak_tls(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("socket");
    let (ours, theirs) = (Log::new(), Log::new());
    let mut recorder = Some(Recorder::new(&ours));
    let factory = server().factory(move |_| recorder.take().unwrap());
    let port = reactor.listen_unix(&path, factory).unwrap();
    let mut recorder = Some(Recorder::new(&theirs));
    let factory = move |_| recorder.take().unwrap();
    let factory = client().factory("localhost", factory).unwrap();
    reactor.connect_unix(&path, factory).unwrap();
    until(reactor, "the handshakes", || {
        ours.has("handshake") && theirs.has("handshake")
    });
    ours.transport().write_bytes(vec![1; 500_000]);
    ours.transport().lose_connection();
    until(reactor, "both ends", || ours.is_lost() && theirs.is_lost());
    assert!(ours.reason().is_clean() && theirs.reason().is_clean());
    assert_eq!(theirs.received(), 500_000);
    port.stop_listening().ignore();
}

fn descriptors_do_not_pass_a_layer(reactor: &Reactor) {
    let (near, mut far) = UnixStream::pair().unwrap();
    let log = Log::new();
    let transport = reactor.adopt_stream(near, Recorder::new(&log)).unwrap();
    let passed = OwnedFd::from(UnixStream::pair().unwrap().0);
    transport.write(b"clear");
    transport
        .send_descriptor(passed.try_clone().unwrap())
        .unwrap();
    transport.start_tls_server(&server()).unwrap();
    assert_eq!(transport.send_descriptor(passed), Err(Misuse::TlsInUse));
    settle(reactor);
    let mut clear = [0; 5];
    far.read_exact(&mut clear).unwrap();
    assert_eq!(&clear, b"clear");
    transport.abort_connection();
}

fn descriptors_that_come_beside_tls_are_not_delivered(reactor: &Reactor) {
    struct Refuses;
    impl Protocol for Refuses {
        fn data_received(&mut self, _: &Transport, _: &[u8]) {}
        fn descriptor_received(&mut self, _: &Transport, _: OwnedFd) {
            panic!("nobody has vouched for it");
        }
    }
    let (near, far) = UnixStream::pair().unwrap();
    let transport = reactor
        .adopt_stream(near, server().protocol(Refuses))
        .unwrap();
    let (passed, mut other) = UnixStream::pair().unwrap();
    send_with_descriptors(far.as_fd(), b"\x16", &[passed.as_fd()]).unwrap();
    drop(passed);
    settle(reactor);
    assert!(transport.is_connected());
    // Closed wherever it went.
    other.set_read_timeout(Some(tcp_support::LIMIT)).unwrap();
    assert_eq!(other.read(&mut [0]).unwrap(), 0);
}

fn adopted_streams_speak_tls(reactor: &Reactor) {
    let (near, far) = UnixStream::pair().unwrap();
    let (ours, theirs) = (Log::new(), Log::new());
    let protocol = server().protocol(Recorder::new(&ours));
    reactor.adopt_stream(near, protocol).unwrap();
    let protocol = client().protocol("localhost", Recorder::new(&theirs));
    reactor.adopt_stream(far, protocol.unwrap()).unwrap();
    until(reactor, "the handshakes", || {
        ours.has("handshake") && theirs.has("handshake")
    });
    theirs.transport().write(b"hello");
    until(reactor, "the data", || ours.received() == 5);
    theirs.transport().lose_connection();
    until(reactor, "both ends", || ours.is_lost() && theirs.is_lost());
    assert!(ours.reason().is_clean() && theirs.reason().is_clean());
}

fn adopted_listeners_speak_tls(reactor: &Reactor) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let log = Log::new();
    let mut recorder = Some(Recorder::new(&log));
    let factory = server().factory(move |_| recorder.take().unwrap());
    let _port = reactor.adopt_listener(listener, factory).unwrap();
    let mut peer = Peer::client(address, peer::client_config());
    peer.until(reactor, "the handshake", |_| log.has("handshake"));
}

/// Refuses every connection, or makes what it was given.
struct Once(Option<Box<dyn Protocol>>);

impl ropewalk::Factory for Once {
    fn build_protocol(&mut self, _: ropewalk::NetAddr) -> Option<Box<dyn Protocol>> {
        self.0.take()
    }
}

fn a_connector_may_be_the_server(reactor: &Reactor) {
    let (ours, theirs) = (Log::new(), Log::new());
    let once = Once(Some(Box::new(Recorder::new(&theirs))));
    let tls: TlsClient = client();
    let factory = tls.factory("localhost", once).unwrap();
    let port = reactor.listen_tcp("127.0.0.1:0", factory).unwrap();
    let factory = server().factory(Once(Some(Box::new(Recorder::new(&ours)))));
    reactor
        .connect_tcp(port.local_addr().to_string(), factory)
        .unwrap();
    until(reactor, "the handshakes", || {
        ours.has("handshake") && theirs.has("handshake")
    });
    ours.transport().abort_connection();
    until(reactor, "the end", || theirs.is_lost());
    assert!(matches!(theirs.reason(), Disconnect::Lost(_)));
}
