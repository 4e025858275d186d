//! Connecting to UNIX sockets, and the locks of their paths, over every poller.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod unix_support;

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use ropewalk::os::socket::unix;
use ropewalk::{
    Address, ConnectErrorKind, Connector, ConnectorState, Error, NetAddr, Protocol, Reactor,
    Transport, UnixAddr, UnixConnectOptions, UnixListenOptions,
};
use tcp_support::client::{Client, Notes};
use tcp_support::{Log, over_every_poller, settle, until};
use unix_support::{Directory, abstract_name, connect, has, receive_exactly};
use variant::Variant;

over_every_poller! {
    a_path_that_is_not_there_says_so,
    a_path_without_a_listener_refuses,
    an_abstract_name_without_a_listener_refuses,
    a_path_that_is_too_long_says_so,
    a_unix_address_is_none_for_tcp,
    a_connector_connects_again,
    an_attempt_waits_for_room_at_the_listener,
    an_attempt_without_room_at_the_listener_times_out,
    socat_is_connected_to,
    a_lock_lives_as_long_as_its_port,
    a_lock_is_held_by_one_port,
    what_a_killed_process_left_is_recovered,
    a_path_that_somebody_left_without_a_lock_is_refused,
    a_connector_may_ask_for_the_lock,
}

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

/// How an attempt to connect fails.
fn failure(
    reactor: &Reactor,
    address: impl Into<UnixAddr>,
    options: UnixConnectOptions,
) -> Rc<Notes> {
    let (client, notes) = Client::new(&Log::new());
    let connector = reactor.connect_unix_with(address, options, client).unwrap();
    assert!(!notes.has("failed"), "not before the next turn");
    until(reactor, "the failure", || notes.has("stopped"));
    assert_eq!(connector.state(), ConnectorState::Disconnected);
    assert_eq!(
        *notes.events.borrow(),
        ["started", "connecting", "failed", "stopped"]
    );
    notes
}

fn a_path_that_is_not_there_says_so(reactor: &Reactor) {
    let path = Directory::new().join("port");
    let notes = failure(reactor, &path, UnixConnectOptions::new());
    assert_eq!(notes.kind(), ConnectErrorKind::NotFound);
}

fn a_path_without_a_listener_refuses(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("port");
    drop(UnixListener::bind(&path).unwrap());
    let notes = failure(reactor, &path, UnixConnectOptions::new());
    assert_eq!(notes.kind(), ConnectErrorKind::Refused);
    fs::write(directory.join("file"), "no socket").unwrap();
    let notes = failure(reactor, directory.join("file"), UnixConnectOptions::new());
    assert_eq!(notes.kind(), ConnectErrorKind::Refused);
}

fn an_abstract_name_without_a_listener_refuses(reactor: &Reactor) {
    let name = UnixAddr::abstract_name(abstract_name());
    let notes = failure(reactor, name, UnixConnectOptions::new());
    assert_eq!(notes.kind(), ConnectErrorKind::Refused);
}

fn a_path_that_is_too_long_says_so(reactor: &Reactor) {
    let notes = failure(reactor, "x".repeat(200), UnixConnectOptions::new());
    assert_eq!(notes.kind(), ConnectErrorKind::Os);
    let error = notes.error.borrow();
    let source = error.as_ref().unwrap().io_error().unwrap();
    assert_eq!(source.kind(), io::ErrorKind::InvalidInput);
}

fn a_unix_address_is_none_for_tcp(reactor: &Reactor) {
    let address = NetAddr::from(UnixAddr::from("/run/somewhere:80"));
    let refused = reactor.connect_tcp(Address::from(address.clone()), |_| Echo);
    assert!(matches!(refused, Err(Error::InvalidAddress { .. })));
    let refused = reactor.listen_tcp(address, |_| Echo);
    assert!(matches!(refused, Err(Error::InvalidAddress { .. })));
}

fn a_connector_connects_again(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("port");
    let log = Log::new();
    let (client, notes) = Client::new(&log);
    let late = path.clone();
    let mut port = None;
    let listener = reactor.clone();
    let client = client.hook(move |event, connector: Option<&Connector>| {
        if event == "failed" && port.is_none() {
            port = Some(listener.listen_unix(&late, |_| Echo).unwrap());
            connector.unwrap().connect().unwrap();
        }
    });
    reactor.connect_unix(&path, client).unwrap();
    until(reactor, "the connection", || log.is_connected());
    assert_eq!(notes.kind(), ConnectErrorKind::NotFound);
    log.transport().lose_connection();
    until(reactor, "the end", || notes.has("stopped"));
}

/// A listener that has no room, and who is in its way.
fn without_room(path: &Path) -> (OwnedFd, Vec<OwnedFd>) {
    use std::os::fd::AsFd;
    let address = unix::UnixAddr::from_path(path).unwrap();
    let listener = unix::stream_socket().unwrap();
    unix::bind(listener.as_fd(), &address).unwrap();
    unix::listen(listener.as_fd(), 0).unwrap();
    let mut waiting = Vec::new();
    loop {
        let client = unix::stream_socket().unwrap();
        match unix::connect(client.as_fd(), &address) {
            Ok(_) => waiting.push(client),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    (listener, waiting)
}

fn an_attempt_waits_for_room_at_the_listener(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("port");
    let (listener, waiting) = without_room(&path);
    let log = Log::new();
    let (client, notes) = Client::new(&log);
    let connector = reactor.connect_unix(&path, client).unwrap();
    settle(reactor);
    assert_eq!(connector.state(), ConnectorState::Connecting);
    let listener = UnixListener::from(listener);
    listener.set_nonblocking(true).unwrap();
    let served: Vec<_> = std::iter::from_fn(|| listener.accept().ok()).collect();
    assert_eq!(served.len(), waiting.len());
    until(reactor, "the connection", || log.is_connected());
    assert!(!notes.has("failed"));
}

fn an_attempt_without_room_at_the_listener_times_out(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("port");
    let (_listener, _waiting) = without_room(&path);
    let options = UnixConnectOptions::new().timeout(Duration::from_millis(30));
    let notes = failure(reactor, &path, options);
    assert_eq!(notes.kind(), ConnectErrorKind::Timeout);
    // One that is given up leaves nothing to come either.
    let (client, given_up) = Client::new(&Log::new());
    let connector = reactor.connect_unix(&path, client).unwrap();
    settle(reactor);
    connector.stop_connecting().unwrap();
    assert_eq!(given_up.kind(), ConnectErrorKind::Cancelled);
    until(reactor, "the last delayed call", || {
        reactor.delayed_call_count() == 0
    });
}

fn socat_is_connected_to(reactor: &Reactor) {
    if !has("socat") {
        return;
    }
    let directory = Directory::new();
    let path = directory.join("port");
    let mut socat = Command::new("socat")
        .args([&format!("UNIX-LISTEN:{}", path.display()), "PIPE"])
        .spawn()
        .unwrap();
    until(reactor, "socat", || path.exists());
    let log = Log::new();
    let (client, _) = Client::new(&log);
    let client = client.hook(|event, connector: Option<&Connector>| {
        // Bound, and not listening yet.
        if event == "failed" {
            connector.unwrap().connect().unwrap();
        }
    });
    reactor.connect_unix(&path, client).unwrap();
    until(reactor, "the connection", || log.is_connected());
    log.transport().write(b"hello socat");
    until(reactor, "the echo", || log.received() == 11);
    log.transport().lose_connection();
    until(reactor, "the end", || log.is_lost());
    assert!(socat.wait().unwrap().success());
}

const LOCKED: fn() -> UnixListenOptions = || UnixListenOptions::new().lock(true);

fn a_lock_lives_as_long_as_its_port(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("port");
    let port = reactor.listen_unix_with(&path, LOCKED(), |_| Echo).unwrap();
    let holder = fs::read_link(directory.join("port.lock")).unwrap();
    assert_eq!(holder.to_str().unwrap(), std::process::id().to_string());
    port.stop_listening().ignore();
    until(reactor, "the port's end", || !port.is_listening());
    directory.assert_empty();
}

fn a_lock_is_held_by_one_port(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("port");
    let _port = reactor.listen_unix_with(&path, LOCKED(), |_| Echo).unwrap();
    let refused = reactor
        .listen_unix_with(&path, LOCKED(), |_| Echo)
        .unwrap_err();
    let Error::CannotListen { addr, source } = refused else {
        panic!("{refused}")
    };
    assert_eq!(addr.unix(), Some(&UnixAddr::from(&path)));
    assert_eq!(source.kind(), io::ErrorKind::WouldBlock);
    assert!(source.to_string().contains("lock"), "{source}");
    let mut client = connect(&path);
    client.write_all(b"hello").unwrap();
    assert_eq!(receive_exactly(reactor, &mut client, 5), b"hello");
}

const CHILD: &str = "ROPEWALK_TEST_LOCK";

/// A process that listens on `path` with a lock, and is killed.
fn kill_a_holder(path: &Path, then: impl FnOnce(&mut Child)) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_listens", "--ignored", "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stdout.take().unwrap());
    let ready = said.lines().any(|line| line.unwrap().contains("listening"));
    assert!(ready);
    then(&mut child);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
#[ignore = "run in a process of its own by another test"]
fn child_that_listens() {
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let builder = Variant::ANY.builder().signals(false);
    let reactor = builder.build().unwrap();
    let _port = reactor
        .listen_unix_with(Path::new(&path), LOCKED(), |_| Echo)
        .unwrap();
    println!("\nlistening");
    reactor.run().unwrap();
}

fn what_a_killed_process_left_is_recovered(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("port");
    kill_a_holder(&path, |_| {
        let refused = reactor
            .listen_unix_with(&path, LOCKED(), |_| Echo)
            .unwrap_err();
        assert!(refused.to_string().contains("lock"), "{refused}");
        assert!(UnixStream::connect(&path).is_ok(), "left alone");
    });
    assert!(path.exists() && fs::read_link(directory.join("port.lock")).is_ok());
    let notes = failure(reactor, &path, UnixConnectOptions::new().check_lock(true));
    assert_eq!(notes.kind(), ConnectErrorKind::NotLocked);
    let port = reactor.listen_unix_with(&path, LOCKED(), |_| Echo).unwrap();
    let mut client = connect(&path);
    client.write_all(b"hello").unwrap();
    assert_eq!(receive_exactly(reactor, &mut client, 5), b"hello");
    port.stop_listening().ignore();
    until(reactor, "the port's end", || !port.is_listening());
    directory.assert_empty();
}

fn a_path_that_somebody_left_without_a_lock_is_refused(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("port");
    fs::write(&path, "a file").unwrap();
    let refused = reactor
        .listen_unix_with(&path, LOCKED(), |_| Echo)
        .unwrap_err();
    let Error::CannotListen { source, .. } = refused else {
        panic!("{refused}")
    };
    assert_eq!(source.kind(), io::ErrorKind::AddrInUse);
    assert!(
        fs::read_link(directory.join("port.lock")).is_err(),
        "released"
    );
    // What is no socket is not taken for one that a killed process left.
    std::os::unix::fs::symlink("2147483646", directory.join("port.lock")).unwrap();
    assert!(reactor.listen_unix_with(&path, LOCKED(), |_| Echo).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "a file");
}

fn a_connector_may_ask_for_the_lock(reactor: &Reactor) {
    let directory = Directory::new();
    let (locked, plain) = (directory.join("locked"), directory.join("plain"));
    reactor
        .listen_unix_with(&locked, LOCKED(), |_| Echo)
        .unwrap();
    reactor.listen_unix(&plain, |_| Echo).unwrap();
    let options = UnixConnectOptions::new().check_lock(true);
    let notes = failure(reactor, &plain, options);
    assert_eq!(notes.kind(), ConnectErrorKind::NotLocked);
    let name = UnixAddr::abstract_name(abstract_name());
    reactor.listen_unix(name.clone(), |_| Echo).unwrap();
    for address in [UnixAddr::from(&locked), name] {
        let log = Log::new();
        let (client, _) = Client::new(&log);
        reactor.connect_unix_with(address, options, client).unwrap();
        until(reactor, "the connection", || log.is_connected());
    }
}
