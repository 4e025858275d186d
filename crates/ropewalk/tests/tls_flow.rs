//! Flow control through TLS, both ways, over every poller.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod tls_support;

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;
use std::time::Instant;

use ropewalk::{Producer, ProducerKind, Reactor, Transport};
use tcp_support::{LIMIT, Log, Recorder, over_every_poller, settle, until};
use tls_support::{Peer, client, connected, serve_tls, served, server};

over_every_poller! {
    ten_megabytes_reach_a_slow_reader_in_bounded_memory,
    a_push_producer_is_paused_and_resumed,
    a_pull_producer_writes_once_for_each_drain,
    a_producer_waits_for_the_handshake,
    a_close_waits_for_the_producer_and_says_goodbye_last,
    a_half_close_waits_for_the_producer_and_says_goodbye_last,
    a_paused_reader_stops_the_sender,
    what_is_encrypted_and_unsent_counts_as_buffered,
    small_writes_of_a_turn_are_one_record,
    chunks_without_a_copy_arrive_in_order,
    data_flows_both_ways_at_once,
    a_turn_of_many_connections_is_fair,
}

/// Writes `piece` bytes whenever it may, `total` in all, and notes what it is told.
struct Source {
    total: usize,
    piece: usize,
    written: Cell<usize>,
    paused: Cell<bool>,
    notes: RefCell<Vec<&'static str>>,
    /// The most that was ever queued.
    most: Cell<usize>,
}

impl Source {
    fn new(total: usize, piece: usize) -> Rc<Self> {
        Rc::new(Self {
            total,
            piece,
            written: Cell::new(0),
            paused: Cell::new(false),
            notes: RefCell::default(),
            most: Cell::new(0),
        })
    }

    /// Writes until it is paused or done.
    fn go_on(&self, transport: &Transport) {
        while !self.paused.get() && self.written.get() < self.total {
            self.write_one(transport);
        }
        if self.written.get() == self.total {
            transport.unregister_producer();
        }
    }

    fn write_one(&self, transport: &Transport) {
        let count = self.piece.min(self.total - self.written.get());
        let first = self.written.get();
        let bytes: Vec<u8> = (first..first + count).map(|at| at as u8).collect();
        self.written.set(first + count);
        transport.write_bytes(bytes);
        self.most.set(self.most.get().max(transport.buffered_len()));
    }
}

fn is_pattern(bytes: &[u8]) -> bool {
    bytes.iter().enumerate().all(|(at, byte)| *byte == at as u8)
}

struct Push(Rc<Source>);

impl Producer for Push {
    fn resume_producing(&self, transport: &Transport) {
        self.0.notes.borrow_mut().push("resume");
        self.0.paused.set(false);
        self.0.go_on(transport);
    }

    fn pause_producing(&self, _: &Transport) {
        self.0.notes.borrow_mut().push("pause");
        self.0.paused.set(true);
    }

    fn stop_producing(&self) {
        self.0.notes.borrow_mut().push("stop");
    }
}

struct Pull(Rc<Source>);

impl Producer for Pull {
    fn resume_producing(&self, transport: &Transport) {
        self.0.notes.borrow_mut().push("resume");
        self.0.write_one(transport);
        if self.0.written.get() == self.0.total {
            transport.unregister_producer();
        }
    }

    fn pause_producing(&self, _: &Transport) {
        self.0.notes.borrow_mut().push("pause");
    }

    fn stop_producing(&self) {
        self.0.notes.borrow_mut().push("stop");
    }
}

fn push(transport: &Transport, source: &Rc<Source>) {
    let producer = Push(Rc::clone(source));
    transport
        .register_producer(producer, ProducerKind::Push)
        .unwrap();
    source.go_on(transport);
}

fn ten_megabytes_reach_a_slow_reader_in_bounded_memory(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = served(reactor, &log, Recorder::new(&log));
    let source = Source::new(10_000_000, 30_000);
    push(&log.transport(), &source);
    let mut deadline = Instant::now() + LIMIT;
    while peer.received.len() < 10_000_000 {
        assert!(Instant::now() < deadline, "{}", peer.received.len());
        // Reads less than is sent, so that the sender has to wait.
        if peer.read_once() {
            deadline = Instant::now() + LIMIT;
        }
        reactor.turn(Some(std::time::Duration::ZERO)).unwrap();
    }
    assert!(is_pattern(&peer.received));
    // The mark, what goes beyond it, and one flush of ciphertext.
    let most = source.most.get();
    assert!(most < Transport::HIGH_WATER + 30_000 + 200_000, "{most}");
    assert!(source.notes.borrow().contains(&"pause"));
}

fn a_push_producer_is_paused_and_resumed(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = served(reactor, &log, Recorder::new(&log));
    let transport = log.transport();
    let source = Source::new(10_000_000, 100_000);
    push(&transport, &source);
    assert_eq!(
        source.notes.borrow().as_slice(),
        ["pause"],
        "before any byte has left"
    );
    assert_eq!(transport.buffered_len(), 100_000);
    peer.until(reactor, "a resumption", |_| source.notes.borrow().len() > 1);
    assert_eq!(source.notes.borrow()[1], "resume");
    transport.abort_connection();
    until(reactor, "the end", || log.is_lost());
    assert_eq!(source.notes.borrow().last(), Some(&"stop"));
}

fn a_pull_producer_writes_once_for_each_drain(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = served(reactor, &log, Recorder::new(&log));
    let source = Source::new(10_000, 1000);
    let producer = Pull(Rc::clone(&source));
    let transport = log.transport();
    transport
        .register_producer(producer, ProducerKind::Pull)
        .unwrap();
    assert_eq!(source.written.get(), 1000);
    peer.until(reactor, "all", |peer| peer.received.len() == 10_000);
    assert_eq!(source.notes.borrow().as_slice(), ["resume"; 10]);
    assert!(is_pattern(&peer.received));
}

fn a_producer_waits_for_the_handshake(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = serve_tls(reactor, &server(), &log, Recorder::new(&log));
    let source = Source::new(1_000_000, 50_000);
    push(&log.transport(), &source);
    settle(reactor);
    assert_eq!(source.notes.borrow().as_slice(), ["pause"]);
    assert_eq!(source.written.get(), 100_000);
    peer.until(reactor, "all", |peer| peer.received.len() == 1_000_000);
    assert!(is_pattern(&peer.received));
}

fn a_close_waits_for_the_producer_and_says_goodbye_last(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = served(reactor, &log, Recorder::new(&log));
    let source = Source::new(2_000_000, 100_000);
    push(&log.transport(), &source);
    log.transport().lose_connection();
    peer.until(reactor, "the close_notify", |peer| peer.closed);
    assert_eq!(peer.received.len(), 2_000_000);
    peer.say_goodbye();
    until(reactor, "the end", || log.is_lost());
    assert!(log.reason().is_clean());
}

fn a_half_close_waits_for_the_producer_and_says_goodbye_last(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = served(reactor, &log, Recorder::new(&log));
    let source = Source::new(2_000_000, 100_000);
    push(&log.transport(), &source);
    log.transport().lose_write_connection();
    assert!(peer.end(reactor));
    assert_eq!(peer.received.len(), 2_000_000);
    until(reactor, "the half-close", || log.has("write closed"));
}

/// Has the peer send zeros until nothing moves any more. Answers how many it has sent.
fn send_until_full(reactor: &Reactor, peer: &mut Peer) -> usize {
    let mut sent = 0;
    let mut stuck = 0;
    while stuck < 20 {
        if peer.tls.wants_write() {
            peer.flush();
            stuck += usize::from(peer.tls.wants_write());
        } else {
            stuck = 0;
            peer.tls.writer().write_all(&[0; 50_000]).unwrap();
            sent += 50_000;
        }
        reactor.turn(Some(std::time::Duration::ZERO)).unwrap();
        assert!(sent < 100_000_000, "nothing stops the sender");
    }
    sent
}

fn a_paused_reader_stops_the_sender(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = served(reactor, &log, Recorder::new(&log));
    log.transport().pause_producing();
    let sent = send_until_full(reactor, &mut peer);
    assert_eq!(log.received(), 0);
    log.transport().resume_producing();
    peer.until(reactor, "all", |_| log.received() == sent);
}

fn what_is_encrypted_and_unsent_counts_as_buffered(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = served(reactor, &log, Recorder::new(&log));
    let transport = log.transport();
    transport.write_bytes(vec![0; 20_000_000]);
    let mut before = usize::MAX;
    while transport.buffered_len() < before {
        before = transport.buffered_len();
        settle(reactor);
    }
    // The system takes no more, and of what it did not take some is encrypted already.
    assert!(before > 0, "20 MB fit into the socket");
    transport.lose_connection();
    peer.until(reactor, "the close_notify", |peer| peer.closed);
    assert_eq!(peer.received.len(), 20_000_000);
    assert_eq!(transport.buffered_len(), 0);
}

fn small_writes_of_a_turn_are_one_record(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = served(reactor, &log, Recorder::new(&log));
    // The tickets of the session come first.
    peer.pump();
    for _ in 0..100 {
        log.transport().write(b"0123456789");
    }
    let mut bytes = vec![0; 65_536];
    // The system may wait for the tickets to be acknowledged.
    until(reactor, "the record", || {
        peer.socket.peek(&mut [0; 5]).is_ok_and(|count| count == 5)
    });
    let count = peer.socket.peek(&mut bytes).unwrap();
    let record = usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
    assert_eq!((bytes[0], count), (23, 5 + record));
    peer.pump();
    assert_eq!(peer.received, b"0123456789".repeat(100));
}

fn chunks_without_a_copy_arrive_in_order(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = served(reactor, &log, Recorder::new(&log));
    let all: Vec<u8> = (0..1_000_000).map(|at| at as u8).collect();
    let sizes = [1, 16_384, 3, 16_385, 1024, 1025, 200_000, 7];
    let mut rest = all.as_slice();
    for size in sizes.iter().cycle() {
        let (chunk, more) = rest.split_at((*size).min(rest.len()));
        log.transport().write_bytes(chunk.to_vec());
        rest = more;
        if rest.is_empty() {
            break;
        }
    }
    peer.until(reactor, "all", |peer| peer.received.len() == all.len());
    assert!(peer.received == all);
}

fn data_flows_both_ways_at_once(reactor: &Reactor) {
    let (ours, theirs) = (Log::new(), Log::new());
    let _port = connected(reactor, (&server(), &ours), (&client(), &theirs));
    for log in [&ours, &theirs] {
        push(&log.transport(), &Source::new(3_000_000, 70_000));
    }
    until(reactor, "all", || {
        ours.received() == 3_000_000 && theirs.received() == 3_000_000
    });
    assert!(is_pattern(&ours.data.borrow()) && is_pattern(&theirs.data.borrow()));
}

fn a_turn_of_many_connections_is_fair(reactor: &Reactor) {
    let pairs: Vec<_> = (0..5)
        .map(|_| {
            let (ours, theirs) = (Log::new(), Log::new());
            let port = connected(reactor, (&server(), &ours), (&client(), &theirs));
            (port, ours, theirs)
        })
        .collect();
    for (_, ours, _) in &pairs {
        push(&ours.transport(), &Source::new(1_000_000, 100_000));
    }
    let done = |log: &Rc<Log>| log.received() == 1_000_000;
    until(reactor, "the first", || {
        pairs.iter().any(|pair| done(&pair.2))
    });
    for (_, _, theirs) in &pairs {
        assert!(theirs.received() > 100_000, "{}", theirs.received());
    }
}
