//! Connected pairs of blocking sockets, on the loopback.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

/// A connected pair of UNIX stream sockets.
///
/// # Panics
///
/// When the system refuses.
pub fn socket_pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().expect("a socket pair")
}

/// Both ends of a TCP connection over `127.0.0.1`: connecting, accepted.
///
/// # Panics
///
/// When the system refuses.
pub fn tcp_pair() -> (TcpStream, TcpStream) {
    connect((Ipv4Addr::LOCALHOST, 0).into()).expect("a connection over 127.0.0.1")
}

/// Both ends of a TCP connection over `::1`, or `None` on a system without IPv6.
pub fn tcp_pair_v6() -> Option<(TcpStream, TcpStream)> {
    connect((Ipv6Addr::LOCALHOST, 0).into()).ok()
}

fn connect(address: SocketAddr) -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind(address)?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let expected = near.local_addr()?;
    // Somebody else on this machine may connect to the port first.
    loop {
        let (far, peer) = listener.accept()?;
        if peer == expected {
            return Ok((near, far));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn what_one_end_writes_the_other_reads() {
        let (mut near, mut far) = tcp_pair();
        near.write_all(b"rope").unwrap();
        let mut read = [0; 4];
        far.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"rope");
        assert_eq!(near.peer_addr().unwrap(), far.local_addr().unwrap());
    }
}
