//! Random histories of TLS connections, over every poller: whatever both programs do in their
//! callbacks and between them, callbacks never overlap, each side ends exactly once, and what
//! arrives is a prefix of what was written: all of it, where the end is told as clean.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod tls_support;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ropewalk::tls::{TlsClient, TlsServer, Version};
use ropewalk::{Producer, ProducerKind, Reactor, Transport};
use ropewalk_testkit::Random;
use tcp_support::{Log, Recorder, over_every_poller, until};
use tls_support::{client, pair, server, server_builder};

over_every_poller! {
    whatever_both_sides_do_each_ends_once,
    a_reader_gets_everything_before_a_clean_end,
}

/// How much is written at once, in bytes.
const SIZES: [usize; 8] = [0, 1, 100, 1025, 16_384, 16_385, 30_000, 120_000];

/// Writes a pattern that shows what is missing, and counts what the transport takes of it.
#[derive(Clone, Default)]
struct Written(Rc<Cell<usize>>);

impl Written {
    fn write(&self, transport: &Transport, size: usize, copy: bool) {
        let before = transport.buffered_len();
        let first = self.0.get();
        let data: Vec<u8> = (first..first + size).map(pattern).collect();
        // Counted first: a producer that is resumed in here goes on behind it.
        self.0.set(first + size);
        match copy {
            true => transport.write(&data),
            false => transport.write_bytes(data),
        }
        if transport.buffered_len() == before {
            // It took nothing, for its end has begun.
            self.0.set(first);
        }
    }
}

fn pattern(position: usize) -> u8 {
    (position % 251) as u8
}

fn is_pattern(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .enumerate()
        .all(|(at, byte)| *byte == pattern(at))
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
            self.written.write(consumer, self.random.pick(&SIZES), true);
        }
    }
}

/// What one side is made of.
#[derive(Clone)]
struct Side {
    reactor: Reactor,
    random: Random,
    written: Written,
    log: Rc<Log>,
    /// Whether it may end the connection.
    ends: bool,
}

impl Side {
    fn new(reactor: &Reactor, random: &Random, ends: bool) -> Self {
        Self {
            reactor: reactor.clone(),
            random: random.clone(),
            written: Written::default(),
            log: Log::new(),
            ends,
        }
    }

    fn recorder(&self, half_closing: bool) -> Recorder {
        let side = self.clone();
        let recorder = Recorder::new(&self.log).hook(move |_, transport| {
            if let Some(transport) = transport {
                for _ in 0..side.random.below(3) {
                    side.act(transport);
                }
            }
        });
        match half_closing {
            true => recorder.half_closing(),
            false => recorder,
        }
    }

    /// Does something, anything.
    fn act(&self, transport: &Transport) {
        let random = &self.random;
        match random.below(18) {
            0..=3 => self.written.write(transport, random.pick(&SIZES), true),
            4..=6 => self.written.write(transport, random.pick(&SIZES), false),
            7 => transport.pause_producing(),
            8..=10 => transport.resume_producing(),
            11 => {
                let kind = random.pick(&[ProducerKind::Push, ProducerKind::Pull]);
                let supply = Supply {
                    random: random.clone(),
                    written: self.written.clone(),
                };
                // There may be one already.
                let _: Result<(), ropewalk::Misuse> = transport.register_producer(supply, kind);
            }
            12 => transport.unregister_producer(),
            13 if self.ends && random.below(3) == 0 => transport.lose_write_connection(),
            14 if self.ends && random.below(3) == 0 => transport.lose_connection(),
            15 if self.ends && random.below(8) == 0 => transport.abort_connection(),
            16 => self.reactor.turn(Some(Duration::ZERO)).unwrap(),
            _ => {}
        }
    }

    /// Lets go of everything that may hold the end up.
    fn let_go(&self) {
        let transport = self.log.transport();
        transport.unregister_producer();
        transport.resume_producing();
    }

    fn ended_once(&self) -> bool {
        (self.log.count("made"), self.log.count("lost")) == (1, 1)
    }
}

fn settings(seed: u64) -> (TlsServer, TlsClient) {
    let tls = match seed % 3 {
        0 => server_builder().versions([Version::Tls12]).build().unwrap(),
        _ => server(),
    };
    (tls, client())
}

fn whatever_both_sides_do_each_ends_once(reactor: &Reactor) {
    for seed in 1..=30 {
        let random = Random::new(seed);
        let (tls, other) = settings(seed);
        let sides = [(); 2].map(|()| Side::new(reactor, &random, true));
        let [ours, theirs] = &sides;
        let halves = (seed % 2 == 0, seed % 4 < 2);
        let port = pair(
            reactor,
            (&tls, ours.recorder(halves.0)),
            (&other, theirs.recorder(halves.1)),
        );
        until(reactor, "the connection", || {
            ours.log.is_connected() && theirs.log.is_connected()
        });
        for _ in 0..40 {
            for side in &sides {
                side.act(&side.log.transport());
            }
            reactor.turn(Some(Duration::ZERO)).unwrap();
        }
        for _ in 0..10_000 {
            for side in &sides {
                side.let_go();
                side.log.transport().lose_connection();
            }
            reactor.turn(Some(Duration::ZERO)).unwrap();
            if sides.iter().all(|side| side.log.is_lost()) {
                break;
            }
        }
        for (side, peer) in [(ours, theirs), (theirs, ours)] {
            assert!(
                side.ended_once(),
                "seed {seed}: {:?}",
                side.log.events.borrow()
            );
            assert!(side.log.received() <= peer.written.0.get(), "seed {seed}");
            assert!(is_pattern(&side.log.data.borrow()), "seed {seed}");
        }
        port.stop_listening().ignore();
    }
    assert_eq!(reactor.delayed_call_count(), 0);
}

fn a_reader_gets_everything_before_a_clean_end(reactor: &Reactor) {
    let mut complete = 0;
    for seed in 1..=20 {
        let random = Random::new(seed);
        let (tls, other) = settings(seed);
        let writer = Side::new(reactor, &random, true);
        let reader = Side::new(reactor, &random, false);
        let port = pair(
            reactor,
            (&tls, writer.recorder(seed % 2 == 0)),
            (&other, Recorder::new(&reader.log)),
        );
        until(reactor, "the connection", || {
            writer.log.is_connected() && reader.log.is_connected()
        });
        for _ in 0..40 {
            writer.act(&writer.log.transport());
            reactor.turn(Some(Duration::ZERO)).unwrap();
        }
        writer.let_go();
        writer.log.transport().lose_connection();
        until(reactor, "both ends", || {
            writer.let_go();
            writer.log.is_lost() && reader.log.is_lost()
        });
        assert!(writer.ended_once() && reader.ended_once(), "seed {seed}");
        assert!(is_pattern(&reader.log.data.borrow()), "seed {seed}");
        if reader.log.reason().is_clean() {
            complete += 1;
            assert_eq!(reader.log.received(), writer.written.0.get(), "seed {seed}");
        }
        port.stop_listening().ignore();
    }
    assert!(complete > 5, "only {complete} histories ended cleanly");
}
