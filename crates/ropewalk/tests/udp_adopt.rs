//! UDP sockets that somebody else made, over every poller.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod udp_support;

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;

use ropewalk::{Error, NetAddr, Reactor};
use tcp_support::{over_every_poller, settle, until};
use udp_support::{Recorder, peer, receive};

over_every_poller! {
    an_adopted_socket_receives_and_sends,
    an_adopted_socket_stays_connected,
    closing_leaves_the_duplicates_of_the_socket_alone,
    what_is_no_udp_socket_is_refused,
}

fn an_adopted_socket_receives_and_sends(reactor: &Reactor) {
    let (recorder, log) = Recorder::new();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let transport = reactor.adopt_udp(socket, recorder).unwrap();
    assert_eq!(
        (transport.local_addr(), transport.peer_addr()),
        (address.into(), None)
    );
    let client = peer();
    client.send_to(b"hello", address).unwrap();
    until(reactor, "a datagram", || log.received() == 1);
    transport
        .send_to(b"answer", client.local_addr().unwrap())
        .unwrap();
    assert_eq!(receive(&client), (b"answer".to_vec(), address.into()));
}

fn an_adopted_socket_stays_connected(reactor: &Reactor) {
    let (recorder, log) = Recorder::new();
    let client = peer();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(client.local_addr().unwrap()).unwrap();
    let transport = reactor.adopt_udp(socket, recorder).unwrap();
    assert_eq!(
        transport.peer_addr(),
        client.local_addr().ok().map(NetAddr::from)
    );
    transport.send(b"to you").unwrap();
    let (data, from) = receive(&client);
    assert_eq!((data, from), (b"to you".to_vec(), transport.local_addr()));
    drop(client);
    transport.send(b"nobody there").unwrap();
    until(reactor, "a refusal", || log.has("refused"));
}

fn closing_leaves_the_duplicates_of_the_socket_alone(reactor: &Reactor) {
    let (recorder, log) = Recorder::new();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let duplicate = socket.try_clone().unwrap();
    let transport = reactor.adopt_udp(socket, recorder).unwrap();
    settle(reactor);
    transport.stop_listening().ignore();
    settle(reactor);
    assert!(!transport.is_listening());
    let client = peer();
    client
        .send_to(b"later", duplicate.local_addr().unwrap())
        .unwrap();
    duplicate.set_nonblocking(false).unwrap();
    assert_eq!(receive(&duplicate).0, b"later");
    assert_eq!(log.received(), 0);
}

fn what_is_no_udp_socket_is_refused(reactor: &Reactor) {
    let others: [OwnedFd; 2] = [
        TcpListener::bind("127.0.0.1:0").unwrap().into(),
        UnixDatagram::unbound().unwrap().into(),
    ];
    for other in others {
        let (recorder, _) = Recorder::new();
        let Err(Error::CannotAdopt { source }) = reactor.adopt_udp(other, recorder) else {
            panic!("it is no UDP socket");
        };
        assert_eq!(source.kind(), io::ErrorKind::InvalidInput);
    }
}
