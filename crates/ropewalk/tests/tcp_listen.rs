//! Listening ports, over every poller.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{Read, Write};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use ropewalk::{Error, Factory, ListenOptions, NetAddr, Protocol, Reactor, Transport};
use tcp_support::{Log, Recorder, connect, end_of, over_every_poller, reset, serve, settle, until};
use variant::Variant;

over_every_poller! {
    a_port_in_use_is_refused,
    an_address_that_is_not_ours_is_refused,
    a_name_is_no_address_to_listen_on,
    options_reach_the_socket,
    a_factory_hears_of_its_port,
    a_stopped_port_accepts_nothing_and_leaves_connections,
    stopping_twice_ends_both,
    a_panic_in_stopped_reaches_whoever_waits,
    a_port_stopped_inside_its_factory_accepts_no_more,
    a_refused_connection_is_closed,
    a_factory_that_panics_closes_the_connection_and_lives_on,
    connections_that_are_gone_before_they_are_accepted_do_no_harm,
    a_nested_turn_inside_a_factory_waits_for_the_factory,
    a_burst_is_accepted_over_several_turns,
    a_port_outlives_its_handle,
    a_full_table_of_descriptors_sheds_connections,
}

struct Sink;

impl Protocol for Sink {
    fn data_received(&mut self, _: &Transport, _: &[u8]) {}
}

fn a_port_in_use_is_refused(reactor: &Reactor) {
    let port = reactor.listen_tcp("127.0.0.1:0", |_| Sink).unwrap();
    let refused = reactor.listen_tcp(port.local_addr(), |_| Sink).unwrap_err();
    let Error::CannotListen { addr, source } = refused else {
        panic!("{refused}")
    };
    assert_eq!(
        (addr, source.kind()),
        (port.local_addr(), std::io::ErrorKind::AddrInUse)
    );
}

fn an_address_that_is_not_ours_is_refused(reactor: &Reactor) {
    let refused = reactor.listen_tcp("192.0.2.1:0", |_| Sink).unwrap_err();
    let Error::CannotListen { source, .. } = refused else {
        panic!("{refused}")
    };
    assert_eq!(source.kind(), std::io::ErrorKind::AddrNotAvailable);
}

fn a_name_is_no_address_to_listen_on(reactor: &Reactor) {
    for text in ["example.test:80", "nonsense", "127.0.0.1"] {
        let refused = reactor.listen_tcp(text, |_| Sink).unwrap_err();
        assert!(matches!(refused, Error::InvalidAddress { .. }), "{text}");
    }
}

fn options_reach_the_socket(reactor: &Reactor) {
    let usual = reactor.listen_tcp("127.0.0.1:0", |_| Sink).unwrap();
    let shared = ListenOptions::new()
        .reuse_port(true)
        .reuse_address(false)
        .backlog(5);
    let first = reactor
        .listen_tcp_with("127.0.0.1:0", shared, |_| Sink)
        .unwrap();
    reactor
        .listen_tcp_with(first.local_addr(), shared, |_| Sink)
        .unwrap();
    let reuse = |port: &ropewalk::ListeningPort| {
        port.with_fd(|fd| rustix::net::sockopt::socket_reuseaddr(fd))
            .unwrap()
            .unwrap()
    };
    assert!(reuse(&usual) && !reuse(&first));
    if let Ok(six) =
        reactor.listen_tcp_with("[::1]:0", ListenOptions::new().v6_only(true), |_| Sink)
    {
        let only = six
            .with_fd(|fd| rustix::net::sockopt::ipv6_v6only(fd))
            .unwrap();
        assert_eq!(only, Ok(true));
    }
}

/// Notes what it hears; `hook` runs in each callback.
struct Server {
    notes: Rc<RefCell<Vec<&'static str>>>,
    hook: Box<dyn FnMut(&'static str)>,
    refuse: bool,
}

impl Server {
    fn note(&mut self, event: &'static str) {
        self.notes.borrow_mut().push(event);
        (self.hook)(event);
    }
}

impl Factory for Server {
    fn build_protocol(&mut self, _: NetAddr) -> Option<Box<dyn Protocol>> {
        self.note("build");
        (!self.refuse).then(|| Box::new(Sink) as Box<dyn Protocol>)
    }

    fn started(&mut self) {
        self.note("started");
    }

    fn stopped(&mut self) {
        self.note("stopped");
    }
}

type Notes = Rc<RefCell<Vec<&'static str>>>;

fn server(hook: impl FnMut(&'static str) + 'static) -> (Server, Notes) {
    let notes = Notes::default();
    (
        Server {
            notes: Rc::clone(&notes),
            hook: Box::new(hook),
            refuse: false,
        },
        notes,
    )
}

fn a_factory_hears_of_its_port(reactor: &Reactor) {
    let (factory, notes) = server(|_| ());
    let port = reactor.listen_tcp("127.0.0.1:0", factory).unwrap();
    assert_eq!(notes.borrow().as_slice(), ["started"]);
    let stopped = port.stop_listening();
    assert!(
        !stopped.is_ready() && port.is_listening(),
        "in a later step"
    );
    until(reactor, "the port", || stopped.is_ready());
    assert_eq!(notes.borrow().as_slice(), ["started", "stopped"]);
    assert!(!port.is_listening());
    assert!(port.stop_listening().is_ready(), "nothing to wait for");
    assert!(port.with_fd(|_| ()).is_err());
}

fn a_stopped_port_accepts_nothing_and_leaves_connections(reactor: &Reactor) {
    let log = Log::new();
    let (port, mut client) = serve(reactor, Recorder::new(&log));
    let waiting = connect(port.local_addr());
    let stopped = port.stop_listening();
    until(reactor, "the port", || stopped.is_ready());
    stopped.try_take().unwrap().unwrap();
    drop(waiting);
    assert!(std::net::TcpStream::connect(port.local_addr()).is_err());
    client.write_all(b"still served").unwrap();
    until(reactor, "the data", || log.received() == 12);
    assert_eq!(log.count("made"), 1);
}

fn stopping_twice_ends_both(reactor: &Reactor) {
    let port = reactor.listen_tcp("127.0.0.1:0", |_| Sink).unwrap();
    let (first, second) = (port.stop_listening(), port.clone().stop_listening());
    until(reactor, "the port", || {
        first.is_ready() && second.is_ready()
    });
    assert!(first.try_take().unwrap().is_ok() && second.try_take().unwrap().is_ok());
}

fn a_panic_in_stopped_reaches_whoever_waits(reactor: &Reactor) {
    reactor.on_failure(|_| ());
    let (factory, _) = server(|event| assert_ne!(event, "stopped", "panic on purpose"));
    let port = reactor.listen_tcp("127.0.0.1:0", factory).unwrap();
    let stopped = port.stop_listening();
    until(reactor, "the port", || stopped.is_ready());
    let failed = stopped.try_take().unwrap();
    assert!(failed.is_err(), "{failed:?}");
    assert!(!port.is_listening());
}

fn a_port_stopped_inside_its_factory_accepts_no_more(reactor: &Reactor) {
    let slot: Rc<RefCell<Option<ropewalk::ListeningPort>>> = Rc::default();
    let port = Rc::clone(&slot);
    let (factory, notes) = server(move |event| {
        if event == "build" {
            port.borrow().as_ref().unwrap().stop_listening().ignore();
        }
    });
    *slot.borrow_mut() = Some(reactor.listen_tcp("127.0.0.1:0", factory).unwrap());
    let address = slot.borrow().as_ref().unwrap().local_addr();
    let clients: Vec<_> = (0..5).map(|_| connect(&address)).collect();
    until(reactor, "the port", || notes.borrow().contains(&"stopped"));
    assert_eq!(notes.borrow().as_slice(), ["started", "build", "stopped"]);
    drop((clients, slot.take()));
}

fn a_refused_connection_is_closed(reactor: &Reactor) {
    let (mut factory, notes) = server(|_| ());
    factory.refuse = true;
    let port = reactor.listen_tcp("127.0.0.1:0", factory).unwrap();
    let mut client = connect(port.local_addr());
    assert_eq!(end_of(reactor, &mut client).unwrap(), b"");
    assert_eq!(notes.borrow().as_slice(), ["started", "build"]);
}

fn a_factory_that_panics_closes_the_connection_and_lives_on(reactor: &Reactor) {
    let failures = Rc::new(Cell::new(0));
    let counted = Rc::clone(&failures);
    reactor.on_failure(move |_| counted.set(counted.get() + 1));
    let panics = Cell::new(true);
    let (factory, notes) = server(move |event| {
        assert!(
            event != "build" || !panics.replace(false),
            "panic on purpose"
        );
    });
    let port = reactor.listen_tcp("127.0.0.1:0", factory).unwrap();
    let mut client = connect(port.local_addr());
    assert_eq!(end_of(reactor, &mut client).unwrap(), b"");
    assert_eq!(failures.get(), 1);
    let _second = connect(port.local_addr());
    until(reactor, "the second", || notes.borrow().len() == 3);
    assert_eq!(failures.get(), 1);
}

fn connections_that_are_gone_before_they_are_accepted_do_no_harm(reactor: &Reactor) {
    let log = Log::new();
    let (shared, built) = (Rc::clone(&log), Rc::new(Cell::new(0)));
    let count = Rc::clone(&built);
    let port = reactor
        .listen_tcp("127.0.0.1:0", move |_| {
            count.set(count.get() + 1);
            *shared.reason.borrow_mut() = None;
            Recorder::new(&shared)
        })
        .unwrap();
    (0..10).for_each(|_| reset(connect(port.local_addr())));
    (0..10).for_each(|_| drop(connect(port.local_addr())));
    let before = built.get();
    assert_eq!(before, 0);
    settle(reactor);
    let _client = connect(port.local_addr());
    until(reactor, "a live one", || {
        log.is_connected() && log.transport().is_connected() && !log.is_lost()
    });
    assert_eq!(log.count("lost") + 1, log.count("made"));
}

fn a_nested_turn_inside_a_factory_waits_for_the_factory(reactor: &Reactor) {
    let (inner, depth) = (reactor.clone(), Rc::new(Cell::new(0)));
    let deep = Rc::clone(&depth);
    let (factory, notes) = server(move |event| {
        if event == "build" {
            assert_eq!(deep.replace(deep.get() + 1), 0, "callbacks overlap");
            settle(&inner);
            deep.set(deep.get() - 1);
        }
    });
    let port = reactor.listen_tcp("127.0.0.1:0", factory).unwrap();
    let clients: Vec<_> = (0..5).map(|_| connect(port.local_addr())).collect();
    until(reactor, "all of them", || notes.borrow().len() == 6);
    drop(clients);
}

fn a_burst_is_accepted_over_several_turns(reactor: &Reactor) {
    let roomy = ListenOptions::new().backlog(400);
    let (factory, notes) = server(|_| ());
    let port = reactor
        .listen_tcp_with("127.0.0.1:0", roomy, factory)
        .unwrap();
    let clients: Vec<_> = (0..230).map(|_| connect(port.local_addr())).collect();
    let mut accepted = Vec::new();
    for _ in 0..4 {
        reactor.turn(Some(Duration::from_millis(50))).unwrap();
        accepted.push(notes.borrow().len() - 1);
    }
    // 100 at first, 20 more after a full round, then what is left.
    assert_eq!(accepted, [100, 220, 230, 230]);
    drop(clients);
}

fn a_port_outlives_its_handle(reactor: &Reactor) {
    let (factory, notes) = server(|_| ());
    let address = reactor
        .listen_tcp("127.0.0.1:0", factory)
        .unwrap()
        .local_addr();
    let _client = connect(address);
    until(reactor, "the connection", || {
        notes.borrow().contains(&"build")
    });
}

const CHILD: &str = "ROPEWALK_TEST_FULL_TABLE";

/// In a process of its own, for the limit holds for the whole process.
fn a_full_table_of_descriptors_sheds_connections(reactor: &Reactor) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "with_a_full_table_of_descriptors",
            "--ignored",
            "--nocapture",
        ])
        .env(CHILD, reactor.poller_kind().to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&status.stdout);
    let complained = String::from_utf8_lossy(&status.stderr);
    assert!(
        status.status.success() && said.contains("1 passed"),
        "{said}{complained}"
    );
}

#[test]
#[ignore = "run in a process of its own by the test before"]
fn with_a_full_table_of_descriptors() {
    let Ok(kind) = std::env::var(CHILD) else {
        return;
    };
    let reactor = Variant::alone(kind.parse().unwrap())
        .builder()
        .build()
        .unwrap();
    let (factory, notes) = server(|_| ());
    let port = reactor.listen_tcp("127.0.0.1:0", factory).unwrap();
    settle(&reactor);
    let mut clients: Vec<_> = (0..20).map(|_| connect(port.local_addr())).collect();
    lower_the_limit();
    let mut full = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        full.push(file);
    }
    for client in &mut clients {
        // Closed, or reset: in no case left to wait.
        assert!(end_of(&reactor, client).unwrap_or_default().is_empty());
    }
    assert_eq!(
        notes.borrow().as_slice(),
        ["started"],
        "no protocol was made"
    );
    assert!(
        File::open("/dev/null").is_err(),
        "the reserve is taken again"
    );
    clients.clear();
    full.clear();
    let mut client = connect(port.local_addr());
    until(&reactor, "service as usual", || {
        notes.borrow().contains(&"build")
    });
    client.set_nonblocking(true).unwrap();
    let waits = client.read(&mut [0; 1]).unwrap_err();
    assert_eq!(waits.kind(), std::io::ErrorKind::WouldBlock);
}

fn lower_the_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(64),
            maximum,
        },
    )
    .unwrap();
}
