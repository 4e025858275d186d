//! Hang-ups, errors, connects.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;

use ropewalk_os::socket::{self, ConnectStart};
use ropewalk_os::{Interest, Readiness, Registry};
use ropewalk_testkit::tcp_pair;

use crate::support::{Fixture, SOON, drain, pair};

pub(crate) fn a_closed_peer_is_readable_to_its_end(f: &mut Fixture) {
    let (mut near, mut far) = pair();
    f.register(&near, 1, Interest::READABLE);
    far.write_all(b"last words").unwrap();
    drop(far);
    assert!(f.now()[0].1.contains(Readiness::READABLE));
    assert_eq!(drain(&mut near), 10);
    assert!(f.now()[0].1.contains(Readiness::READABLE));
    assert_eq!(near.read(&mut [0]).unwrap(), 0);
}

pub(crate) fn a_hang_up_is_reported_to_a_writer(f: &mut Fixture) {
    let (near, far) = pair();
    f.register(&near, 1, Interest::WRITABLE);
    assert_eq!(f.now(), [(1, Readiness::WRITABLE)]);
    drop(far);
    assert!(f.now()[0].1.contains(Readiness::HANGUP));
}

pub(crate) fn a_pipe_without_a_writer_hangs_up_and_is_not_readable(f: &mut Fixture) {
    let (read, write) = rustix::pipe::pipe().unwrap();
    f.register(&read, 1, Interest::READABLE);
    assert_eq!(f.now(), []);
    drop(write);
    assert_eq!(f.now(), [(1, Readiness::HANGUP)]);
}

pub(crate) fn a_pipe_without_a_reader_is_an_error_to_its_writer(f: &mut Fixture) {
    let (read, write) = rustix::pipe::pipe().unwrap();
    f.register(&write, 1, Interest::WRITABLE);
    drop(read);
    assert!(f.now()[0].1.contains(Readiness::ERROR));
}

pub(crate) fn a_reset_is_reported_with_an_error(f: &mut Fixture) {
    let (mut near, far) = tcp_pair();
    f.register(&near, 1, Interest::READABLE);
    assert_eq!(f.now(), []);
    socket::set_linger_zero(far.as_fd()).unwrap();
    drop(far);
    let readiness = f.until(1, Readiness::is_error);
    assert!(readiness.contains(Readiness::HANGUP | Readiness::READABLE));
    let error = near.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

pub(crate) fn a_refused_connect_is_reported(f: &mut Fixture) {
    // Bound and not listening: nobody else gets the port, and it refuses.
    let closed = socket::stream_socket(loopback()).unwrap();
    socket::bind(closed.as_fd(), loopback()).unwrap();
    let address = socket::local_addr(closed.as_fd()).unwrap();
    let fd = socket::stream_socket(address).unwrap();
    let refused = match socket::connect(fd.as_fd(), address) {
        Ok(ConnectStart::InProgress) => {
            f.register(&fd, 1, Interest::WRITABLE);
            f.until(1, |readiness| {
                readiness.contains(Readiness::WRITABLE | Readiness::ERROR)
            });
            socket::take_error(fd.as_fd()).unwrap().unwrap()
        }
        Ok(ConnectStart::Connected) => panic!("connected to nobody"),
        Err(error) => error,
    };
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

pub(crate) fn a_finished_connect_is_writable(f: &mut Fixture) {
    let listener = TcpListener::bind(loopback()).unwrap();
    let address = listener.local_addr().unwrap();
    let fd = socket::stream_socket(address).unwrap();
    socket::connect(fd.as_fd(), address).unwrap();
    f.register(&fd, 1, Interest::WRITABLE);
    assert_eq!(f.until(1, Readiness::is_writable), Readiness::WRITABLE);
    assert!(socket::take_error(fd.as_fd()).unwrap().is_none());
    assert_eq!(socket::peer_addr(fd.as_fd()).unwrap(), address);
}

pub(crate) fn a_waiting_connection_makes_its_listener_readable(f: &mut Fixture) {
    let listener = socket::listen(loopback(), &socket::ListenOptions::default()).unwrap();
    let address = socket::local_addr(listener.as_fd()).unwrap();
    f.register(&listener, 1, Interest::READABLE);
    assert_eq!(f.now(), []);
    let client = std::net::TcpStream::connect(address).unwrap();
    assert_eq!(f.until(1, Readiness::is_readable), Readiness::READABLE);
    let (_server, peer) = socket::accept(listener.as_fd()).unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    assert_eq!(f.now(), []);
}

/// A paused connection must not keep the loop awake, whatever becomes of its peer.
pub(crate) fn a_source_without_interest_hears_nothing_of_a_reset(f: &mut Fixture) {
    let (near, far) = tcp_pair();
    let watcher = near.try_clone().unwrap();
    let mut registry = Registry::new();
    let token = registry.insert(std::os::fd::OwnedFd::from(near).into(), ());
    registry.set_interest(token, Interest::READABLE);
    f.apply(&mut registry);
    registry.set_interest(token, Interest::NONE);
    f.apply(&mut registry);
    socket::set_linger_zero(far.as_fd()).unwrap();
    drop(far);
    // The reset is there when another watch of the connection reports it.
    let mut other = Fixture::new(f.kind);
    other.register(&watcher, 9, Interest::READABLE);
    other.until(9, Readiness::is_error);
    assert_eq!(f.now(), []);
    registry.set_interest(token, Interest::READABLE);
    f.apply(&mut registry);
    let events = f.wait(Some(SOON));
    assert_eq!(events[0].0, token);
    assert!(events[0].1.contains(Readiness::ERROR | Readiness::HANGUP));
}

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}
