//! Many clients that begin a handshake and do not end it.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod tls_support;

use std::cell::{Cell, RefCell};
use std::fs;
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ropewalk::{Disconnect, ListeningPort, PollerKind, Protocol, Reactor, Transport};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tcp_support::{connect, until};
use tls_support::{Peer, peer, server};
use variant::Variant;

/// How many clients leave their handshakes unfinished.
const CROWD: usize = 1000;

/// The most memory that a connection in its handshake may take, in bytes: the session of rustls
/// with its key exchange, and what this side of the test has for it.
const SHARE: usize = 24 * 1024;

/// What became of the connections.
#[derive(Default)]
struct Counts {
    made: Cell<usize>,
    timed_out: Cell<usize>,
    ended_otherwise: Cell<usize>,
}

struct Echo(Rc<Counts>);

impl Protocol for Echo {
    fn connection_made(&mut self, _: &Transport) {
        self.0.made.set(self.0.made.get() + 1);
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }

    fn connection_lost(&mut self, reason: Disconnect) {
        let counter = match reason {
            Disconnect::Lost(error) if error.kind() == ErrorKind::TimedOut => &self.0.timed_out,
            _ => &self.0.ended_otherwise,
        };
        counter.set(counter.get() + 1);
    }
}

/// Two descriptors for each client, and some more.
fn allow_descriptors() {
    let wanted = Some(2 * CROWD as u64 + 200);
    let now = getrlimit(Resource::Nofile);
    if now.current.is_some_and(|current| Some(current) < wanted) {
        let raised = Rlimit {
            current: wanted,
            maximum: now.maximum,
        };
        setrlimit(Resource::Nofile, raised).unwrap();
    }
}

/// The memory of this process, in bytes.
fn resident() -> usize {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.unwrap().trim().strip_suffix(" kB").unwrap();
    kilobytes.parse::<usize>().unwrap() * 1024
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Clients that send `part` quarters of a hello each.
fn crowd(
    reactor: &Reactor,
    port: &ListeningPort,
    counts: &Rc<Counts>,
    parts: usize,
) -> Vec<TcpStream> {
    let mut one = Peer::client(port.local_addr(), peer::client_config());
    let hello = one.take_output();
    let part = &hello[..hello.len() * parts / 4];
    let mut all = Vec::with_capacity(CROWD);
    while all.len() < CROWD {
        let mut socket = connect(port.local_addr());
        socket.write_all(part).unwrap();
        all.push(socket);
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    let wanted = counts.made.get().max(CROWD);
    until(reactor, "the crowd", || counts.made.get() >= wanted);
    tcp_support::settle(reactor);
    all
}

/// Memory and descriptors are the process's.
static ONE_BY_ONE: Mutex<()> = Mutex::new(());

fn outlives(variant: Variant, parts: usize) {
    let _alone = ONE_BY_ONE.lock().unwrap_or_else(PoisonError::into_inner);
    allow_descriptors();
    // What the process makes once, the certificates for example, counts for nobody.
    drop(server());
    let open = descriptors();
    visit(variant, parts);
    assert_eq!(descriptors(), open);
}

fn visit(variant: Variant, parts: usize) {
    // The time is the test's.
    let offset = Rc::<Cell<Duration>>::default();
    let begin = Instant::now();
    let clock = Rc::clone(&offset);
    let builder = variant.builder().signals(false);
    let reactor = variant.prepare(builder.clock(move || begin + clock.get()));
    let counts = Rc::<Counts>::default();
    let heard = Rc::clone(&counts);
    let factory = move |_| Echo(Rc::clone(&heard));
    let port = reactor
        .listen_tls("127.0.0.1:0", &server(), factory)
        .unwrap();
    let mut good = Peer::client(port.local_addr(), peer::client_config());
    good.shake_hands(&reactor);

    let before = resident();
    let clients = RefCell::new(crowd(&reactor, &port, &counts, parts));
    let share = resident().saturating_sub(before) / CROWD;
    assert!(share < SHARE, "{share} bytes for each");

    assert_eq!(
        (counts.timed_out.get(), counts.ended_otherwise.get()),
        (0, 0)
    );

    // Nobody else is harmed, neither who is there nor who comes.
    good.send(b"still here");
    good.until(&reactor, "the echo", |peer| peer.received == b"still here");
    let mut late = Peer::client(port.local_addr(), peer::client_config());
    late.shake_hands(&reactor);

    offset.set(Duration::from_secs(31));
    until(&reactor, "the time limits", || {
        counts.timed_out.get() >= CROWD
    });
    late.send(b"me too");
    late.until(&reactor, "the echo", |peer| peer.received == b"me too");
    assert_eq!(reactor.delayed_call_count(), 0);
    drop(clients);
    reactor.disconnect_all();
}

#[test]
fn epoll_outlives_a_thousand_halves_of_a_hello() {
    outlives(Variant::alone(PollerKind::Epoll), 2);
}

#[test]
fn epoll_outlives_a_thousand_hellos_without_an_end() {
    outlives(Variant::alone(PollerKind::Epoll), 4);
}

#[test]
fn poll_outlives_a_thousand_halves_of_a_hello() {
    outlives(Variant::alone(PollerKind::Poll), 2);
}

/// Clients that come, say hello and go, ten times as many as there is room for at once.
#[test]
fn epoll_keeps_nothing_of_ten_thousand_that_leave_after_the_hello() {
    let _alone = ONE_BY_ONE.lock().unwrap_or_else(PoisonError::into_inner);
    allow_descriptors();
    drop(server());
    let open = descriptors();
    let variant = Variant::alone(PollerKind::Epoll);
    let reactor = variant.prepare(variant.builder().signals(false));
    let counts = Rc::<Counts>::default();
    let heard = Rc::clone(&counts);
    let factory = move |_| Echo(Rc::clone(&heard));
    let port = reactor
        .listen_tls("127.0.0.1:0", &server(), factory)
        .unwrap();
    let mut memory = Vec::new();
    for wave in 1..=10 {
        drop(crowd(&reactor, &port, &counts, 4));
        until(&reactor, "the ends", || {
            counts.ended_otherwise.get() >= wave * CROWD
        });
        memory.push(resident());
    }
    // The first waves make room that the others use again: a kilobyte kept of each connection would
    // be eight times as much as this.
    let growth = memory[9].saturating_sub(memory[1]);
    assert!(growth < 1024 * 1024, "{growth} bytes more: {memory:?}");
    assert_eq!(counts.timed_out.get(), 0);
    assert_eq!(reactor.delayed_call_count(), 0);
    reactor.disconnect_all();
    drop(reactor);
    assert_eq!(descriptors(), open);
}
