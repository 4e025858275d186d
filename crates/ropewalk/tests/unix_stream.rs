//! UNIX streams, over every poller: paths, abstract names, and what is left of them.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod unix_support;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use ropewalk::{Error, NetAddr, Protocol, Reactor, Transport, UnixAddr, UnixListenOptions};
use tcp_support::client::Client;
use tcp_support::{Log, Recorder, over_every_poller, settle, until};
use unix_support::{Directory, abstract_name, connect, has, receive_all, receive_exactly, serve};

over_every_poller! {
    a_path_lives_as_long_as_its_port,
    a_port_that_is_dropped_with_its_reactor_leaves_no_path,
    both_sides_may_be_ours,
    an_abstract_name_needs_no_file,
    no_name_has_the_system_choose_one,
    the_mode_is_set,
    a_path_in_use_is_refused,
    what_no_socket_can_be_named_is_refused,
    what_has_taken_the_place_of_the_path_is_left_alone,
    a_relative_path_is_removed_from_elsewhere,
    the_peer_is_known,
    a_half_closed_stream_goes_on,
    a_paused_stream_hears_of_nothing,
    socat_talks_by_path,
    socat_talks_by_abstract_name,
}

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

fn a_path_lives_as_long_as_its_port(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("port");
    let log = Log::new();
    let (port, mut client) = serve(reactor, &path, Recorder::new(&log));
    assert_eq!(port.local_addr(), NetAddr::from(UnixAddr::from(&path)));
    let transport = log.transport();
    assert_eq!(transport.local_addr().unwrap(), port.local_addr());
    assert_eq!(transport.peer_addr().unix(), Some(&UnixAddr::UNNAMED));
    client.write_all(b"hello").unwrap();
    until(reactor, "the data", || log.received() == 5);
    transport.write(b"and good-bye");
    transport.lose_connection();
    assert_eq!(receive_all(reactor, &mut client), b"and good-bye");
    assert!(log.reason().is_clean());
    assert!(path.exists());
    port.stop_listening().ignore();
    until(reactor, "the port's end", || !port.is_listening());
    directory.assert_empty();
}

fn a_port_that_is_dropped_with_its_reactor_leaves_no_path(reactor: &Reactor) {
    let directory = Directory::new();
    let other = variant_of(reactor);
    let port = other.listen_unix(directory.join("port"), |_| Echo).unwrap();
    drop(other);
    assert!(!port.is_listening());
    directory.assert_empty();
    let kept = reactor
        .listen_unix(directory.join("kept"), |_| Echo)
        .unwrap();
    reactor.disconnect_all();
    assert!(!kept.is_listening());
    directory.assert_empty();
}

fn variant_of(reactor: &Reactor) -> Reactor {
    let kind = reactor.poller_kind();
    variant::Variant::alone(kind)
        .builder()
        .signals(false)
        .build()
        .unwrap()
}

fn both_sides_may_be_ours(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("port");
    let port = reactor.listen_unix(&path, |_| Echo).unwrap();
    let log = Log::new();
    let (client, notes) = Client::new(&log);
    let connector = reactor.connect_unix(&path, client).unwrap();
    assert_eq!(
        connector.destination().to_string(),
        path.display().to_string()
    );
    until(reactor, "the connection", || log.is_connected());
    let transport = log.transport();
    assert_eq!(transport.peer_addr(), port.local_addr());
    assert_eq!(
        transport.local_addr().unwrap().unix(),
        Some(&UnixAddr::UNNAMED)
    );
    let sent: Vec<u8> = (0..1_000_000_u32).map(|number| number as u8).collect();
    transport.write(&sent);
    until(reactor, "the echo", || log.received() == sent.len());
    assert_eq!(*log.data.borrow(), sent);
    transport.lose_connection();
    until(reactor, "the end", || notes.has("stopped"));
    assert!(log.reason().is_clean());
}

fn an_abstract_name_needs_no_file(reactor: &Reactor) {
    let name = abstract_name();
    let port = reactor
        .listen_unix(UnixAddr::abstract_name(&name), |_| Echo)
        .unwrap();
    assert_eq!(port.local_addr().to_string(), format!("@{name}"));
    let log = Log::new();
    let (client, _) = Client::new(&log);
    reactor.connect_unix(format!("\0{name}"), client).unwrap();
    until(reactor, "the connection", || log.is_connected());
    assert_eq!(log.transport().peer_addr(), port.local_addr());
    log.transport().write(b"hello");
    until(reactor, "the echo", || log.received() == 5);
    let refused = reactor
        .listen_unix(format!("\0{name}"), |_| Echo)
        .unwrap_err();
    assert!(
        refused.to_string().contains(&format!("@{name}")),
        "{refused}"
    );
}

fn no_name_has_the_system_choose_one(reactor: &Reactor) {
    let port = reactor.listen_unix("", |_| Echo).unwrap();
    let chosen = port.local_addr();
    assert!(
        chosen.unix().unwrap().as_abstract_name().is_some(),
        "{chosen}"
    );
}

fn the_mode_is_set(reactor: &Reactor) {
    let directory = Directory::new();
    for mode in [0o600, 0o666, 0o777] {
        let path = directory.join(&format!("{mode:o}"));
        let options = UnixListenOptions::new().mode(mode).backlog(3);
        let port = reactor.listen_unix_with(&path, options, |_| Echo).unwrap();
        let found = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(found & 0o7777, mode);
        port.stop_listening().ignore();
    }
    settle(reactor);
    directory.assert_empty();
}

fn a_path_in_use_is_refused(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("port");
    drop(UnixListener::bind(&path).unwrap());
    let refused = reactor.listen_unix(&path, |_| Echo).unwrap_err();
    let Error::CannotListen { addr, source } = refused else {
        panic!("{refused}")
    };
    assert_eq!(addr, NetAddr::from(UnixAddr::from(&path)));
    assert_eq!(source.kind(), std::io::ErrorKind::AddrInUse);
    assert!(path.exists(), "not ours to remove");
}

fn what_no_socket_can_be_named_is_refused(reactor: &Reactor) {
    for name in [
        "/x".repeat(100),
        "/tmp/a\0b".to_owned(),
        format!("\0{}", "x".repeat(200)),
    ] {
        let refused = reactor.listen_unix(&name, |_| Echo).unwrap_err();
        let Error::CannotListen { source, .. } = refused else {
            panic!("{refused}")
        };
        assert_eq!(source.kind(), std::io::ErrorKind::InvalidInput, "{name}");
    }
    let nowhere = Directory::new().join("no/such/port");
    let refused = reactor.listen_unix(nowhere, |_| Echo).unwrap_err();
    assert!(matches!(refused, Error::CannotListen { .. }), "{refused}");
}

fn what_has_taken_the_place_of_the_path_is_left_alone(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("port");
    let first = reactor.listen_unix(&path, |_| Echo).unwrap();
    fs::remove_file(&path).unwrap();
    let second = reactor.listen_unix(&path, |_| Echo).unwrap();
    first.stop_listening().ignore();
    until(reactor, "the first port's end", || !first.is_listening());
    let mut client = connect(&path);
    client.write_all(b"hello").unwrap();
    assert_eq!(receive_exactly(reactor, &mut client, 5), b"hello");
    fs::remove_file(&path).unwrap();
    fs::write(&path, "a file of somebody else").unwrap();
    second.stop_listening().ignore();
    until(reactor, "the second port's end", || !second.is_listening());
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "a file of somebody else"
    );
}

/// The cases of one process run one by one, so that the process may change its directory.
fn a_relative_path_is_removed_from_elsewhere(reactor: &Reactor) {
    let directory = Directory::new();
    let home = std::env::current_dir().unwrap();
    std::env::set_current_dir(directory.path()).unwrap();
    let port = reactor.listen_unix("relative", |_| Echo).unwrap();
    assert_eq!(port.local_addr(), NetAddr::from(UnixAddr::from("relative")));
    std::env::set_current_dir(home).unwrap();
    assert!(directory.join("relative").exists());
    port.stop_listening().ignore();
    until(reactor, "the port's end", || !port.is_listening());
    directory.assert_empty();
}

fn the_peer_is_known(reactor: &Reactor) {
    let directory = Directory::new();
    let log = Log::new();
    let (_port, _client) = serve(reactor, &directory.join("port"), Recorder::new(&log));
    let peer = log.transport().peer_credentials().unwrap();
    assert_eq!(peer.pid, cfg!(target_os = "linux").then(std::process::id));
    assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
    assert_eq!(peer.gid, rustix::process::getegid().as_raw());
    let over_tcp = Log::new();
    let (_port, _client) = tcp_support::serve(reactor, Recorder::new(&over_tcp));
    let refused = over_tcp.transport().peer_credentials().unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::Unsupported);
}

fn a_half_closed_stream_goes_on(reactor: &Reactor) {
    let directory = Directory::new();
    let log = Log::new();
    let recorder = Recorder::new(&log).half_closing();
    let (_port, mut client) = serve(reactor, &directory.join("port"), recorder);
    client.shutdown(std::net::Shutdown::Write).unwrap();
    until(reactor, "the end of the client's stream", || {
        log.has("read closed")
    });
    log.transport().write(b"still here");
    log.transport().lose_write_connection();
    assert_eq!(receive_all(reactor, &mut client), b"still here");
    assert!(log.has("write closed") && !log.is_lost());
    log.transport().lose_connection();
    until(reactor, "the end", || log.is_lost());
}

fn a_paused_stream_hears_of_nothing(reactor: &Reactor) {
    let directory = Directory::new();
    let log = Log::new();
    let (_port, mut client) = serve(reactor, &directory.join("port"), Recorder::new(&log));
    log.transport().pause_producing();
    client.write_all(b"hello").unwrap();
    drop(client);
    settle(reactor);
    assert!(!log.has("data") && !log.is_lost());
    log.transport().resume_producing();
    until(reactor, "the end", || log.is_lost());
    assert_eq!(*log.data.borrow(), b"hello");
}

fn socat_talks_by_path(reactor: &Reactor) {
    let directory = Directory::new();
    let path = directory.join("port");
    let port = reactor.listen_unix(&path, |_| Echo).unwrap();
    socat_echoes(reactor, &format!("UNIX-CONNECT:{}", path.display()));
    drop(port);
}

fn socat_talks_by_abstract_name(reactor: &Reactor) {
    let name = abstract_name().replace(' ', "-");
    let port = reactor
        .listen_unix(UnixAddr::abstract_name(&name), |_| Echo)
        .unwrap();
    socat_echoes(reactor, &format!("ABSTRACT-CONNECT:{name}"));
    drop(port);
}

fn socat_echoes(reactor: &Reactor, address: &str) {
    if !has("socat") {
        return;
    }
    let mut socat = Command::new("socat")
        .args(["-t", "10", "-", address])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut to, mut from) = (socat.stdin.take().unwrap(), socat.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        to.write_all(b"hello from socat").unwrap();
        drop(to);
        let mut all = Vec::new();
        from.read_to_end(&mut all).unwrap();
        all
    });
    until(reactor, "socat's end", || reader.is_finished());
    assert_eq!(reader.join().unwrap(), b"hello from socat");
    assert!(socat.wait().unwrap().success());
}
