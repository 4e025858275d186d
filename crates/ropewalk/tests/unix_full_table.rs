//! UNIX sockets when the process has no descriptor left, over every poller: each case in a process
//! of its own, for the limit holds for the whole process.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod unix_support;

use std::cell::Cell;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::rc::Rc;

use ropewalk::os::socket::unix::send_with_descriptors;
use ropewalk::{DatagramProtocol, DatagramTransport, Error, NetAddr, Protocol, Reactor, Transport};
use tcp_support::{Log, Recorder, over_every_poller, settle, until};
use unix_support::{Directory, connect, receive_all, receive_exactly, serve};
use variant::Variant;

over_every_poller! {
    descriptors_that_do_not_fit_end_the_connection,
    connections_that_do_not_fit_are_shed,
    a_datagram_socket_that_does_not_fit_is_refused,
}

const CHILD: &str = "ROPEWALK_TEST_FULL_TABLE";

fn descriptors_that_do_not_fit_end_the_connection(reactor: &Reactor) {
    run_alone(reactor, "child_with_descriptors_that_do_not_fit");
}

fn connections_that_do_not_fit_are_shed(reactor: &Reactor) {
    run_alone(reactor, "child_with_connections_that_do_not_fit");
}

fn a_datagram_socket_that_does_not_fit_is_refused(reactor: &Reactor) {
    run_alone(reactor, "child_with_a_datagram_socket_that_does_not_fit");
}

fn run_alone(reactor: &Reactor, test: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(CHILD, reactor.poller_kind().to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{complained}"
    );
}

fn child_reactor() -> Option<Reactor> {
    let kind = std::env::var(CHILD).ok()?;
    let variant = Variant::alone(kind.parse().unwrap());
    Some(variant.builder().signals(false).build().unwrap())
}

#[test]
#[ignore = "run in a process of its own by another test"]
fn child_with_descriptors_that_do_not_fit() {
    let Some(reactor) = child_reactor() else {
        return;
    };
    let (directory, log, untouched) = (Directory::new(), Log::new(), Log::new());
    let (_port, client) = serve(&reactor, &directory.join("one"), Recorder::new(&log));
    let (_port, mut other) = serve(&reactor, &directory.join("two"), Recorder::new(&untouched));
    let (first, mut ours) = UnixStream::pair().unwrap();
    let lent = [first.as_fd(), first.as_fd()];
    send_with_descriptors(client.as_fd(), b"data", &lent).unwrap();
    drop(first);
    let mut full = fill_the_table();
    // Room for one of the two.
    full.pop();
    until(&reactor, "the end", || log.is_lost());
    let reason = log.reason().to_string();
    assert!(
        reason.contains("descriptors of the peer were lost"),
        "{reason}"
    );
    assert_eq!(log.received(), 0, "nobody knows what the data mean");
    assert!(
        receive_all(&reactor, &mut ours).is_empty(),
        "all are closed"
    );
    assert!(File::open("/dev/null").is_ok());
    // Others go on.
    other.write_all(b"hello").unwrap();
    until(&reactor, "the other's data", || untouched.received() == 5);
}

struct Counting(Rc<Cell<u32>>);

impl Protocol for Counting {
    fn connection_made(&mut self, _: &Transport) {
        self.0.set(self.0.get() + 1);
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

#[test]
#[ignore = "run in a process of its own by another test"]
fn child_with_connections_that_do_not_fit() {
    let Some(reactor) = child_reactor() else {
        return;
    };
    let (directory, made) = (Directory::new(), Rc::new(Cell::new(0)));
    let path = directory.join("port");
    let count = Rc::clone(&made);
    reactor
        .listen_unix(&path, move |_| Counting(Rc::clone(&count)))
        .unwrap();
    settle(&reactor);
    let mut clients: Vec<_> = (0..20).map(|_| connect(&path)).collect();
    let mut full = fill_the_table();
    for client in &mut clients {
        // Closed, and not left to wait.
        assert!(receive_all(&reactor, client).is_empty());
    }
    assert_eq!(made.get(), 0, "no protocol was made");
    assert!(
        File::open("/dev/null").is_err(),
        "the reserve is taken again"
    );
    clients.clear();
    full.clear();
    let mut client = connect(&path);
    client.write_all(b"hello").unwrap();
    assert_eq!(receive_exactly(&reactor, &mut client, 5), b"hello");
}

struct Sink;

impl DatagramProtocol for Sink {
    fn datagram_received(&mut self, _: &DatagramTransport, _: &[u8], _: NetAddr) {}
}

#[test]
#[ignore = "run in a process of its own by another test"]
fn child_with_a_datagram_socket_that_does_not_fit() {
    let Some(reactor) = child_reactor() else {
        return;
    };
    let directory = Directory::new();
    let path = directory.join("port");
    let mut full = fill_the_table();
    let refused = reactor.listen_unix_datagram(&path, Sink);
    let Err(Error::CannotListen { source, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(source.raw_os_error(), Some(24));
    let refused = reactor.connect_unix_datagram(&path, Sink);
    let Err(Error::Connect(error)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(error.io_error().unwrap().raw_os_error(), Some(24));
    full.clear();
    directory.assert_empty();
    reactor.listen_unix_datagram(&path, Sink).unwrap();
}

fn fill_the_table() -> Vec<File> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let current = Some(64);
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
    let mut full = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        full.push(file);
    }
    full
}
