//! What is told of sockets, and above all of their ends.

use std::io::{Read as _, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use ropewalk_os::socket;
use ropewalk_testkit::{socket_pair, tcp_pair};
use rustix::net::{AddressFamily, SocketType};

use super::*;
use Filter::Read;

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A TCP socket that is not connected.
fn unconnected() -> OwnedFd {
    let fd = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    nonblocking(&fd);
    fd
}

fn start_connecting(socket: &OwnedFd, address: SocketAddr) {
    let result = rustix::net::connect(socket, &address);
    assert_eq!(result, Err(rustix::io::Errno::INPROGRESS));
}

/// Both filters' events, once there are two.
fn both(queue: &mut Queue) -> (KernelEvent, KernelEvent) {
    let events = queue.ready();
    assert_eq!(events.len(), 2, "{events:?}");
    let of = |filter| *events.iter().find(|event| event.filter == filter).unwrap();
    (of(Read), of(Filter::Write))
}

#[test]
fn a_listener_tells_how_many_wait() {
    let mut queue = Queue::new();
    let listener = TcpListener::bind(loopback()).unwrap();
    queue.add(&listener, Read);
    assert_eq!(queue.ready(), []);
    let address = listener.local_addr().unwrap();
    let peers: Vec<_> = (0..3)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    // A connection is in the queue once its last packet is there.
    while queue.wait()[0].data < 3 {}
    let event = queue.wait()[0];
    assert_eq!((event.data, is_eof(&event)), (3, false));
    drop((listener.accept().unwrap(), peers));
    assert_eq!(queue.wait()[0].data, 2);
}

#[test]
fn the_end_of_input_is_told_before_the_input_is_read() {
    let mut queue = Queue::new();
    let (near, mut far) = tcp_pair();
    queue.add(&near, Read);
    queue.add(&near, Filter::Write);
    far.write_all(b"rope").unwrap();
    far.shutdown(Shutdown::Write).unwrap();
    while !is_eof(&queue.wait()[0]) {}
    let (read, write) = both(&mut queue);
    assert_eq!((read.data, read.fflags), (4, 0));
    assert!(is_eof(&read) && !is_eof(&write), "only input ended");
    (&near).read_exact(&mut [0; 4]).unwrap();
    let (read, _) = both(&mut queue);
    assert_eq!((read.data, is_eof(&read)), (0, true));
}

#[test]
fn a_reset_is_told_and_stays_in_the_socket() {
    let mut queue = Queue::new();
    let (near, far) = tcp_pair();
    queue.add(&near, Read);
    queue.add(&near, Filter::Write);
    socket::set_linger_zero(far.as_fd()).unwrap();
    drop(far);
    while !queue.wait().iter().any(is_eof) {}
    let reset = libc::ECONNRESET.unsigned_abs();
    for _ in 0..2 {
        let (read, write) = both(&mut queue);
        assert!(is_eof(&read) && is_eof(&write));
        assert_eq!((read.fflags, write.fflags), (reset, reset));
    }
    let error = socket::recv(near.as_fd(), &mut [0]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
    let (read, write) = both(&mut queue);
    assert!(is_eof(&read) && is_eof(&write));
    assert_eq!((read.fflags, write.fflags), (0, 0), "it was taken");
}

#[test]
fn a_refused_connection_is_told_and_stays_in_the_socket() {
    let mut queue = Queue::new();
    let listener = TcpListener::bind(loopback()).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let socket = unconnected();
    queue.add(&socket, Filter::Write);
    start_connecting(&socket, address);
    let event = queue.wait()[0];
    assert!(is_eof(&event));
    assert_eq!(event.fflags, libc::ECONNREFUSED.unsigned_abs());
    let error = rustix::net::sockopt::socket_error(&socket).unwrap();
    assert_eq!(error, Err(rustix::io::Errno::CONNREFUSED));
}

#[test]
fn a_stream_that_was_never_connected_is_silent_until_it_is() {
    let mut queue = Queue::new();
    let listener = TcpListener::bind(loopback()).unwrap();
    let socket = unconnected();
    queue.add(&socket, Read);
    queue.add(&socket, Filter::Write);
    assert_eq!(queue.ready(), []);
    assert_eq!(queue.ready(), []);
    assert!(!queue.is_readable(), "or who watches the queue would spin");
    start_connecting(&socket, listener.local_addr().unwrap());
    let (mut peer, _) = listener.accept().unwrap();
    assert_eq!(names(&queue.wait()), [(socket.as_raw_fd(), Filter::Write)]);
    peer.write_all(b"rope").unwrap();
    while queue.wait().len() < 2 {}
    let (read, write) = both(&mut queue);
    assert!(!is_eof(&read) && !is_eof(&write));
    assert_eq!(read.data, 4);
}

#[test]
fn a_shutdown_for_writing_ends_writing_only() {
    let mut queue = Queue::new();
    let (tcp, _tcp_peer) = tcp_pair();
    let (unix, _unix_peer) = socket_pair();
    for fd in [tcp.as_fd(), unix.as_fd()] {
        queue.add(&fd, Read);
        queue.add(&fd, Filter::Write);
        assert!(!is_eof(&queue.ready()[0]));
        rustix::net::shutdown(fd, rustix::net::Shutdown::Write).unwrap();
        let event = queue.wait()[0];
        assert_eq!(names(&[event]), [(fd.as_raw_fd(), Filter::Write)]);
        assert!(is_eof(&event));
        assert_eq!(event.fflags, 0);
        queue
            .change(change(fd.as_raw_fd(), Filter::Write, DELETE))
            .unwrap();
    }
}

#[test]
fn a_closed_unix_peer_ends_both_directions() {
    let mut queue = Queue::new();
    let (near, far) = socket_pair();
    queue.add(&near, Read);
    queue.add(&near, Filter::Write);
    drop(far);
    let (read, write) = both(&mut queue);
    assert!(is_eof(&read) && is_eof(&write));
    queue
        .change(change(near.as_raw_fd(), Read, DELETE))
        .unwrap();
    // For writing alone as well.
    assert!(is_eof(&queue.ready()[0]));
}

#[test]
fn an_error_of_a_datagram_is_no_end() {
    let mut queue = Queue::new();
    let gone = UdpSocket::bind(loopback()).unwrap().local_addr().unwrap();
    let socket = UdpSocket::bind(loopback()).unwrap();
    socket.connect(gone).unwrap();
    queue.add(&socket, Read);
    assert_eq!(queue.ready(), []);
    socket.send(b"rope").unwrap();
    let event = queue.wait()[0];
    assert_eq!((is_eof(&event), event.fflags), (false, 0));
    let error = socket.recv(&mut [0]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
    assert_eq!(queue.ready(), []);
}

#[test]
fn a_full_socket_has_no_room() {
    let mut queue = Queue::new();
    let (mut near, far) = socket_pair();
    nonblocking(&near);
    queue.add(&near, Filter::Write);
    assert!(queue.ready()[0].data > 0);
    while near.write(&[0; 65536]).is_ok() {}
    assert_eq!(queue.ready(), []);
    nonblocking(&far);
    while (&far).read(&mut [0; 65536]).is_ok_and(|length| length > 0) {}
    assert_eq!(queue.ready().len(), 1);
}
