//! Random histories of TCP connections, over every poller: whatever a program does in its callbacks
//! and a peer on its side, callbacks never overlap, each connection ends exactly once, what arrives
//! is a prefix of what was written, and no descriptor stays open.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use ropewalk::{Producer, ProducerKind, Reactor, Transport};
use ropewalk_testkit::Random;
use tcp_support::{Log, Recorder, connect, over_every_poller, reset, until};

over_every_poller! {
    whatever_happens_a_connection_ends_once,
}

/// How much is written at once, in bytes.
const SIZES: [usize; 7] = [0, 1, 100, 1024, 1025, 70_000, 400_000];

/// Writes a pattern that shows what is missing, and counts it.
#[derive(Clone, Default)]
struct Written(Rc<Cell<usize>>);

impl Written {
    fn next(&self, transport: &Transport, size: usize) -> Vec<u8> {
        let before = transport.buffered_len();
        let data: Vec<u8> = (0..size).map(|n| pattern(self.0.get() + n)).collect();
        self.0.set(self.0.get() + size);
        assert!(before < 100_000_000);
        data
    }
}

fn pattern(position: usize) -> u8 {
    (position % 251) as u8
}

struct Supply {
    random: Random,
    written: Written,
}

impl Producer for Supply {
    fn resume_producing(&self, consumer: &Transport) {
        if self.random.below(4) == 0 {
            consumer.unregister_producer();
        } else {
            consumer.write(&self.written.next(consumer, self.random.pick(&SIZES)));
        }
    }
}

/// Does something, anything.
fn act(reactor: &Reactor, transport: &Transport, random: &Random, written: &Written) {
    match random.below(16) {
        0..=3 => transport.write(&written.next(transport, random.pick(&SIZES))),
        4..=6 => transport.write_bytes(written.next(transport, random.pick(&SIZES))),
        7 => transport.pause_producing(),
        8 | 9 => transport.resume_producing(),
        10 => {
            let kind = random.pick(&[ProducerKind::Push, ProducerKind::Pull]);
            let supply = Supply {
                random: random.clone(),
                written: written.clone(),
            };
            // There may be one already.
            let _: Result<(), ropewalk::Misuse> = transport.register_producer(supply, kind);
        }
        11 => transport.unregister_producer(),
        12 => transport.lose_write_connection(),
        13 if random.below(3) == 0 => transport.lose_connection(),
        14 if random.below(6) == 0 => transport.abort_connection(),
        15 => reactor.turn(Some(Duration::ZERO)).unwrap(),
        _ => {}
    }
}

/// The peer's side: reads, writes, half-closes, resets, goes away.
fn act_as_peer(client: &mut Option<TcpStream>, random: &Random, received: &RefCell<Vec<u8>>) {
    let Some(stream) = client.as_mut() else {
        return;
    };
    match random.below(20) {
        // Whether the other side takes it is not this side's business.
        0..=4 => drop(stream.write(&vec![7; random.pick(&SIZES)])),
        5 if random.below(4) == 0 => drop(stream.shutdown(Shutdown::Write)),
        6 if random.below(8) == 0 => drop(client.take()),
        7 if random.below(8) == 0 => reset(client.take().unwrap()),
        _ => {
            let mut buffer = vec![0; random.pick(&SIZES).max(1)];
            if let Ok(count) = stream.read(&mut buffer) {
                received.borrow_mut().extend_from_slice(&buffer[..count]);
            }
        }
    }
}

fn whatever_happens_a_connection_ends_once(reactor: &Reactor) {
    for seed in 1..=60 {
        let random = Random::new(seed);
        let (log, written) = (Log::new(), Written::default());
        let (inner, chance, wrote) = (reactor.clone(), random.clone(), written.clone());
        let recorder = Recorder::new(&log).hook(move |_, transport| {
            if let Some(transport) = transport {
                for _ in 0..chance.below(3) {
                    act(&inner, transport, &chance, &wrote);
                }
            }
        });
        let recorder = if seed % 2 == 0 {
            recorder.half_closing()
        } else {
            recorder
        };
        let mut recorder = Some(recorder);
        let port = reactor
            .listen_tcp("127.0.0.1:0", move |_| recorder.take().unwrap())
            .unwrap();
        let client = connect(port.local_addr());
        client.set_nonblocking(true).unwrap();
        let (mut client, received) = (Some(client), RefCell::default());
        until(reactor, "the connection", || log.is_connected());
        let transport = log.transport();
        for _ in 0..40 {
            act_as_peer(&mut client, &random, &received);
            act(reactor, &transport, &random, &written);
            reactor.turn(Some(Duration::ZERO)).unwrap();
        }
        // Everything that may hold the end up is let go.
        transport.unregister_producer();
        transport.resume_producing();
        transport.lose_connection();
        end(reactor, &mut client, &log, &received, seed);
        let received = received.borrow();
        assert!(received.len() <= written.0.get(), "seed {seed}");
        let intact = received
            .iter()
            .enumerate()
            .all(|(n, byte)| *byte == pattern(n));
        assert!(intact, "seed {seed}: the order of writes is kept");
        port.stop_listening().ignore();
    }
}

/// Reads on until the connection has ended on this side.
fn end(
    reactor: &Reactor,
    client: &mut Option<TcpStream>,
    log: &Log,
    received: &RefCell<Vec<u8>>,
    seed: u64,
) {
    let mut buffer = vec![0; 1 << 20];
    for _ in 0..10_000 {
        if let Some(stream) = client {
            match stream.read(&mut buffer) {
                Ok(count) => received.borrow_mut().extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => drop(client.take()),
            }
        }
        reactor.turn(Some(Duration::ZERO)).unwrap();
        if log.is_lost() {
            reactor.turn(Some(Duration::ZERO)).unwrap();
            assert_eq!(
                (log.count("made"), log.count("lost")),
                (1, 1),
                "seed {seed}"
            );
            return;
        }
    }
    panic!(
        "seed {seed}: never ended: {:?}, {:?}",
        log.transport(),
        log.events.borrow()
    );
}
