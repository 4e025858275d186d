//! Stream sockets over IPv4 and IPv6, on the loopback.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{self, ErrorKind, IoSlice};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use ropewalk_os::socket::{self, AcceptError, ConnectStart, ListenOptions};
use ropewalk_os::{SignalSet, Waker};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const V4: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const V6: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::LOCALHOST), 0);

/// Waits until `fd` is ready for one of `flags`.
fn until(fd: &OwnedFd, flags: PollFlags) {
    let limit = Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    let count = poll(&mut [PollFd::new(fd, flags)], Some(&limit)).unwrap();
    assert_eq!(count, 1, "not ready in ten seconds");
}

fn listener(address: SocketAddr) -> (OwnedFd, SocketAddr) {
    let fd = socket::listen(address, &ListenOptions::default()).unwrap();
    let address = socket::local_addr(fd.as_fd()).unwrap();
    (fd, address)
}

fn connect(address: SocketAddr) -> OwnedFd {
    let fd = socket::stream_socket(address).unwrap();
    if socket::connect(fd.as_fd(), address).unwrap() == ConnectStart::InProgress {
        until(&fd, PollFlags::OUT);
    }
    assert!(socket::take_error(fd.as_fd()).unwrap().is_none());
    fd
}

/// Both ends of a connection: connecting, accepted.
fn pair(address: SocketAddr) -> (OwnedFd, OwnedFd) {
    let (listener, address) = listener(address);
    let near = connect(address);
    until(&listener, PollFlags::IN);
    let (far, peer) = socket::accept(listener.as_fd()).unwrap();
    assert_eq!(peer, socket::local_addr(near.as_fd()).unwrap());
    (near, far)
}

fn receive(fd: &OwnedFd, length: usize) -> Vec<u8> {
    let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
    while received.len() < length {
        until(fd, PollFlags::IN);
        let count = socket::recv(fd.as_fd(), &mut buffer).unwrap();
        assert_ne!(count, 0, "ended early");
        received.extend_from_slice(&buffer[..count]);
    }
    received
}

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}

fn a_connection_carries_both_ways(address: SocketAddr) {
    let (near, far) = pair(address);
    assert_eq!(
        socket::peer_addr(near.as_fd()).unwrap(),
        socket::local_addr(far.as_fd()).unwrap()
    );
    assert_eq!(socket::peer_addr(near.as_fd()).unwrap().ip(), address.ip());
    assert_eq!(socket::send(near.as_fd(), b"there").unwrap(), 5);
    assert_eq!(receive(&far, 5), b"there");
    let slices = [b"and", &b""[..], b" back"].map(IoSlice::new);
    assert_eq!(socket::send_vectored(far.as_fd(), &slices).unwrap(), 8);
    assert_eq!(receive(&near, 8), b"and back");
}

#[test]
fn a_connection_carries_both_ways_over_ipv4() {
    a_connection_carries_both_ways(V4);
}

#[test]
fn a_connection_carries_both_ways_over_ipv6() {
    a_connection_carries_both_ways(V6);
}

#[test]
fn everything_made_is_non_blocking_and_close_on_exec() {
    let (listener, address) = listener(V4);
    let near = connect(address);
    until(&listener, PollFlags::IN);
    let (far, _) = socket::accept(listener.as_fd()).unwrap();
    for fd in [&listener, &near, &far] {
        let flags = rustix::fs::fcntl_getfl(fd).unwrap();
        assert!(flags.contains(rustix::fs::OFlags::NONBLOCK));
        let flags = rustix::io::fcntl_getfd(fd).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
    let mut buffer = [0];
    assert_eq!(errno(socket::recv(near.as_fd(), &mut buffer)), libc::EAGAIN);
    let error = socket::accept(listener.as_fd()).unwrap_err();
    assert_eq!(socket::accept_error(&error), AcceptError::Drained);
}

#[test]
fn a_full_connection_takes_a_part_and_then_nothing() {
    let (near, far) = pair(V4);
    let chunk = vec![7; 1 << 20];
    let mut sent = 0;
    let error = loop {
        match socket::send_vectored(near.as_fd(), &[IoSlice::new(&chunk), IoSlice::new(&chunk)]) {
            Ok(count) => sent += count,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert!(sent > 0);
    assert_eq!(receive(&far, sent).len(), sent);
    until(&near, PollFlags::OUT);
    assert!(socket::send(near.as_fd(), &chunk).unwrap() > 0);
}

#[test]
fn a_closed_write_side_ends_the_peers_stream_only() {
    let (near, far) = pair(V4);
    socket::send(near.as_fd(), b"end").unwrap();
    socket::shutdown_write(near.as_fd()).unwrap();
    assert_eq!(receive(&far, 3), b"end");
    until(&far, PollFlags::IN);
    assert_eq!(socket::recv(far.as_fd(), &mut [0; 8]).unwrap(), 0);
    socket::send(far.as_fd(), b"answer").unwrap();
    assert_eq!(receive(&near, 6), b"answer");
    // The test runner ignores SIGPIPE; other programs do not, and would be gone.
    let mut signals = SignalSet::new(Waker::new().unwrap());
    signals.add(libc::SIGPIPE).unwrap();
    assert_eq!(errno(socket::send(near.as_fd(), b"more")), libc::EPIPE);
    let more = [IoSlice::new(b"more")];
    assert_eq!(
        errno(socket::send_vectored(near.as_fd(), &more)),
        libc::EPIPE
    );
    assert_eq!(signals.take_pending(), []);
}

#[test]
fn both_sides_closed_end_both_streams() {
    let (near, far) = pair(V4);
    socket::shutdown_both(near.as_fd()).unwrap();
    for fd in [&near, &far] {
        until(fd, PollFlags::IN);
        assert_eq!(socket::recv(fd.as_fd(), &mut [0]).unwrap(), 0);
    }
}

#[test]
fn a_close_without_lingering_resets_the_peer() {
    for address in [V4, V6] {
        let (near, far) = pair(address);
        socket::set_linger_zero(near.as_fd()).unwrap();
        drop(near);
        until(&far, PollFlags::ERR);
        assert_eq!(
            errno(socket::recv(far.as_fd(), &mut [0; 8])),
            libc::ECONNRESET
        );
        assert_eq!(errno(socket::peer_addr(far.as_fd())), libc::ENOTCONN);
        assert_eq!(errno(socket::shutdown_write(far.as_fd())), libc::ENOTCONN);
    }
}

#[test]
fn the_error_of_a_socket_is_taken_once() {
    let (near, far) = pair(V4);
    socket::set_linger_zero(near.as_fd()).unwrap();
    drop(near);
    until(&far, PollFlags::ERR);
    let error = socket::take_error(far.as_fd()).unwrap().unwrap();
    assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
    assert!(socket::take_error(far.as_fd()).unwrap().is_none());
}

#[test]
fn an_unconnected_socket_has_no_peer() {
    let fd = socket::stream_socket(V4).unwrap();
    assert_eq!(errno(socket::peer_addr(fd.as_fd())), libc::ENOTCONN);
    let unbound = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    assert_eq!(socket::local_addr(fd.as_fd()).unwrap(), unbound);
}

#[test]
fn options_read_as_they_were_set() {
    type Get = fn(std::os::fd::BorrowedFd<'_>) -> io::Result<bool>;
    type Set = fn(std::os::fd::BorrowedFd<'_>, bool) -> io::Result<()>;
    let options: [(Get, Set); 4] = [
        (socket::nodelay, socket::set_nodelay),
        (socket::keepalive, socket::set_keepalive),
        (socket::reuse_address, socket::set_reuse_address),
        (socket::reuse_port, socket::set_reuse_port),
    ];
    for address in [V4, V6] {
        let fd = socket::stream_socket(address).unwrap();
        for (index, (get, set)) in options.iter().enumerate() {
            assert!(!get(fd.as_fd()).unwrap(), "option {index} is off at first");
            set(fd.as_fd(), true).unwrap();
            assert!(get(fd.as_fd()).unwrap(), "option {index}");
        }
        for (get, set) in options {
            set(fd.as_fd(), false).unwrap();
            assert!(!get(fd.as_fd()).unwrap());
        }
    }
}

#[test]
fn a_port_in_use_is_refused_unless_it_is_shared() {
    let (_first, address) = listener(V4);
    let refused = socket::listen(address, &ListenOptions::default());
    assert_eq!(errno(refused), libc::EADDRINUSE);

    let shared = ListenOptions {
        reuse_port: true,
        ..ListenOptions::default()
    };
    let first = socket::listen(V4, &shared).unwrap();
    let address = socket::local_addr(first.as_fd()).unwrap();
    let second = socket::listen(address, &shared).unwrap();
    assert_eq!(socket::local_addr(second.as_fd()).unwrap(), address);
}

#[test]
fn reuse_of_an_address_is_the_listeners_choice() {
    for reuse_address in [true, false] {
        let options = ListenOptions {
            reuse_address,
            ..ListenOptions::default()
        };
        let fd = socket::listen(V4, &options).unwrap();
        assert_eq!(socket::reuse_address(fd.as_fd()).unwrap(), reuse_address);
    }
}

#[test]
fn an_ipv6_listener_takes_ipv4_connections_unless_told_otherwise() {
    for v6_only in [false, true] {
        let options = ListenOptions {
            v6_only: Some(v6_only),
            ..ListenOptions::default()
        };
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let listener = socket::listen(any, &options).unwrap();
        let port = socket::local_addr(listener.as_fd()).unwrap().port();
        let client = socket::stream_socket(V4).unwrap();
        let start = socket::connect(client.as_fd(), (Ipv4Addr::LOCALHOST, port).into());
        if start.is_ok() {
            until(&client, PollFlags::OUT);
        }
        let error = start.map_or_else(Some, |_| socket::take_error(client.as_fd()).unwrap());
        if v6_only {
            assert_eq!(error.unwrap().kind(), ErrorKind::ConnectionRefused);
        } else {
            assert!(error.is_none());
            until(&listener, PollFlags::IN);
            let (_connection, peer) = socket::accept(listener.as_fd()).unwrap();
            let SocketAddr::V6(peer) = peer else {
                panic!("{peer}")
            };
            assert_eq!(peer.ip().to_ipv4_mapped(), Some(Ipv4Addr::LOCALHOST));
        }
    }
}

#[test]
fn a_connect_comes_from_where_it_was_bound() {
    let (listener, address) = listener(V4);
    let fd = socket::stream_socket(address).unwrap();
    socket::bind(fd.as_fd(), (Ipv4Addr::new(127, 0, 0, 2), 0).into()).unwrap();
    let bound = socket::local_addr(fd.as_fd()).unwrap();
    socket::connect(fd.as_fd(), address).unwrap();
    until(&listener, PollFlags::IN);
    assert_eq!(socket::accept(listener.as_fd()).unwrap().1, bound);
}

#[test]
fn an_address_of_nobody_here_cannot_be_bound() {
    let fd = socket::stream_socket(V4).unwrap();
    // TEST-NET-1 (RFC 5737) is nobody's.
    let nobody = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 0));
    assert_eq!(errno(socket::bind(fd.as_fd(), nobody)), libc::EADDRNOTAVAIL);
}

#[test]
fn a_connect_asked_for_again_is_no_error() {
    let (_listener, address) = listener(V4);
    let fd = connect(address);
    assert_eq!(
        socket::connect(fd.as_fd(), address).unwrap(),
        ConnectStart::Connected
    );
}

#[test]
fn the_scope_of_an_ipv6_address_is_kept() {
    let fd = socket::stream_socket(V6).unwrap();
    let interface = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    // Lines are: address, index in hexadecimal, prefix length, scope (20: link), flags, name.
    let fields = interface
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|fields| fields.len() == 6 && fields[3] == "20" && fields[0].starts_with("fe80"));
    let address = match &fields {
        Some(fields) => {
            let bits = u128::from_str_radix(fields[0], 16).unwrap();
            let scope = u32::from_str_radix(fields[1], 16).unwrap();
            std::net::SocketAddrV6::new(Ipv6Addr::from(bits), 0, 0, scope)
        }
        None => std::net::SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, 0, 0),
    };
    socket::bind(fd.as_fd(), address.into()).unwrap();
    let SocketAddr::V6(local) = socket::local_addr(fd.as_fd()).unwrap() else {
        panic!("not an IPv6 address")
    };
    assert_eq!(
        (local.ip(), local.scope_id()),
        (address.ip(), address.scope_id())
    );
}

/// A `recv` that a signal interrupts would be a spurious failure of the connection. Non-blocking
/// calls are not interrupted, so the socket is made to block here.
#[test]
fn an_interrupted_call_is_made_again() {
    let (near, far) = pair(V4);
    rustix::io::ioctl_fionbio(&far, false).unwrap();
    // A handler without SA_RESTART, or the system would make the call again itself.
    extern "C" fn nothing(_: i32) {}
    // SAFETY: an action of zeros with a handler is a valid one; the handler does nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(i32) as usize;
        assert_eq!(
            libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()),
            0
        );
    }
    // A number, or a pointer in musl, which does not cross threads.
    // SAFETY: asks for this thread's own id.
    let reader = unsafe { libc::pthread_self() } as usize;
    let sender = std::thread::spawn(move || {
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(1));
            // SAFETY: the reading thread joins this one before it ends.
            unsafe { libc::pthread_kill(reader as libc::pthread_t, libc::SIGUSR1) };
        }
        socket::send(near.as_fd(), b"x").unwrap();
    });
    let start = Instant::now();
    let received = socket::recv(far.as_fd(), &mut [0; 8]).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(10));
    assert_eq!(received, 1);
    sender.join().unwrap();
}

#[test]
fn errors_of_accept_are_sorted() {
    let sorted = [
        (libc::EAGAIN, AcceptError::Drained),
        (libc::EWOULDBLOCK, AcceptError::Drained),
        (libc::EPERM, AcceptError::Skip),
        (libc::ECONNABORTED, AcceptError::Skip),
        (libc::EPROTO, AcceptError::Skip),
        (libc::ENETDOWN, AcceptError::Skip),
        (libc::ENETUNREACH, AcceptError::Skip),
        (libc::EHOSTDOWN, AcceptError::Skip),
        (libc::EHOSTUNREACH, AcceptError::Skip),
        (libc::ENOPROTOOPT, AcceptError::Skip),
        (libc::EMFILE, AcceptError::NoDescriptor),
        (libc::ENFILE, AcceptError::Refused),
        (libc::ENOBUFS, AcceptError::Refused),
        (libc::ENOMEM, AcceptError::Refused),
        // Not a listening stream socket: a round that skipped it would never end.
        (libc::EOPNOTSUPP, AcceptError::Refused),
        (libc::EINVAL, AcceptError::Refused),
        (libc::EBADF, AcceptError::Refused),
    ];
    for (errno, meaning) in sorted {
        let error = io::Error::from_raw_os_error(errno);
        assert_eq!(socket::accept_error(&error), meaning, "{error}");
        assert_eq!(socket::is_no_buffers(&error), errno == libc::ENOBUFS);
    }
}
