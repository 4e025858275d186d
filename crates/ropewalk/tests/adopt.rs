//! Sockets that somebody else made, over every poller.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod unix_support;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::rc::Rc;

use ropewalk::{Error, NetAddr, Protocol, Reactor, Transport, UnixAddr};
use rustix::net::{AddressFamily, SocketType};
use tcp_support::{LIMIT, Log, Recorder, over_every_poller, settle, until};
use unix_support::{Directory, receive_all, receive_exactly, serve};

over_every_poller! {
    a_tcp_listener_is_served,
    a_unix_listener_is_served_and_keeps_its_path,
    a_port_leaves_the_duplicates_of_its_socket_alone,
    a_tcp_stream_is_served,
    a_unix_stream_is_served_and_passes_descriptors,
    a_stream_leaves_the_duplicates_of_its_socket_alone,
    an_aborted_stream_is_reset,
    a_half_close_is_what_the_program_asks_for,
    a_stream_that_was_passed_is_served,
    the_reactors_end_closes_what_was_adopted,
    what_does_not_listen_is_no_listener,
    what_has_no_peer_is_no_stream,
}

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

/// Waits without blocking the reactor's thread for what `read` gives.
fn once<R>(reactor: &Reactor, what: &str, mut read: impl FnMut() -> io::Result<R>) -> R {
    let found = RefCell::new(None);
    let read = RefCell::new(&mut read);
    until(reactor, what, || {
        match (read.borrow_mut())() {
            Ok(result) => *found.borrow_mut() = Some(result),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{what}"),
        }
        found.borrow().is_some()
    });
    found.into_inner().unwrap()
}

fn a_tcp_listener_is_served(reactor: &Reactor) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // One that waits already.
    let mut early = tcp_support::connect(address);
    let port = reactor.adopt_listener(listener, |_| Echo).unwrap();
    assert_eq!(port.local_addr(), address);
    let mut late = tcp_support::connect(address);
    for client in [&mut early, &mut late] {
        client.write_all(b"hello").unwrap();
        assert_eq!(tcp_support::receive_exactly(reactor, client, 5), b"hello");
    }
    port.stop_listening().ignore();
    until(reactor, "the port's end", || !port.is_listening());
    assert!(TcpStream::connect(address).is_err());
}

fn a_unix_listener_is_served_and_keeps_its_path(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("port");
    let listener = UnixListener::bind(&path).unwrap();
    let port = reactor.adopt_listener(listener, |_| Echo).unwrap();
    assert_eq!(port.local_addr(), NetAddr::from(UnixAddr::from(&path)));
    let mut client = unix_support::connect(&path);
    client.write_all(b"hello").unwrap();
    assert_eq!(receive_exactly(reactor, &mut client, 5), b"hello");
    port.stop_listening().ignore();
    until(reactor, "the port's end", || !port.is_listening());
    assert!(path.exists(), "not ours to remove");
    assert!(UnixStream::connect(&path).is_err());
}

fn a_port_leaves_the_duplicates_of_its_socket_alone(reactor: &Reactor) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let duplicate = listener.try_clone().unwrap();
    let port = reactor.adopt_listener(listener, |_| Echo).unwrap();
    port.stop_listening().ignore();
    until(reactor, "the port's end", || !port.is_listening());
    let client = tcp_support::connect(duplicate.local_addr().unwrap());
    let (_, peer) = once(reactor, "the connection", || duplicate.accept());
    assert_eq!(peer, client.local_addr().unwrap());
    // What was closed may be adopted again.
    let port = reactor.adopt_listener(duplicate, |_| Echo).unwrap();
    let mut client = tcp_support::connect(port.local_addr());
    client.write_all(b"hello").unwrap();
    assert_eq!(
        tcp_support::receive_exactly(reactor, &mut client, 5),
        b"hello"
    );
}

/// Two ends of a TCP connection.
fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = tcp_support::connect(listener.local_addr().unwrap());
    (client, listener.accept().unwrap().0)
}

fn a_tcp_stream_is_served(reactor: &Reactor) {
    let (mut client, server) = tcp_pair();
    client.write_all(b"early").unwrap();
    let log = Log::new();
    let transport = reactor.adopt_stream(server, Recorder::new(&log)).unwrap();
    assert!(log.has("made"), "before the call returns");
    assert_eq!(transport.peer_addr(), client.local_addr().unwrap());
    assert_eq!(transport.local_addr().unwrap(), client.peer_addr().unwrap());
    until(reactor, "the data", || log.received() == 5);
    transport.write(b"and good-bye");
    transport.lose_connection();
    let all = tcp_support::end_of(reactor, &mut client).unwrap();
    assert_eq!(all, b"and good-bye");
    assert!(log.reason().is_clean());
}

fn a_unix_stream_is_served_and_passes_descriptors(reactor: &Reactor) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (one, other) = (Log::new(), Log::new());
    let transport = reactor.adopt_stream(ours, Recorder::new(&one)).unwrap();
    assert_eq!(transport.peer_addr().unix(), Some(&UnixAddr::UNNAMED));
    assert_eq!(
        transport.peer_credentials().unwrap().uid,
        rustix::process::geteuid().as_raw()
    );
    reactor.adopt_stream(theirs, Recorder::new(&other)).unwrap();
    let passed = File::open("/dev/null").unwrap();
    transport.send_descriptor(passed).unwrap();
    transport.write(b"hello");
    until(reactor, "the data", || other.received() == 5);
    transport.lose_connection();
    until(reactor, "the end", || one.is_lost() && other.is_lost());
    assert!(other.reason().is_clean());
}

fn a_stream_leaves_the_duplicates_of_its_socket_alone(reactor: &Reactor) {
    let (mut client, server) = tcp_pair();
    let mut duplicate = server.try_clone().unwrap();
    let log = Log::new();
    let transport = reactor.adopt_stream(server, Recorder::new(&log)).unwrap();
    transport.write(b"from the reactor, ");
    transport.lose_connection();
    until(reactor, "the end", || log.is_lost());
    duplicate.write_all(b"from elsewhere").unwrap();
    let both = b"from the reactor, from elsewhere";
    let all = tcp_support::receive_exactly(reactor, &mut client, both.len());
    assert_eq!(all, both);
    client.write_all(b"still here").unwrap();
    let mut buffer = [0; 64];
    let count = once(reactor, "the answer", || duplicate.read(&mut buffer));
    assert_eq!(&buffer[..count], b"still here");
    drop(duplicate);
    assert!(
        tcp_support::end_of(reactor, &mut client)
            .unwrap()
            .is_empty()
    );
}

fn an_aborted_stream_is_reset(reactor: &Reactor) {
    let (mut client, server) = tcp_pair();
    let log = Log::new();
    let transport = reactor.adopt_stream(server, Recorder::new(&log)).unwrap();
    transport.abort_connection();
    until(reactor, "the end", || log.is_lost());
    let end = tcp_support::end_of(reactor, &mut client);
    assert_eq!(end, Err(io::ErrorKind::ConnectionReset));
}

fn a_half_close_is_what_the_program_asks_for(reactor: &Reactor) {
    let (mut client, server) = UnixStream::pair().unwrap();
    let _duplicate = server.try_clone().unwrap();
    let log = Log::new();
    let transport = reactor.adopt_stream(server, Recorder::new(&log)).unwrap();
    transport.write(b"the last");
    transport.lose_write_connection();
    assert_eq!(receive_all(reactor, &mut client), b"the last");
    client.write_all(b"an answer").unwrap();
    until(reactor, "the answer", || log.received() == 9);
}

/// Adopts what it is given.
struct Taker {
    reactor: Reactor,
    log: Rc<Log>,
}

impl Protocol for Taker {
    fn descriptor_received(&mut self, _: &Transport, descriptor: OwnedFd) {
        let recorder = Recorder::new(&self.log);
        self.reactor.adopt_stream(descriptor, recorder).unwrap();
    }

    fn data_received(&mut self, _: &Transport, _: &[u8]) {}
}

fn a_stream_that_was_passed_is_served(reactor: &Reactor) {
    use std::os::fd::AsFd;
    let (directory, log) = (Directory::new(), Log::new());
    let taker = Taker {
        reactor: reactor.clone(),
        log: Rc::clone(&log),
    };
    let (_port, handing) = serve(reactor, &directory.join("port"), taker);
    let (mut client, server) = tcp_pair();
    let lent = [server.as_fd()];
    ropewalk::os::socket::unix::send_with_descriptors(handing.as_fd(), b"!", &lent).unwrap();
    drop(server);
    client.write_all(b"hello").unwrap();
    until(reactor, "the data", || log.received() == 5);
    log.transport().lose_connection();
    assert!(
        tcp_support::end_of(reactor, &mut client)
            .unwrap()
            .is_empty()
    );
    // The taker keeps the reactor, which keeps the taker.
    drop(handing);
    settle(reactor);
}

fn the_reactors_end_closes_what_was_adopted(reactor: &Reactor) {
    let (mut client, server) = UnixStream::pair().unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    let log = Log::new();
    reactor.adopt_stream(server, Recorder::new(&log)).unwrap();
    reactor.disconnect_all();
    assert!(log.is_lost());
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
}

fn refused(result: Result<impl Sized, Error>) -> io::Error {
    match result.err().expect("refused") {
        Error::CannotAdopt { source } => source,
        other => panic!("{other}"),
    }
}

fn what_does_not_listen_is_no_listener(reactor: &Reactor) {
    let (client, server) = tcp_pair();
    let bound = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    let unfit: [(OwnedFd, &str); 5] = [
        (client.into(), "does not listen"),
        (server.into(), "does not listen"),
        (bound, "does not listen"),
        (
            UdpSocket::bind("127.0.0.1:0").unwrap().into(),
            "not a stream socket",
        ),
        (
            UnixDatagram::unbound().unwrap().into(),
            "not a stream socket",
        ),
    ];
    for (fd, why) in unfit {
        let error = refused(reactor.adopt_listener(fd, |_| Echo));
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains(why), "{error}");
    }
    let file = File::open("/dev/null").unwrap();
    let error = refused(reactor.adopt_listener(file, |_| Echo));
    assert_eq!(
        error.raw_os_error(),
        Some(rustix::io::Errno::NOTSOCK.raw_os_error())
    );
}

fn what_has_no_peer_is_no_stream(reactor: &Reactor) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = refused(reactor.adopt_stream(listener, Echo));
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("listens"), "{error}");
    for family in [AddressFamily::INET, AddressFamily::UNIX] {
        let alone = rustix::net::socket(family, SocketType::STREAM, None).unwrap();
        let error = refused(reactor.adopt_stream(alone, Echo));
        assert_eq!(error.kind(), io::ErrorKind::NotConnected);
    }
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let error = refused(reactor.adopt_stream(datagrams, Echo));
    assert!(error.to_string().contains("not a stream socket"), "{error}");
}
