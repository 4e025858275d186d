//! Random pauses, nested turns, answers and strangers: every datagram is told once and in order,
//! over every poller.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod udp_support;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::Duration;

use ropewalk::{DatagramProtocol, DatagramTransport, Disconnect, NetAddr, Reactor, UdpOptions};
use ropewalk_testkit::Random;
use tcp_support::{over_every_poller, until};
use udp_support::{WANTED, peer};

over_every_poller! {
    what_is_sent_is_told_once_and_in_order,
}

/// What the ports of one run share.
struct World {
    random: Random,
    reactor: RefCell<Option<Reactor>>,
    depth: Cell<u32>,
    told: Cell<usize>,
    /// Which datagram of a sender is the next one at a port.
    next: RefCell<BTreeMap<(SocketAddr, SocketAddr), u32>>,
}

impl World {
    fn shake(&self, transport: &DatagramTransport) {
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
            _ => {}
        }
    }
}

struct Checker {
    world: Rc<World>,
    busy: Cell<bool>,
    /// Was told the end.
    ended: bool,
}

impl DatagramProtocol for Checker {
    fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: NetAddr) {
        assert!(!self.busy.get() && !self.ended);
        assert!(!transport.is_paused(), "a paused port is silent");
        let number = u32::from_le_bytes(data[..4].try_into().unwrap());
        let key = (from.ip().unwrap(), transport.local_addr().ip().unwrap());
        let expected = self.world.next.borrow_mut().insert(key, number + 1);
        assert_eq!(expected.unwrap_or(0), number, "in order and once");
        assert!(data[4..].iter().all(|byte| *byte == data[0]));
        self.world.told.set(self.world.told.get() + 1);
        self.busy.set(true);
        let world = Rc::clone(&self.world);
        let shaken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            world.shake(transport);
        }));
        self.busy.set(false);
        if let Err(panic) = shaken {
            std::panic::resume_unwind(panic);
        }
    }

    fn stopped(&mut self, _: Disconnect) {
        self.ended = true;
    }
}

fn what_is_sent_is_told_once_and_in_order(reactor: &Reactor) {
    let (mishaps, faults) = (Rc::new(Cell::new(0)), Rc::<RefCell<Vec<_>>>::default());
    let (hook_mishaps, hook_faults) = (Rc::clone(&mishaps), Rc::clone(&faults));
    reactor.on_failure(move |failure| {
        hook_mishaps.set(hook_mishaps.get() + 1);
        let text = failure.to_string();
        if !text.ends_with(WANTED) {
            hook_faults.borrow_mut().push(text);
        }
    });
    let world = Rc::new(World {
        random: Random::new(0x5eed_0d06),
        reactor: RefCell::new(Some(reactor.clone())),
        depth: Cell::new(0),
        told: Cell::new(0),
        next: RefCell::default(),
    });
    let ports: Vec<_> = (0..3).map(|_| port(reactor, &world)).collect();
    let senders: Vec<_> = (0..3).map(|_| peer()).collect();
    let mut sent = 0;
    let mut numbers = BTreeMap::new();
    for round in 0..60 {
        for _ in 0..world.random.below(40) {
            let port = &ports[world.random.below(3)];
            let sender = &senders[world.random.below(3)];
            sent += 1;
            send(
                &world.random,
                sender,
                port.local_addr().ip().unwrap(),
                &mut numbers,
            );
        }
        reactor.turn(Some(Duration::ZERO)).unwrap();
        for port in &ports {
            if world.random.below(2) == 0 {
                port.resume_receiving();
            }
        }
        if round % 10 == 9 {
            until(reactor, "all of them", || {
                for port in &ports {
                    port.resume_receiving();
                }
                world.told.get() == sent
            });
        }
    }
    assert!(mishaps.get() > 5, "{}", mishaps.get());
    assert_eq!(*faults.borrow(), [""; 0]);
    world.reactor.take();
}

fn port(reactor: &Reactor, world: &Rc<World>) -> DatagramTransport {
    let checker = Checker {
        world: Rc::clone(world),
        busy: Cell::new(false),
        ended: false,
    };
    // Room for all datagrams of ten rounds.
    let options = UdpOptions::new().receive_buffer(1 << 20);
    reactor
        .listen_udp_with("127.0.0.1:0", options, checker)
        .unwrap()
}

/// Sends the sender's next datagram for that port, of any length.
fn send(
    random: &Random,
    sender: &UdpSocket,
    to: SocketAddr,
    numbers: &mut BTreeMap<(SocketAddr, SocketAddr), u32>,
) {
    let number = numbers
        .entry((sender.local_addr().unwrap(), to))
        .or_default();
    let mut data = vec![number.to_le_bytes()[0]; 4 + random.below(300)];
    data[..4].copy_from_slice(&number.to_le_bytes());
    *number += 1;
    sender.send_to(&data, to).unwrap();
}
