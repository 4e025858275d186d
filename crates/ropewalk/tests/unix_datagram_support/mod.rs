//! What the tests of UNIX datagrams share: a port that notes what it hears, and peers.
#![allow(dead_code, reason = "each test file uses its part")]

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::rc::Rc;

use ropewalk::{DatagramTransport, NetAddr, Reactor, UnixAddr};

use crate::tcp_support::LIMIT;
use crate::udp_support::{Log, Recorder};

pub(crate) fn listen(
    reactor: &Reactor,
    address: impl Into<UnixAddr>,
) -> (DatagramTransport, Rc<Log>) {
    let (recorder, log) = Recorder::new();
    (
        reactor.listen_unix_datagram(address, recorder).unwrap(),
        log,
    )
}

/// A socket of the program's peer, bound to `path`.
pub(crate) fn peer(path: &Path) -> UnixDatagram {
    let peer = UnixDatagram::bind(path).unwrap();
    peer.set_read_timeout(Some(LIMIT)).unwrap();
    peer
}

pub(crate) fn receive(peer: &UnixDatagram) -> Vec<u8> {
    let mut buffer = vec![0; 300_000];
    let length = peer.recv(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

pub(crate) fn unix(address: impl Into<UnixAddr>) -> NetAddr {
    address.into().into()
}
