//! Sockets that others made: given, duplicated, passed by a service manager.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::env;
use std::fs::File;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::Command;

use ropewalk_os::socket;
use ropewalk_os::socket::adopt::{self, Family, Kind};
use ropewalk_os::systemd;
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}

/// A number under which nothing is open.
fn closed() -> BorrowedFd<'static> {
    // SAFETY: no process has so many descriptors; the calls that are given it answer `EBADF`.
    unsafe { BorrowedFd::borrow_raw(i32::MAX) }
}

#[test]
fn a_socket_tells_its_family_and_type() {
    let (stream, _peer) = UnixStream::pair().unwrap();
    let sockets: [(OwnedFd, Family, Kind); 6] = [
        (
            TcpListener::bind("127.0.0.1:0").unwrap().into(),
            Family::Inet,
            Kind::Stream,
        ),
        (
            TcpListener::bind("[::1]:0").unwrap().into(),
            Family::Inet6,
            Kind::Stream,
        ),
        (
            UdpSocket::bind("127.0.0.1:0").unwrap().into(),
            Family::Inet,
            Kind::Datagram,
        ),
        (
            UdpSocket::bind("[::1]:0").unwrap().into(),
            Family::Inet6,
            Kind::Datagram,
        ),
        (stream.into(), Family::Unix, Kind::Stream),
        (
            UnixDatagram::unbound().unwrap().into(),
            Family::Unix,
            Kind::Datagram,
        ),
    ];
    for (fd, family, kind) in sockets {
        assert_eq!(adopt::family_and_type(fd.as_fd()).unwrap(), (family, kind));
    }
    let file = File::open("/dev/null").unwrap();
    assert_eq!(errno(adopt::family_and_type(file.as_fd())), libc::ENOTSOCK);
    assert_eq!(errno(adopt::family_and_type(closed())), libc::EBADF);
}

#[test]
fn a_listener_is_known_from_a_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert!(adopt::is_listening(listener.as_fd()).unwrap());
    assert!(!adopt::is_listening(near.as_fd()).unwrap());
    assert_eq!(errno(adopt::is_listening(closed())), libc::EBADF);
}

#[test]
fn a_duplicate_lives_on_and_its_end_ends_nothing() {
    let (near, far) = UnixStream::pair().unwrap();
    fcntl_setfd(&near, FdFlags::empty()).unwrap();
    let own = adopt::duplicate(near.as_fd()).unwrap();
    assert!(fcntl_getfd(&own).unwrap().contains(FdFlags::CLOEXEC));
    assert!(!fcntl_getfd(&near).unwrap().contains(FdFlags::CLOEXEC));
    assert!(fcntl_getfl(&own).unwrap().contains(OFlags::NONBLOCK));
    drop(near);
    socket::send(own.as_fd(), b"alive").unwrap();
    let other = adopt::duplicate(own.as_fd()).unwrap();
    drop(own);
    socket::send(other.as_fd(), b"still").unwrap();
    drop(other);
    let mut buffer = [0; 20];
    assert_eq!(socket::recv(far.as_fd(), &mut buffer).unwrap(), 10);
    assert_eq!(socket::recv(far.as_fd(), &mut buffer).unwrap(), 0);
    assert_eq!(errno(adopt::duplicate(closed())), libc::EBADF);
}

#[test]
fn a_socket_that_is_given_is_made_as_those_made_here() {
    let fd = UdpSocket::bind("127.0.0.1:0").unwrap();
    fcntl_setfd(&fd, FdFlags::empty()).unwrap();
    adopt::prepare(fd.as_fd()).unwrap();
    assert!(fcntl_getfd(&fd).unwrap().contains(FdFlags::CLOEXEC));
    assert!(fcntl_getfl(&fd).unwrap().contains(OFlags::NONBLOCK));
}

/// Runs itself again, as a service manager would: two sockets from number 3 on, and the variables.
#[test]
fn sockets_that_a_service_manager_passes_are_found_by_name() {
    if env::var_os("ROPEWALK_TEST_PASSED").is_some() {
        return passed();
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let script = "exec 3<&0 4<&0 </dev/null; LISTEN_PID=$$ exec \"$0\" --exact \
        sockets_that_a_service_manager_passes_are_found_by_name";
    let output = Command::new("sh")
        .args(["-c", script])
        .arg(env::current_exe().unwrap())
        .env(
            "ROPEWALK_TEST_PASSED",
            listener.local_addr().unwrap().to_string(),
        )
        .env("LISTEN_FDS", "2")
        .env("LISTEN_FDNAMES", "web:admin")
        .stdin(OwnedFd::from(listener))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{output:?}"
    );
}

fn passed() {
    let address = env::var("ROPEWALK_TEST_PASSED").unwrap();
    for _ in 0..2 {
        let descriptors = systemd::listen_descriptors().unwrap();
        let names: Vec<_> = descriptors
            .iter()
            .map(|passed| passed.name.as_str())
            .collect();
        assert_eq!(names, ["web", "admin"]);
        for passed in &descriptors {
            assert!(fcntl_getfd(&passed.fd).unwrap().contains(FdFlags::CLOEXEC));
            let fd = passed.fd.as_fd();
            assert_eq!(
                adopt::family_and_type(fd).unwrap(),
                (Family::Inet, Kind::Stream)
            );
            assert!(adopt::is_listening(fd).unwrap());
            assert_eq!(socket::local_addr(fd).unwrap().to_string(), address);
        }
    }
    // SAFETY: the numbers are those that were passed, and stay open.
    let originals = [3, 4].map(|number| unsafe { BorrowedFd::borrow_raw(number) });
    assert!(
        originals
            .iter()
            .all(|fd| fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC))
    );
}

#[test]
fn without_a_service_manager_nothing_is_passed() {
    if env::var_os("LISTEN_FDS").is_none() {
        assert!(systemd::listen_descriptors().unwrap().is_empty());
    }
}
