//! Listening and connecting sockets.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use ropewalk_os::socket::{self, ConnectStart, ListenOptions};
use ropewalk_os::{Interest, Readiness};

use crate::fixture::Fixture;

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub(crate) fn a_listener_is_readable_while_a_peer_waits(fixture: &mut Fixture) {
    let listener = socket::listen(ANY_PORT, &ListenOptions::default()).unwrap();
    let address = socket::local_addr(listener.as_fd()).unwrap();
    let token = fixture.add(listener, 1, Interest::READABLE);
    assert_eq!(fixture.turn(Duration::ZERO), []);
    let client = TcpStream::connect(address).unwrap();
    assert_eq!(fixture.turn_until(token), Readiness::READABLE);
    let listening = fixture.registry.fd(token).unwrap();
    let (_server, peer) = socket::accept(listening).unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    let error = socket::accept(listening).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert_eq!(fixture.turn(Duration::ZERO), []);
}

pub(crate) fn a_finished_connect_is_writable(fixture: &mut Fixture) {
    let listener = TcpListener::bind(ANY_PORT).unwrap();
    let address = listener.local_addr().unwrap();
    let fd = socket::stream_socket(address).unwrap();
    socket::connect(fd.as_fd(), address).unwrap();
    let token = fixture.add(fd, 1, Interest::WRITABLE);
    assert_eq!(fixture.turn_until(token), Readiness::WRITABLE);
    let fd = fixture.registry.fd(token).unwrap();
    assert!(socket::take_error(fd).unwrap().is_none());
    assert_eq!(socket::peer_addr(fd).unwrap(), address);
}

pub(crate) fn a_refused_connect_is_reported(fixture: &mut Fixture) {
    // A port that was free a moment ago, with nobody listening.
    let address = {
        let listener = TcpListener::bind(ANY_PORT).unwrap();
        listener.local_addr().unwrap()
    };
    let fd = socket::stream_socket(address).unwrap();
    assert_eq!(
        socket::connect(fd.as_fd(), address).unwrap(),
        ConnectStart::InProgress
    );
    let token = fixture.add(fd, 1, Interest::WRITABLE);
    let readiness = fixture.turn_until(token);
    let end = fixture.end(Readiness::WRITABLE | Readiness::ERROR, Readiness::WRITABLE);
    assert!(readiness.contains(end), "{readiness:?}");
    let fd = fixture.registry.fd(token).unwrap();
    let error = socket::take_error(fd).unwrap().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}
