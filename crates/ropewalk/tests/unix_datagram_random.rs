//! Random pauses, nested turns, receivers that are full, closed and made again: every UNIX datagram
//! is told once and in order, or known to be lost, over every poller.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod udp_support;
mod unix_support;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use ropewalk::{
    DatagramProtocol, DatagramTransport, Disconnect, NetAddr, Reactor, SendError, UnixAddr,
    UnixDatagramOptions,
};
use ropewalk_testkit::Random;
use tcp_support::{over_every_poller, until};
use udp_support::WANTED;
use unix_support::Directory;

over_every_poller! {
    what_is_sent_is_told_once_and_in_order_or_known_to_be_lost,
}

/// How many ports talk to each other.
const PORTS: usize = 3;

/// What became of the datagrams from one port to another.
#[derive(Default)]
struct Way {
    sent: Cell<u32>,
    /// The number of the last one that was told, counted from one.
    last: Cell<u32>,
    told: Cell<u32>,
    refused: Cell<u32>,
}

/// What the ports of one run share.
struct World {
    random: Random,
    reactor: RefCell<Option<Reactor>>,
    depth: Cell<u32>,
    directory: Directory,
    /// By sender, then by receiver.
    ways: [[Way; PORTS]; PORTS],
    /// What the ports have said they had to drop, and what went with a port that was closed.
    dropped: Cell<u32>,
    /// A port was closed and made again: what was on its way may be gone.
    closings: Cell<u32>,
}

impl World {
    fn path(&self, port: usize) -> PathBuf {
        self.directory.join(&port.to_string())
    }

    fn shake(&self, transport: &DatagramTransport, own: usize) {
        match self.random.below(20) {
            0 => transport.pause_receiving(),
            1 => transport.resume_receiving(),
            2 if self.depth.get() < 3 => {
                let reactor = self.reactor.borrow().clone().unwrap();
                self.depth.set(self.depth.get() + 1);
                reactor.turn(Some(Duration::ZERO)).unwrap();
                self.depth.set(self.depth.get() - 1);
            }
            3 => panic!("{WANTED}"),
            4..7 => self.send(transport, own, self.random.below(PORTS)),
            _ => {}
        }
    }

    /// Sends the next datagram of that way, of any length.
    fn send(&self, transport: &DatagramTransport, from: usize, to: usize) {
        let way = &self.ways[from][to];
        let number = way.sent.get() + 1;
        let mut data = vec![number as u8; 6 + self.random.below(2000)];
        data[0] = from as u8;
        data[1..5].copy_from_slice(&number.to_le_bytes());
        match transport.send_to(&data, UnixAddr::from(self.path(to))) {
            Ok(()) => way.sent.set(number),
            // It was told at once, and is no part of the sequence.
            Err(SendError::NoReceiver { .. } | SendError::Closed) => {
                way.refused.set(way.refused.get() + 1);
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn hear(&self, own: usize, data: &[u8], from: &NetAddr) {
        let sender = usize::from(data[0]);
        assert_eq!(*from, NetAddr::from(UnixAddr::from(self.path(sender))));
        let number = u32::from_le_bytes(data[1..5].try_into().unwrap());
        assert!(data[5..].iter().all(|byte| *byte == number as u8));
        let way = &self.ways[sender][own];
        assert!(number > way.last.replace(number), "in order and once");
        way.told.set(way.told.get() + 1);
    }

    fn sum(&self, count: impl Fn(&Way) -> u32) -> u32 {
        self.ways.iter().flatten().map(count).sum()
    }
}

struct Checker {
    world: Rc<World>,
    own: usize,
    busy: Cell<bool>,
    ended: bool,
}

impl Checker {
    fn alone(&self, callback: impl FnOnce()) {
        assert!(!self.busy.replace(true), "callbacks overlap");
        let shaken = catch_unwind(AssertUnwindSafe(callback));
        self.busy.set(false);
        if let Err(panic) = shaken {
            resume_unwind(panic);
        }
    }
}

impl DatagramProtocol for Checker {
    fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: NetAddr) {
        assert!(!self.ended);
        assert!(!transport.is_paused(), "a paused port is silent");
        self.world.hear(self.own, data, &from);
        self.alone(|| self.world.shake(transport, self.own));
    }

    fn datagrams_dropped(&mut self, _: &DatagramTransport, count: usize) {
        assert!(!self.ended);
        self.world
            .dropped
            .set(self.world.dropped.get() + count as u32);
    }

    fn stopped(&mut self, _: Disconnect) {
        self.ended = true;
    }
}

fn port(reactor: &Reactor, world: &Rc<World>, own: usize) -> DatagramTransport {
    let checker = Checker {
        world: Rc::clone(world),
        own,
        busy: Cell::new(false),
        ended: false,
    };
    // Little, so that receivers are full now and then, and senders drop.
    let options = UnixDatagramOptions::new().queue_bound(8 * 1024);
    reactor
        .listen_unix_datagram_with(world.path(own), options, checker)
        .unwrap()
}

/// Notes every failure but those that are wanted.
fn watch(reactor: &Reactor) -> (Rc<Cell<u32>>, Rc<RefCell<Vec<String>>>) {
    let (mishaps, faults) = (Rc::new(Cell::new(0)), Rc::<RefCell<Vec<_>>>::default());
    let (count, texts) = (Rc::clone(&mishaps), Rc::clone(&faults));
    reactor.on_failure(move |failure| {
        count.set(count.get() + 1);
        let text = failure.to_string();
        if !text.ends_with(WANTED) {
            texts.borrow_mut().push(text);
        }
    });
    (mishaps, faults)
}

fn what_is_sent_is_told_once_and_in_order_or_known_to_be_lost(reactor: &Reactor) {
    let (mishaps, faults) = watch(reactor);
    let world = Rc::new(World {
        random: Random::new(0x5eed_0d06),
        reactor: RefCell::new(Some(reactor.clone())),
        depth: Cell::new(0),
        directory: Directory::new(),
        ways: Default::default(),
        dropped: Cell::new(0),
        closings: Cell::new(0),
    });
    let mut ports: Vec<_> = (0..PORTS).map(|own| port(reactor, &world, own)).collect();
    for round in 1..=80 {
        for _ in 0..world.random.below(40) {
            let from = world.random.below(PORTS);
            let to = world.random.below(PORTS);
            world.send(&ports[from], from, to);
        }
        reactor.turn(Some(Duration::ZERO)).unwrap();
        for port in &ports {
            if world.random.below(2) == 0 {
                port.resume_receiving();
            }
        }
        if round % 10 == 0 {
            until_all_told(reactor, &world, &ports);
        }
        // In the second half ports go and come back, with what was on its way.
        if round > 40 && world.random.below(4) == 0 {
            let own = world.random.below(PORTS);
            close(reactor, &world, &ports[own]);
            world.send(&ports[(own + 1) % PORTS], (own + 1) % PORTS, own);
            ports[own] = port(reactor, &world, own);
        }
    }
    assert!(mishaps.get() > 5, "{}", mishaps.get());
    assert_eq!(*faults.borrow(), [""; 0]);
    assert!(world.dropped.get() > 0, "a full receiver costs datagrams");
    assert!(world.closings.get() > 0 && world.sum(|way| way.refused.get()) > 0);
    world.reactor.take();
}

fn close(reactor: &Reactor, world: &World, port: &DatagramTransport) {
    let stopped = port.stop_listening();
    until(reactor, "the port is closed", || stopped.is_ready());
    stopped.try_take().unwrap().unwrap();
    world.closings.set(world.closings.get() + 1);
}

/// Waits until nothing is on its way any more; what was not told by then is lost, which only a
/// full queue and a closed port account for.
fn until_all_told(reactor: &Reactor, world: &World, ports: &[DatagramTransport]) {
    let idle = Cell::new((0, 0));
    until(reactor, "all of them", || {
        for port in ports {
            port.resume_receiving();
        }
        let told = world.sum(|way| way.told.get());
        let missing = world.sum(|way| way.sent.get()) - told;
        if world.closings.get() == 0 {
            return missing == world.dropped.get();
        }
        let waits = ports.iter().any(|port| port.buffered_len() > 0);
        let (before, turns) = idle.get();
        idle.set((
            told,
            if told == before && !waits {
                turns + 1
            } else {
                0
            },
        ));
        idle.get().1 > 5
    });
}
