//! UNIX datagrams whose receivers are full, gone or wrong, over every poller.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod udp_support;
mod unix_support;

use std::cell::{Cell, RefCell};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ropewalk::{
    AddressFault, DatagramTransport, Reactor, SendError, UnixAddr, UnixDatagramOptions,
};
use tcp_support::{over_every_poller, settle, until};
use udp_support::{Log, Recorder, stop};
use unix_support::Directory;

over_every_poller! {
    receivers_that_cannot_be_sent_to_are_told_apart,
    a_receiver_that_comes_back_is_sent_to,
    a_connected_peer_that_comes_back_is_sent_to,
    a_connected_peer_that_is_gone_is_told,
    what_waits_for_a_full_receiver_arrives_in_order,
    a_full_receiver_holds_up_nobody_else,
    a_full_receiver_is_not_tried_all_the_time,
    a_full_peer_of_a_connected_socket_is_waited_for,
    what_waits_for_a_full_peer_arrives_in_order,
    what_waits_for_a_receiver_that_goes_is_dropped_with_a_notice,
    what_waits_for_a_peer_that_goes_is_dropped_with_a_notice,
    a_send_buffer_that_is_full_makes_datagrams_wait,
    beyond_the_bound_the_newest_is_dropped_with_a_notice,
    what_waits_at_the_end_is_sent_or_told,
    a_paused_socket_still_sends,
}

/// A port and receivers of the standard library, who receive when the test says so.
struct World {
    directory: Directory,
    port: DatagramTransport,
    log: Rc<Log>,
}

struct Receiver {
    socket: UnixDatagram,
    address: UnixAddr,
}

impl World {
    fn new(reactor: &Reactor, options: UnixDatagramOptions) -> Self {
        let directory = Directory::new();
        let (recorder, log) = Recorder::new();
        let port = reactor
            .listen_unix_datagram_with(directory.join("port"), options, recorder)
            .unwrap();
        Self {
            directory,
            port,
            log,
        }
    }

    fn usual(reactor: &Reactor) -> Self {
        Self::new(reactor, UnixDatagramOptions::new())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn receiver(&self, name: &str) -> Receiver {
        let path = self.path(name);
        let _: std::io::Result<()> = fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Receiver {
            socket,
            address: path.into(),
        }
    }

    /// Sends numbered datagrams until the receiver takes no more, and `more` after that. Answers how
    /// many.
    fn fill(&self, receiver: &Receiver, more: u8) -> u8 {
        let mut number = 0;
        let mut send = || {
            let to = receiver.address.clone();
            self.port.send_to(&[number; 100], to).unwrap();
            number += 1;
        };
        while !self.port.is_full() {
            send();
        }
        (0..more).for_each(|_| send());
        number
    }
}

impl Receiver {
    /// The numbers that have arrived.
    fn arrived(&self) -> Vec<u8> {
        let mut buffer = [0; 200];
        let mut numbers = Vec::new();
        while let Ok(length) = self.socket.recv(&mut buffer) {
            assert_eq!(length, 100);
            numbers.push(buffer[0]);
        }
        numbers
    }

    /// Receives while the reactor turns, until `wanted` have arrived.
    fn drain(&self, reactor: &Reactor, wanted: u8) -> Vec<u8> {
        let arrived = RefCell::new(Vec::new());
        until(reactor, "what waited", || {
            arrived.borrow_mut().extend(self.arrived());
            arrived.borrow().len() >= usize::from(wanted)
        });
        arrived.into_inner()
    }
}

/// How many turns the reactor makes in 300 ms when nothing happens.
fn turns(reactor: &Reactor) -> u32 {
    let end = Instant::now() + Duration::from_millis(300);
    let mut turns = 0;
    while Instant::now() < end {
        variant::turn(reactor, end.saturating_duration_since(Instant::now()));
        turns += 1;
    }
    turns
}

fn receivers_that_cannot_be_sent_to_are_told_apart(reactor: &Reactor) {
    let world = World::usual(reactor);
    drop(world.receiver("gone"));
    fs::write(world.path("file"), "").unwrap();
    let _stream = UnixListener::bind(world.path("stream")).unwrap();
    let _private = world.receiver("private");
    let nobody = fs::Permissions::from_mode(0o000);
    fs::set_permissions(world.path("private"), nobody).unwrap();
    let busy = world.receiver("busy");
    busy.socket
        .connect(world.receiver("its peer").address.as_path().unwrap())
        .unwrap();
    let kind = |name: &str| match world.port.send_to(b"x", UnixAddr::from(world.path(name))) {
        Err(SendError::NoReceiver { to, source }) => {
            assert_eq!(to.unix(), Some(&UnixAddr::from(world.path(name))));
            format!("nobody: {}", source.raw_os_error().unwrap())
        }
        Err(SendError::BadAddress {
            fault: AddressFault::WrongKind,
            ..
        }) => "kind".to_owned(),
        Err(SendError::Denied { .. }) => "denied".to_owned(),
        other => format!("{other:?}"),
    };
    assert_eq!(kind("missing"), "nobody: 2");
    assert_eq!(kind("gone"), "nobody: 111");
    assert_eq!(kind("file"), "nobody: 111");
    assert_eq!(kind("stream"), "kind");
    assert_eq!(kind("busy"), "denied", "connected to somebody else");
    if !rustix::process::geteuid().is_root() {
        assert_eq!(kind("private"), "denied");
    }
    let unconnected = world.port.send(b"x").unwrap_err();
    assert!(matches!(unconnected, SendError::NotConnected));
    let ip: std::net::SocketAddr = "127.0.0.1:9".parse().unwrap();
    assert!(matches!(
        world.port.send_to(b"x", ip),
        Err(SendError::BadAddress {
            fault: AddressFault::WrongFamily,
            ..
        })
    ));
    settle(reactor);
    assert_eq!(world.log.notices(), ["started"], "whoever sends is told");
}

fn a_receiver_that_comes_back_is_sent_to(reactor: &Reactor) {
    let world = World::usual(reactor);
    let receiver = world.receiver("receiver");
    let to = receiver.address.clone();
    world.port.send_to(&[1; 100], to.clone()).unwrap();
    drop(receiver);
    world.port.send_to(&[2; 100], to.clone()).unwrap_err();
    let receiver = world.receiver("receiver");
    world.port.send_to(&[3; 100], to).unwrap();
    assert_eq!(receiver.arrived(), [3]);
}

fn a_connected_peer_that_comes_back_is_sent_to(reactor: &Reactor) {
    let world = World::usual(reactor);
    let peer = world.receiver("peer");
    world.port.connect(peer.address.clone()).unwrap();
    drop(peer);
    for number in 1..4 {
        // The one there was is gone, and another has its path.
        let peer = world.receiver("peer");
        world.port.send(&[number; 100]).unwrap();
        assert_eq!(peer.arrived(), [number]);
    }
    let peer = world.receiver("peer");
    world.port.send(&[9; 100]).unwrap();
    assert_eq!(peer.arrived(), [9]);
    peer.socket.send_to(b"back", world.path("port")).unwrap();
    until(reactor, "the answer", || world.log.received() == 1);
    assert_eq!(world.log.notices(), ["started"]);
}

fn a_connected_peer_that_is_gone_is_told(reactor: &Reactor) {
    let world = World::usual(reactor);
    let peer = world.receiver("peer");
    world.port.connect(peer.address.clone()).unwrap();
    drop(peer);
    for count in 1..4 {
        let gone = world.port.send(b"anybody?").unwrap_err();
        assert!(matches!(gone, SendError::NoReceiver { .. }), "{gone}");
        until(reactor, "the notice", || {
            world.log.count("refused") == count
        });
    }
    fs::remove_file(world.path("peer")).unwrap();
    let gone = world.port.send(b"anybody?").unwrap_err();
    assert!(matches!(gone, SendError::NoReceiver { .. }), "{gone}");
    until(reactor, "the notice", || world.log.count("refused") == 4);
    assert!(world.port.is_listening() && !world.port.is_full());
}

fn what_waits_for_a_full_receiver_arrives_in_order(reactor: &Reactor) {
    let world = World::usual(reactor);
    let receiver = world.receiver("receiver");
    let sent = world.fill(&receiver, 40);
    assert_eq!(world.port.buffered_len(), 41 * 100);
    settle(reactor);
    assert_eq!(world.log.notices(), ["started"], "nothing moved");
    assert_eq!(receiver.drain(reactor, sent), (0..sent).collect::<Vec<_>>());
    until(reactor, "the notice", || world.log.has("drained"));
    assert_eq!(world.log.notices(), ["started", "drained"]);
    assert_eq!(
        (world.port.buffered_len(), world.port.is_full()),
        (0, false)
    );
}

fn a_full_receiver_holds_up_nobody_else(reactor: &Reactor) {
    let world = World::usual(reactor);
    let (full, other) = (world.receiver("full"), world.receiver("other"));
    let sent = world.fill(&full, 3);
    world
        .port
        .send_to(&[7; 100], other.address.clone())
        .unwrap();
    assert_eq!(other.arrived(), [7], "at once");
    // Both are full, and one of them receives.
    let filled = Cell::new(0);
    while world.port.buffered_len() < 6 * 100 {
        world
            .port
            .send_to(&[8; 100], other.address.clone())
            .unwrap();
        filled.set(filled.get() + 1);
    }
    assert_eq!(
        other.drain(reactor, filled.get()),
        vec![8; filled.get().into()]
    );
    assert!(world.port.is_full());
    assert_eq!(world.port.buffered_len(), 4 * 100);
    assert_eq!(full.drain(reactor, sent), (0..sent).collect::<Vec<_>>());
    until(reactor, "the notice", || world.log.has("drained"));
}

fn a_full_receiver_is_not_tried_all_the_time(reactor: &Reactor) {
    let world = World::usual(reactor);
    let full = world.receiver("full");
    world.fill(&full, 3);
    settle(reactor);
    let turns = turns(reactor);
    assert!(turns < 40, "{turns} turns in 300 ms for nothing");
    assert!(world.port.is_full());
}

fn a_full_peer_of_a_connected_socket_is_waited_for(reactor: &Reactor) {
    let world = World::usual(reactor);
    let peer = world.receiver("peer");
    world.port.connect(peer.address.clone()).unwrap();
    world.fill(&peer, 3);
    settle(reactor);
    let turns = turns(reactor);
    assert!(turns < 5, "{turns} turns in 300 ms for nothing");
    assert!(world.port.is_full());
    peer.arrived();
    until(reactor, "the rest", || world.log.has("drained"));
}

fn what_waits_for_a_full_peer_arrives_in_order(reactor: &Reactor) {
    let world = World::usual(reactor);
    let peer = world.receiver("peer");
    world.port.connect(peer.address.clone()).unwrap();
    let sent = world.fill(&peer, 40);
    assert_eq!(peer.drain(reactor, sent), (0..sent).collect::<Vec<_>>());
    until(reactor, "the notice", || world.log.has("drained"));
    assert_eq!(world.log.notices(), ["started", "drained"]);
}

fn what_waits_for_a_receiver_that_goes_is_dropped_with_a_notice(reactor: &Reactor) {
    let world = World::usual(reactor);
    let (full, other) = (world.receiver("full"), world.receiver("other"));
    world.fill(&full, 4);
    let filled = world.port.buffered_len();
    while world.port.buffered_len() == filled {
        world
            .port
            .send_to(&[8; 100], other.address.clone())
            .unwrap();
    }
    drop(full);
    until(reactor, "the notice", || world.log.has("dropped"));
    assert_eq!(world.log.dropped.get(), 5);
    assert_eq!(world.port.buffered_len(), 100, "the other's stays");
    other.arrived();
    until(reactor, "the rest", || world.log.has("drained"));
    assert_eq!(other.arrived(), [8]);
    assert_eq!(world.log.notices(), ["started", "dropped", "drained"]);
}

fn what_waits_for_a_peer_that_goes_is_dropped_with_a_notice(reactor: &Reactor) {
    let world = World::usual(reactor);
    let peer = world.receiver("peer");
    world.port.connect(peer.address.clone()).unwrap();
    world.fill(&peer, 4);
    drop(peer);
    until(reactor, "the notices", || world.log.has("refused"));
    assert_eq!(world.log.dropped.get(), 5);
    assert_eq!(
        world.log.notices(),
        ["started", "dropped", "drained", "refused"]
    );
    assert!(world.port.is_listening());
}

fn a_send_buffer_that_is_full_makes_datagrams_wait(reactor: &Reactor) {
    // Room for one of the two, though the receiver has room for ten.
    let world = World::new(reactor, UnixDatagramOptions::new().send_buffer(5_000));
    let peer = world.receiver("peer");
    for connected in [false, true] {
        if connected {
            world.port.connect(peer.address.clone()).unwrap();
        }
        let mut sent = 0;
        while !world.port.is_full() {
            let to = peer.address.clone();
            world.port.send_to(&[sent; 4_000], to).unwrap();
            sent += 1;
        }
        assert!(sent < 9, "{sent}: the receiver was not full");
        let arrived = RefCell::new(Vec::new());
        let take = |buffer: &mut [u8]| {
            while let Ok(length) = peer.socket.recv(buffer) {
                assert_eq!(length, 4_000);
                arrived.borrow_mut().push(buffer[0]);
            }
        };
        until(reactor, "what waited", || {
            take(&mut [0; 5_000]);
            !world.port.is_full()
        });
        take(&mut [0; 5_000]);
        assert_eq!(arrived.into_inner(), (0..sent).collect::<Vec<_>>());
    }
}

fn beyond_the_bound_the_newest_is_dropped_with_a_notice(reactor: &Reactor) {
    let options = UnixDatagramOptions::new().queue_bound(5 * (100 + 64));
    let world = World::new(reactor, options);
    let receiver = world.receiver("receiver");
    let sent = world.fill(&receiver, 12);
    assert_eq!(world.port.buffered_len(), 5 * 100);
    assert_eq!(world.log.count("dropped"), 0, "in a later step");
    until(reactor, "the notice", || world.log.has("dropped"));
    assert_eq!(
        (world.log.count("dropped"), world.log.dropped.get()),
        (1, 8)
    );
    let arrived = receiver.drain(reactor, sent - 8);
    assert_eq!(arrived, (0..sent - 8).collect::<Vec<_>>());
}

fn what_waits_at_the_end_is_sent_or_told(reactor: &Reactor) {
    let world = World::usual(reactor);
    let (full, other) = (world.receiver("full"), world.receiver("other"));
    let sent = world.fill(&full, 3);
    let mut others = 0;
    while world.port.buffered_len() == 4 * 100 {
        world
            .port
            .send_to(&[others; 100], other.address.clone())
            .unwrap();
        others += 1;
    }
    assert_eq!(full.arrived().len(), usize::from(sent) - 4);
    // There is room for what waits for the one, and none for the other's.
    stop(reactor, &world.port);
    assert_eq!(full.arrived(), (sent - 4..sent).collect::<Vec<_>>());
    assert_eq!(other.arrived().len(), usize::from(others) - 1);
    assert_eq!(world.log.notices(), ["started", "dropped", "stopped"]);
    assert_eq!(world.log.dropped.get(), 1);
}

fn a_paused_socket_still_sends(reactor: &Reactor) {
    let world = World::usual(reactor);
    let receiver = world.receiver("receiver");
    world.port.pause_receiving();
    let sent = world.fill(&receiver, 5);
    assert_eq!(receiver.drain(reactor, sent), (0..sent).collect::<Vec<_>>());
    until(reactor, "the notice", || world.log.has("drained"));
}
