//! Datagram sockets over IPv4 and IPv6, on the loopback.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[cfg(target_os = "linux")]
mod seccomp;

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use ropewalk_os::socket::datagram::{self, Datagram, ReceiveBatch, SendBatch};
use ropewalk_os::socket::unix::{self, UnixAddr};
use ropewalk_os::socket::{self, Address};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const V4: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const V6: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::LOCALHOST), 0);

fn bound(address: SocketAddr) -> (OwnedFd, SocketAddr) {
    let fd = datagram::socket(address).unwrap();
    socket::bind(fd.as_fd(), address).unwrap();
    let address = socket::local_addr(fd.as_fd()).unwrap();
    (fd, address)
}

fn until(fd: &OwnedFd, flags: PollFlags) {
    let limit = Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    let count = poll(&mut [PollFd::new(fd, flags)], Some(&limit)).unwrap();
    assert_eq!(count, 1, "not ready in ten seconds");
}

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}

fn datagrams_have_a_sender_and_a_length(address: SocketAddr) {
    let ((near, from), (far, to)) = (bound(address), bound(address));
    let mut batch = ReceiveBatch::new(4, 100);
    let error = batch.receive(far.as_fd(), 4).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    let to = Address::from(to);
    for data in [&b"one"[..], b"", b"three"] {
        let sent = datagram::send_to(near.as_fd(), data, &to).unwrap();
        assert_eq!(sent, data.len());
    }
    until(&far, PollFlags::IN);
    assert_eq!(batch.receive(far.as_fd(), 4).unwrap(), 3);
    let received: Vec<_> = (0..batch.received())
        .map(|index| batch.data(index))
        .collect();
    assert_eq!(received, [&b"one"[..], b"", b"three"]);
    assert!((0..3).all(|index| batch.sender(index) == Some(from.into())));
    assert!((0..3).all(|index| !batch.is_truncated(index)));
}

#[test]
fn datagrams_have_a_sender_and_a_length_over_ipv4() {
    datagrams_have_a_sender_and_a_length(V4);
}

#[test]
fn datagrams_have_a_sender_and_a_length_over_ipv6() {
    datagrams_have_a_sender_and_a_length(V6);
}

#[test]
fn a_limit_leaves_the_rest_for_the_next_call() {
    let ((near, _), (far, to)) = (bound(V4), bound(V4));
    for data in b"abcde" {
        datagram::send_to(near.as_fd(), &[*data], &to.into()).unwrap();
    }
    let mut batch = ReceiveBatch::new(3, 1);
    let counts = [2, 3].map(|limit| batch.receive(far.as_fd(), limit).unwrap());
    assert_eq!(counts, [2, 3]);
    assert_eq!([batch.data(0), batch.data(2)], [b"c", b"e"]);
    assert_eq!(errno(batch.receive(far.as_fd(), 9)), libc::EAGAIN);
    assert_eq!(batch.received(), 0);
}

fn a_datagram_longer_than_its_room_is_told_to_be_cut(near: &OwnedFd, far: &OwnedFd, to: Address) {
    for limit in [2, 1] {
        for data in [&b"too long"[..], b"fits"] {
            datagram::send_to(near.as_fd(), data, &to).unwrap();
        }
        let mut batch = ReceiveBatch::new(2, 4);
        assert_eq!(batch.receive(far.as_fd(), limit).unwrap(), limit);
        assert_eq!(batch.data(0), b"too ");
        assert!(batch.is_truncated(0));
        let last = limit - 1;
        if last == 0 {
            assert_eq!(batch.receive(far.as_fd(), limit).unwrap(), 1);
        }
        assert_eq!(batch.data(last), b"fits");
        assert!(!batch.is_truncated(last));
    }
}

#[test]
fn a_udp_datagram_longer_than_its_room_is_told_to_be_cut() {
    let ((near, _), (far, to)) = (bound(V4), bound(V4));
    a_datagram_longer_than_its_room_is_told_to_be_cut(&near, &far, to.into());
}

#[test]
fn a_unix_datagram_longer_than_its_room_is_told_to_be_cut() {
    let (near, far) = (
        unix::datagram_socket().unwrap(),
        unix::datagram_socket().unwrap(),
    );
    let path = std::env::temp_dir().join(format!("ropewalk-datagram-{}", std::process::id()));
    let to = UnixAddr::from_path(&path).unwrap();
    unix::bind(far.as_fd(), &to).unwrap();
    a_datagram_longer_than_its_room_is_told_to_be_cut(&near, &far, to.into());
    std::fs::remove_file(&path).unwrap();
}

/// As on systems without calls for many datagrams.
#[test]
#[cfg(target_os = "linux")]
fn batches_work_where_there_is_no_call_for_many() {
    let thread = std::thread::spawn(|| {
        seccomp::refuse(&[libc::SYS_recvmmsg, libc::SYS_sendmmsg], libc::ENOSYS);
        datagrams_have_a_sender_and_a_length(V4);
        datagrams_have_a_sender_and_a_length(V6);
        a_limit_leaves_the_rest_for_the_next_call();
        a_udp_datagram_longer_than_its_room_is_told_to_be_cut();
        a_batch_is_sent_in_order_to_several();
        the_datagram_that_cannot_be_sent_is_told_by_its_number();
        a_closed_port_is_told_once_to_a_connected_socket();
    });
    thread.join().unwrap();
}

#[test]
fn every_length_that_udp_has_arrives_and_longer_ones_are_refused() {
    let ((near, _), (far, to)) = (bound(V4), bound(V4));
    let data: Vec<u8> = (0..65_508).map(|index| index as u8).collect();
    let mut batch = ReceiveBatch::new(1, 65_535);
    for length in [0, 1, 1_472, 1_473, 8_192, 8_193, 65_506, 65_507] {
        let sent = datagram::send_to(near.as_fd(), &data[..length], &to.into()).unwrap();
        assert_eq!(sent, length);
        until(&far, PollFlags::IN);
        assert_eq!(batch.receive(far.as_fd(), 1).unwrap(), 1);
        assert!(batch.data(0) == &data[..length], "{length} bytes changed");
    }
    let result = datagram::send_to(near.as_fd(), &data, &to.into());
    assert_eq!(errno(result), libc::EMSGSIZE);
}

#[test]
fn a_batch_is_sent_in_order_to_several() {
    let (near, _) = bound(V4);
    let ((one, to_one), (two, to_two)) = (bound(V4), bound(V4));
    let to = [Address::from(to_one), to_two.into()];
    let contents = [b"0", b"1", b"2", b"3", b"4"];
    let datagrams = contents
        .iter()
        .zip(to.iter().cycle())
        .map(|(data, to)| Datagram {
            data: *data,
            to: Some(to),
        });
    let mut batch = SendBatch::new(3);
    let sent = batch.send(near.as_fd(), datagrams.clone());
    assert!(sent.count == 3 && sent.error.is_none());
    let sent = batch.send(near.as_fd(), datagrams.skip(3));
    assert!(sent.count == 2 && sent.error.is_none());
    let mut received = ReceiveBatch::new(5, 9);
    assert_eq!(received.receive(one.as_fd(), 5).unwrap(), 3);
    assert_eq!(
        [received.data(0), received.data(1), received.data(2)],
        [b"0", b"2", b"4"]
    );
    assert_eq!(received.receive(two.as_fd(), 5).unwrap(), 2);
}

#[test]
fn the_datagram_that_cannot_be_sent_is_told_by_its_number() {
    let ((near, _), (far, to)) = (bound(V4), bound(V4));
    let (to, long) = (Address::from(to), vec![0; 70_000]);
    let datagrams = [&b"fits"[..], b"fits too", &long, b"not tried"];
    let datagrams = datagrams.map(|data| Datagram {
        data,
        to: Some(&to),
    });
    let mut batch = SendBatch::new(9);
    let sent = batch.send(near.as_fd(), datagrams);
    assert_eq!(sent.count, 2);
    assert_eq!(errno(sent.error.map_or(Ok(()), Err)), libc::EMSGSIZE);
    let sent = batch.send(near.as_fd(), datagrams.into_iter().skip(2));
    assert_eq!(sent.count, 0);
    assert_eq!(errno(sent.error.map_or(Ok(()), Err)), libc::EMSGSIZE);
    let mut received = ReceiveBatch::new(9, 9);
    assert_eq!(received.receive(far.as_fd(), 9).unwrap(), 2);
}

#[test]
fn a_connected_socket_sends_without_an_address_and_hears_its_peer_only() {
    let ((near, from), (far, to), (stranger, _)) = (bound(V4), bound(V4), bound(V4));
    socket::connect(near.as_fd(), to).unwrap();
    assert_eq!(datagram::send(near.as_fd(), b"to the peer").unwrap(), 11);
    let unaddressed = Datagram {
        data: b"again",
        to: None,
    };
    assert_eq!(SendBatch::new(1).send(near.as_fd(), [unaddressed]).count, 1);
    let mut batch = ReceiveBatch::new(4, 100);
    assert_eq!(batch.receive(far.as_fd(), 4).unwrap(), 2);
    assert_eq!(batch.sender(1), Some(from.into()));
    datagram::send_to(stranger.as_fd(), b"from elsewhere", &from.into()).unwrap();
    assert_eq!(errno(batch.receive(near.as_fd(), 4)), libc::EAGAIN);
}

#[test]
fn a_closed_port_is_told_once_to_a_connected_socket() {
    let ((near, _), (far, to)) = (bound(V4), bound(V4));
    socket::connect(near.as_fd(), to).unwrap();
    drop(far);
    datagram::send(near.as_fd(), b"into the void").unwrap();
    let mut batch = ReceiveBatch::new(4, 100);
    until(&near, PollFlags::IN);
    let error = batch.receive(near.as_fd(), 4).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
    assert_eq!(errno(batch.receive(near.as_fd(), 4)), libc::EAGAIN);
}

#[test]
fn a_closed_port_is_not_told_to_a_socket_without_a_peer() {
    let ((near, _), (far, to)) = (bound(V4), bound(V4));
    drop(far);
    for _ in 0..3 {
        datagram::send_to(near.as_fd(), b"into the void", &to.into()).unwrap();
    }
    let mut batch = ReceiveBatch::new(4, 100);
    assert_eq!(errno(batch.receive(near.as_fd(), 4)), libc::EAGAIN);
}

#[test]
fn an_address_of_another_family_is_an_error_of_the_system() {
    let ((four, _), (_six, to)) = (bound(V4), bound(V6));
    let result = datagram::send_to(four.as_fd(), b"", &to.into());
    assert!([libc::EAFNOSUPPORT, libc::EINVAL].contains(&errno(result)));
}

#[test]
fn sockets_are_non_blocking_and_close_on_exec() {
    for address in [V4, V6] {
        let fd = datagram::socket(address).unwrap();
        let flags = rustix::fs::fcntl_getfl(&fd).unwrap();
        assert!(flags.contains(rustix::fs::OFlags::NONBLOCK));
        let flags = rustix::io::fcntl_getfd(&fd).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
}

#[test]
fn a_socket_that_blocks_is_not_waited_for() {
    let (fd, _) = bound(V4);
    rustix::io::ioctl_fionbio(&fd, false).unwrap();
    let mut batch = ReceiveBatch::new(4, 100);
    assert_eq!(errno(batch.receive(fd.as_fd(), 4)), libc::EAGAIN);
}
