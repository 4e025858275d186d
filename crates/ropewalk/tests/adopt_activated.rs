//! Sockets that a service manager passes, and ports that processes share: each with a process of
//! its own.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod unix_support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use ropewalk::{ListenOptions, Protocol, Reactor, Transport, systemd};
use tcp_support::{over_every_poller, until};
use unix_support::Directory;
use variant::Variant;

over_every_poller! {
    two_processes_share_a_port,
}

/// Says at once which process it is, and then what it is told.
struct Named(String);

impl Protocol for Named {
    fn connection_made(&mut self, transport: &Transport) {
        transport.write(self.0.as_bytes());
        transport.lose_write_connection();
    }

    fn data_received(&mut self, _: &Transport, _: &[u8]) {}
}

fn named(name: &str) -> impl FnMut(ropewalk::NetAddr) -> Named + 'static {
    let name = name.to_owned();
    move |_| Named(name.clone())
}

/// A child, killed with its test.
struct Running(Child);

impl Running {
    /// Waits until the child has said `line`.
    fn new(mut command: Command, line: &str) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let running = Self(child);
        assert!(said.any(|said| said.unwrap().contains(line)), "{line}");
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

const SHARED: &str = "ROPEWALK_TEST_SHARED_PORT";

fn two_processes_share_a_port(reactor: &Reactor) {
    let shared = ListenOptions::new().reuse_port(true);
    let port = reactor
        .listen_tcp_with("127.0.0.1:0", shared, named("parent"))
        .unwrap();
    let address = port.local_addr();
    let mut command = this_test("child_that_shares_a_port");
    command.env(SHARED, address.to_string());
    let child = Running::new(command, "listening");
    let mut served_by = BTreeSet::new();
    // The system deals connections out by a hash of the addresses: hundreds to one process alone
    // would be a wonder.
    for _ in 0..500 {
        let mut client = tcp_support::connect(&address);
        let name = std::thread::spawn(move || {
            let mut name = String::new();
            client.read_to_string(&mut name).map(|_| name)
        });
        until(reactor, "an answer", || name.is_finished());
        served_by.insert(name.join().unwrap().unwrap());
        if served_by.len() == 2 {
            break;
        }
    }
    assert_eq!(Vec::from_iter(&served_by), ["child", "parent"]);
    drop(child);
    let exclusive = reactor.listen_tcp(address, named("nobody"));
    assert!(exclusive.is_err(), "shared by those who say so");
}

#[test]
#[ignore = "run in a process of its own by another test"]
fn child_that_shares_a_port() {
    let Ok(address) = std::env::var(SHARED) else {
        return;
    };
    let address: SocketAddr = address.parse().unwrap();
    let reactor = Variant::ANY.builder().signals(false).build().unwrap();
    let shared = ListenOptions::new().reuse_port(true);
    reactor
        .listen_tcp_with(address, shared, named("child"))
        .unwrap();
    println!("\nlistening");
    reactor.run().unwrap();
}

/// The command that runs one test of this program.
fn this_test(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture"]);
    command
}

const ACTIVATED: &str = "ROPEWALK_TEST_ACTIVATED";

/// The cases are the only ones of the process that run, for its descriptors are counted.
#[test]
fn sockets_that_are_passed_are_found_by_name_and_served() {
    tcp_support::run(Variant::ANY, |_| passed_listeners_are_served());
}

#[test]
fn systemd_socket_activate_starts_a_service() {
    tcp_support::run(Variant::ANY, |_| a_service_is_started());
}

#[test]
fn nothing_is_passed_to_a_program_that_was_started_otherwise() {
    if std::env::var_os("LISTEN_PID").is_none() {
        assert!(systemd::listeners().unwrap().is_empty());
    }
}

/// As systemd does it: the sockets from number 3 on, and the variables.
fn passed_listeners_are_served() {
    let directory = Directory::new();
    let path = directory.join("port");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let unix = UnixListener::bind(&path).unwrap();
    let launcher = "exec 3<&0 4<&2 0</dev/null 2>&1; LISTEN_PID=$$ exec \"$@\"";
    let child = this_test("child_that_was_activated");
    let mut command = Command::new("sh");
    command
        .args(["-c", launcher, "launcher"])
        .arg(child.get_program())
        .args(child.get_args())
        .env(ACTIVATED, "1")
        .env("LISTEN_FDS", "2")
        .env("LISTEN_FDNAMES", "over tcp:over unix")
        .stdin(OwnedFd::from(tcp))
        .stderr(OwnedFd::from(unix));
    let _child = Running::new(command, "serving 2");
    let mut answer = String::new();
    let mut client = tcp_support::connect(address);
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "over tcp");
    let mut client = unix_support::connect(&path);
    answer.clear();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "over unix");
}

/// With systemd's own launcher, which starts the program at the first connection.
fn a_service_is_started() {
    let program = "systemd-socket-activate";
    if Command::new(program).arg("--version").output().is_err() {
        eprintln!("not tested: {program} is not installed");
        return;
    }
    let directory = Directory::new();
    let path: PathBuf = directory.join("port");
    let child = this_test("child_that_was_activated");
    let mut command = Command::new(program);
    command
        .arg("--listen")
        .arg(&path)
        .args(["--fdname=a service", &format!("--setenv={ACTIVATED}=1")])
        .arg(child.get_program())
        .args(child.get_args())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _running = Running(command.spawn().unwrap());
    let deadline = std::time::Instant::now() + tcp_support::LIMIT;
    let mut client = loop {
        assert!(std::time::Instant::now() < deadline, "nobody listens");
        match std::os::unix::net::UnixStream::connect(&path) {
            Ok(client) => break client,
            Err(_) => std::thread::yield_now(),
        }
    };
    client.set_read_timeout(Some(tcp_support::LIMIT)).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "a service");
}

#[test]
#[ignore = "run in a process of its own by another test"]
fn child_that_was_activated() {
    if std::env::var_os(ACTIVATED).is_none() {
        return;
    }
    let reactor = Variant::ANY.builder().signals(false).build().unwrap();
    let passed = systemd::listeners().unwrap();
    let count = passed.len();
    for listener in passed {
        let name = listener.name().to_owned();
        reactor.adopt_listener(listener, named(&name)).unwrap();
    }
    // A child of a service is none.
    let inherits = Command::new("sh")
        .args(["-c", "test -e /dev/fd/3"])
        .status()
        .unwrap();
    assert!(!inherits.success());
    println!("\nserving {count}");
    std::io::stdout().flush().unwrap();
    reactor.run().unwrap();
}
