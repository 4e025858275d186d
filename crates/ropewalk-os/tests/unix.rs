//! UNIX sockets: names, streams, datagrams, credentials.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use ropewalk_os::socket::datagram::{self, Datagram, ReceiveBatch, SendBatch};
use ropewalk_os::socket::unix::{self, UnixAddr};
use ropewalk_os::socket::{self, Address, ConnectStart};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{FdFlags, fcntl_getfd};

/// A directory of its own, removed with what is in it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ropewalk-unix-{}-{number}", process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn address(&self, name: &str) -> UnixAddr {
        UnixAddr::from_path(self.0.join(name)).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}

fn listener(address: &UnixAddr) -> OwnedFd {
    let fd = unix::stream_socket().unwrap();
    unix::bind(fd.as_fd(), address).unwrap();
    unix::listen(fd.as_fd(), 5).unwrap();
    fd
}

fn connected(address: &UnixAddr) -> OwnedFd {
    let fd = unix::stream_socket().unwrap();
    let start = unix::connect(fd.as_fd(), address).unwrap();
    assert_eq!(start, ConnectStart::Connected);
    fd
}

fn bound_datagram(address: &UnixAddr) -> OwnedFd {
    let fd = unix::datagram_socket().unwrap();
    unix::bind(fd.as_fd(), address).unwrap();
    fd
}

/// A name that no other test process uses.
#[cfg(target_os = "linux")]
fn abstract_name(suffix: &[u8]) -> UnixAddr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut name = format!("ropewalk-{}-{number}-", process::id()).into_bytes();
    name.extend_from_slice(suffix);
    UnixAddr::from_abstract_name(&name).unwrap()
}

#[test]
fn an_address_is_a_path_a_name_or_nothing() {
    let path = UnixAddr::from_path("/run/x.sock").unwrap();
    assert_eq!(path.as_path(), Some(Path::new("/run/x.sock")));
    assert_eq!((path.as_abstract_name(), path.is_unnamed()), (None, false));
    assert_eq!(UnixAddr::UNNAMED.as_path(), None);
    assert_eq!(UnixAddr::UNNAMED.as_abstract_name(), None);
    assert!(UnixAddr::UNNAMED.is_unnamed());
    for bytes in [&b"/run/x.sock"[..], b"relative", b""] {
        assert_eq!(UnixAddr::from_bytes(bytes).unwrap().as_bytes(), bytes);
    }
    assert_eq!(UnixAddr::from_bytes(b"/run/x.sock").unwrap(), path);
    assert_eq!(format!("{path:?}"), "\"/run/x.sock\"");
    assert_eq!(format!("{:?}", UnixAddr::UNNAMED), "(unnamed)");
}

#[test]
fn a_path_that_cannot_be_one_is_refused() {
    for path in ["", "with\0zero", "\0zero"] {
        let error = UnixAddr::from_path(path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_path_may_fill_the_room_but_for_its_end() {
    let directory = Directory::new();
    let most = UnixAddr::ROOM - 1 - directory.0.as_os_str().len() - 1;
    let address = directory.address(&"x".repeat(most));
    let listener = listener(&address);
    assert_eq!(unix::local_addr(listener.as_fd()).unwrap(), address);
    let near = connected(&address);
    assert_eq!(unix::peer_addr(near.as_fd()).unwrap(), address);
    let error = UnixAddr::from_path(directory.0.join("x".repeat(most + 1))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(
        error.to_string().contains(&UnixAddr::ROOM.to_string()),
        "{error}"
    );
}

#[test]
fn a_stream_by_path_carries_both_ways() {
    let directory = Directory::new();
    let address = directory.address("stream");
    let listener = listener(&address);
    let path = address.as_path().unwrap();
    assert!(fs::metadata(path).unwrap().file_type().is_socket());
    let error = unix::accept(listener.as_fd()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    let near = connected(&address);
    let (far, peer) = unix::accept(listener.as_fd()).unwrap();
    assert!(peer.is_unnamed());
    assert!(unix::peer_addr(far.as_fd()).unwrap().is_unnamed());
    assert_eq!(unix::local_addr(far.as_fd()).unwrap(), address);
    let mut buffer = [0; 9];
    for (from, to) in [(&near, &far), (&far, &near)] {
        assert_eq!(socket::send(from.as_fd(), b"data").unwrap(), 4);
        assert_eq!(socket::recv(to.as_fd(), &mut buffer).unwrap(), 4);
    }
    drop(near);
    assert_eq!(socket::recv(far.as_fd(), &mut buffer).unwrap(), 0);
    assert_eq!(errno(socket::send(far.as_fd(), b"data")), libc::EPIPE);
}

#[test]
fn a_client_that_bound_has_an_address() {
    let directory = Directory::new();
    let (address, own) = (directory.address("server"), directory.address("client"));
    let listener = listener(&address);
    let near = unix::stream_socket().unwrap();
    unix::bind(near.as_fd(), &own).unwrap();
    unix::connect(near.as_fd(), &address).unwrap();
    let (far, peer) = unix::accept(listener.as_fd()).unwrap();
    assert_eq!(peer, own);
    assert_eq!(unix::peer_addr(far.as_fd()).unwrap(), own);
}

#[test]
fn everything_made_is_non_blocking_and_close_on_exec() {
    let directory = Directory::new();
    let address = directory.address("stream");
    let listener = listener(&address);
    let near = connected(&address);
    let (far, _) = unix::accept(listener.as_fd()).unwrap();
    let datagrams = unix::datagram_socket().unwrap();
    for fd in [&listener, &near, &far, &datagrams] {
        assert!(fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK));
        assert!(fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC));
    }
}

#[test]
fn errors_of_names_are_the_systems() {
    let directory = Directory::new();
    let address = directory.address("name");
    let near = unix::stream_socket().unwrap();
    assert_eq!(errno(unix::connect(near.as_fd(), &address)), libc::ENOENT);
    drop(listener(&address));
    assert_eq!(
        errno(unix::connect(near.as_fd(), &address)),
        libc::ECONNREFUSED
    );
    assert_eq!(errno(unix::bind(near.as_fd(), &address)), libc::EADDRINUSE);
    fs::remove_file(address.as_path().unwrap()).unwrap();
    let _datagrams = bound_datagram(&address);
    assert_eq!(
        errno(unix::connect(near.as_fd(), &address)),
        libc::EPROTOTYPE
    );
    let missing = directory.address("missing/name");
    assert_eq!(errno(unix::bind(near.as_fd(), &missing)), libc::ENOENT);
}

#[test]
fn a_socket_of_another_family_has_no_unix_address() {
    let loopback = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let fd = socket::stream_socket(loopback).unwrap();
    let error = unix::local_addr(fd.as_fd()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let near = unix::stream_socket().unwrap();
    assert_eq!(errno(unix::peer_addr(near.as_fd())), libc::ENOTCONN);
}

#[test]
fn datagrams_tell_the_name_of_a_sender_that_has_one() {
    let directory = Directory::new();
    let (here, there) = (directory.address("here"), directory.address("there"));
    let (near, far) = (bound_datagram(&here), bound_datagram(&there));
    let unnamed = unix::datagram_socket().unwrap();
    let to = Address::from(there);
    datagram::send_to(near.as_fd(), b"named", &to).unwrap();
    datagram::send_to(unnamed.as_fd(), b"", &to).unwrap();
    let datagrams = [Datagram {
        data: b"again",
        to: Some(&to),
    }];
    assert_eq!(SendBatch::new(1).send(near.as_fd(), datagrams).count, 1);
    let mut batch = ReceiveBatch::new(8, 100);
    assert_eq!(batch.receive(far.as_fd(), 8).unwrap(), 3);
    let senders = [0, 1, 2].map(|index| batch.sender(index));
    assert_eq!(senders, [Some(here.into()), None, Some(here.into())]);
    assert_eq!([batch.data(0), batch.data(1)], [&b"named"[..], b""]);
}

#[test]
fn connected_datagrams_need_no_address_and_learn_that_the_peer_is_gone() {
    let directory = Directory::new();
    let address = directory.address("server");
    let far = bound_datagram(&address);
    let near = unix::datagram_socket().unwrap();
    unix::connect(near.as_fd(), &address).unwrap();
    datagram::send(near.as_fd(), b"data").unwrap();
    let mut batch = ReceiveBatch::new(8, 100);
    assert_eq!(batch.receive(far.as_fd(), 8).unwrap(), 1);
    drop(far);
    assert_eq!(
        errno(datagram::send(near.as_fd(), b"data")),
        libc::ECONNREFUSED
    );
}

#[test]
fn a_full_receiver_makes_datagrams_wait() {
    let directory = Directory::new();
    let address = directory.address("server");
    let far = bound_datagram(&address);
    let near = unix::datagram_socket().unwrap();
    let to = Address::from(address);
    let mut sent = 0_usize;
    let error = loop {
        match datagram::send_to(near.as_fd(), b"data", &to) {
            Ok(_) => sent += 1,
            Err(error) => break error,
        }
    };
    assert!([Some(libc::EAGAIN), Some(libc::ENOBUFS)].contains(&error.raw_os_error()));
    let mut batch = ReceiveBatch::new(16, 100);
    let mut received = 0;
    while let Ok(count) = batch.receive(far.as_fd(), 16) {
        received += count;
    }
    assert_eq!(received, sent);
}

#[test]
fn the_peer_of_a_stream_is_this_process() {
    let (near, _far) = UnixStream::pair().unwrap();
    let peer = unix::peer_credentials(near.as_fd()).unwrap();
    assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
    assert_eq!(peer.gid, rustix::process::getegid().as_raw());
    if cfg!(target_os = "linux") {
        assert_eq!(peer.pid, Some(process::id()));
    }
    let alone = unix::stream_socket().unwrap();
    assert_eq!(errno(unix::peer_credentials(alone.as_fd())), libc::ENOTCONN);
}

#[cfg(target_os = "linux")]
mod linux {
    use super::*;

    #[test]
    fn an_abstract_name_keeps_its_zeros_and_its_length() {
        let address = abstract_name(b"a\0b\0");
        let listener = listener(&address);
        assert_eq!(unix::local_addr(listener.as_fd()).unwrap(), address);
        let near = connected(&address);
        assert_eq!(unix::peer_addr(near.as_fd()).unwrap(), address);
        let bytes = address.as_bytes();
        let shorter = UnixAddr::from_bytes(&bytes[..bytes.len() - 1]).unwrap();
        let other = unix::stream_socket().unwrap();
        let result = unix::connect(other.as_fd(), &shorter);
        assert_eq!(errno(result), libc::ECONNREFUSED);
        assert_eq!(errno(unix::bind(other.as_fd(), &address)), libc::EADDRINUSE);
        assert!(address.as_path().is_none());
        assert!(format!("{address:?}").ends_with("a\\x00b\\x00\""));
    }

    #[test]
    fn an_abstract_name_may_fill_the_room_but_for_its_mark() {
        let start = abstract_name(b"");
        let mut name = start.as_abstract_name().unwrap().to_vec();
        name.resize(107, 0);
        let address = UnixAddr::from_abstract_name(&name).unwrap();
        let listener = listener(&address);
        assert_eq!(unix::local_addr(listener.as_fd()).unwrap(), address);
        name.push(b'x');
        let error = UnixAddr::from_abstract_name(&name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("108"), "{error}");
    }

    #[test]
    fn a_socket_bound_to_no_name_is_given_one() {
        let fd = bound_datagram(&UnixAddr::UNNAMED);
        let address = unix::local_addr(fd.as_fd()).unwrap();
        assert_eq!(address.as_abstract_name().unwrap().len(), 5);
    }

    #[test]
    fn a_full_backlog_is_told_at_once() {
        let directory = Directory::new();
        let address = directory.address("stream");
        let listener = listener(&address);
        unix::listen(listener.as_fd(), 0).unwrap();
        let mut waiting = Vec::new();
        let error = loop {
            assert!(waiting.len() < 5, "no backlog is full");
            let near = unix::stream_socket().unwrap();
            match unix::connect(near.as_fd(), &address) {
                Ok(_) => waiting.push(near),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }

    /// A path of 108 bytes has no zero byte behind it, and Linux tells it with one byte more than
    /// its address has room for.
    #[test]
    fn a_peer_whose_path_fills_all_the_room_is_known() {
        let directory = Directory::new();
        let server = directory.address("server");
        let (stream, datagrams) = (listener(&server), bound_datagram(&directory.address("far")));
        let length = UnixAddr::ROOM - directory.0.as_os_str().len() - 1;
        let path = directory.0.join("x".repeat(length));
        let full = rustix::net::SocketAddrUnix::new(&path).unwrap();

        let near = unix::stream_socket().unwrap();
        rustix::net::bind(&near, &full).unwrap();
        unix::connect(near.as_fd(), &server).unwrap();
        let (far, peer) = unix::accept(stream.as_fd()).unwrap();
        assert_eq!(peer.as_path(), Some(&*path));
        assert_eq!(unix::peer_addr(far.as_fd()).unwrap(), peer);

        fs::remove_file(&path).unwrap();
        let near = unix::datagram_socket().unwrap();
        rustix::net::bind(&near, &full).unwrap();
        let to = Address::from(directory.address("far"));
        datagram::send_to(near.as_fd(), b"there", &to).unwrap();
        let mut batch = ReceiveBatch::new(1, 100);
        batch.receive(datagrams.as_fd(), 1).unwrap();
        let sender = batch.sender(0).unwrap();
        assert_eq!(sender, Address::from(peer));
        datagram::send_to(datagrams.as_fd(), b"back", &sender).unwrap();
        batch.receive(near.as_fd(), 1).unwrap();
        assert_eq!(batch.data(0), b"back");
    }
}
