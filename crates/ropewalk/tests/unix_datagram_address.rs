//! What UNIX datagram sockets are called, and the files that are made of it, over every poller.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod udp_support;
mod unix_datagram_support;
mod unix_support;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use ropewalk::{Disconnect, Error, Reactor, SendError, UnixAddr, UnixDatagramOptions};
use tcp_support::{over_every_poller, until};
use udp_support::{Recorder, stop};
use unix_datagram_support::{listen, unix};
use unix_support::{Directory, abstract_name};

over_every_poller! {
    a_path_lives_as_long_as_its_socket,
    a_socket_that_goes_with_its_reactor_leaves_no_path,
    the_mode_is_set,
    a_path_in_use_is_refused,
    a_lock_recovers_what_a_killed_process_left,
    what_has_taken_the_place_of_the_path_is_left_alone,
    what_no_socket_can_be_named_is_refused,
    an_abstract_name_needs_no_file,
    no_name_has_the_system_choose_one,
}

fn refused(reactor: &Reactor, address: impl Into<UnixAddr>) -> io::Error {
    let address = address.into();
    match reactor.listen_unix_datagram(address.clone(), Recorder::new().0) {
        Err(Error::CannotListen { addr, source }) => {
            assert_eq!(addr, unix(address));
            source
        }
        other => panic!("{other:?}"),
    }
}

fn a_path_lives_as_long_as_its_socket(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("port");
    let (port, log) = listen(reactor, &path);
    let stopped = port.stop_listening();
    assert!(path.exists(), "closed in a later step");
    until(reactor, "the end", || stopped.is_ready());
    directory.assert_empty();
    assert_eq!(port.local_addr(), unix(&path), "stays");
    assert!(matches!(log.reason(), Disconnect::Done));
    assert!(matches!(
        port.send_to(b"x", UnixAddr::from(&path)),
        Err(SendError::Closed)
    ));
    stop(reactor, &listen(reactor, &path).0);
    directory.assert_empty();
}

fn a_socket_that_goes_with_its_reactor_leaves_no_path(reactor: &Reactor) {
    let directory = Directory::new();
    let other = variant::Variant::alone(reactor.poller_kind()).builder();
    let other = other.signals(false).build().unwrap();
    let (port, _log) = listen(&other, directory.join("port"));
    drop(other);
    assert!(!port.is_listening());
    directory.assert_empty();
    let (kept, log) = listen(reactor, directory.join("kept"));
    reactor.disconnect_all();
    assert!(!kept.is_listening() && log.has("stopped"));
    directory.assert_empty();
}

fn the_mode_is_set(reactor: &Reactor) {
    let directory = Directory::new();
    for mode in [0o600, 0o666, 0o700] {
        let path = directory.join(&format!("{mode:o}"));
        let options = UnixDatagramOptions::new().mode(mode);
        let (recorder, _log) = Recorder::new();
        let port = reactor.listen_unix_datagram_with(&path, options, recorder);
        let found = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode);
        stop(reactor, &port.unwrap());
    }
    directory.assert_empty();
}

fn a_path_in_use_is_refused(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("port");
    drop(UnixDatagram::bind(&path).unwrap());
    let error = refused(reactor, &path);
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(path.exists(), "not ours to remove");
}

fn a_lock_recovers_what_a_killed_process_left(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("port");
    // The number of a process that has ended.
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    drop(UnixDatagram::bind(&path).unwrap());
    std::os::unix::fs::symlink(child.id().to_string(), directory.join("port.lock")).unwrap();
    let options = UnixDatagramOptions::new().lock(true);
    let listen = || reactor.listen_unix_datagram_with(&path, options, Recorder::new().0);
    let port = listen().unwrap();
    assert!(path.exists());
    let Err(Error::CannotListen { source, .. }) = listen() else {
        panic!("it is locked");
    };
    assert_eq!(source.kind(), io::ErrorKind::WouldBlock);
    stop(reactor, &port);
    directory.assert_empty();
}

fn what_has_taken_the_place_of_the_path_is_left_alone(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("port");
    let (first, _log) = listen(reactor, &path);
    fs::remove_file(&path).unwrap();
    let (_second, log) = listen(reactor, &path);
    stop(reactor, &first);
    let client = UnixDatagram::unbound().unwrap();
    client.send_to(b"hello", &path).unwrap();
    until(reactor, "a datagram", || log.received() == 1);
}

fn what_no_socket_can_be_named_is_refused(reactor: &Reactor) {
    for name in [
        "/x".repeat(100),
        "/tmp/a\0b".to_owned(),
        format!("\0{}", "x".repeat(200)),
    ] {
        let error = refused(reactor, &name);
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
    }
    let nowhere = Directory::new().join("no/such/port");
    assert_eq!(refused(reactor, nowhere).kind(), io::ErrorKind::NotFound);
    let long = reactor.connect_unix_datagram("/x".repeat(100), Recorder::new().0);
    let Err(Error::Connect(error)) = long else {
        panic!("{long:?}");
    };
    let kind = error.io_error().unwrap().kind();
    assert_eq!(kind, io::ErrorKind::InvalidInput);
    let (port, _log) = listen(reactor, format!("\0{}", abstract_name()));
    let long = UnixAddr::from("/x".repeat(100));
    let refused = port.send_to(b"x", long).unwrap_err();
    assert!(matches!(refused, SendError::BadAddress { .. }), "{refused}");
}

fn an_abstract_name_needs_no_file(reactor: &Reactor) {
    let name = UnixAddr::abstract_name(abstract_name());
    let (port, log) = listen(reactor, name.clone());
    let (client, heard) = listen(reactor, UnixAddr::abstract_name(abstract_name()));
    client.send_to(b"hello", name.clone()).unwrap();
    until(reactor, "a datagram", || log.received() == 1);
    let from = log.data.borrow()[0].1.clone();
    assert_eq!(from, client.local_addr());
    port.send_to(b"answer", from).unwrap();
    until(reactor, "the answer", || heard.received() == 1);
    let error = refused(reactor, name);
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

fn no_name_has_the_system_choose_one(reactor: &Reactor) {
    let (port, log) = listen(reactor, UnixAddr::UNNAMED);
    let local = port.local_addr();
    assert!(
        local.unix().unwrap().as_abstract_name().is_some(),
        "{local}"
    );
    port.send_to(b"to myself", local).unwrap();
    until(reactor, "a datagram", || log.received() == 1);
}
