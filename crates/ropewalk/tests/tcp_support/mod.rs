//! What the TCP tests share: every case runs over every poller, with a time limit, and fails when it
//! leaves a descriptor behind.
#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "each test file uses its part"
)]

pub(crate) mod client;

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ropewalk::{Disconnect, ListeningPort, Protocol, Reactor, Transport};
use ropewalk_testkit::DescriptorCount;

use crate::variant::{self, Variant};

/// Makes a test of each case for each variant.
macro_rules! over_every_poller {
    ($($case:ident),+ $(,)?) => {
        on_every_variant!(crate::tcp_support::run: $($case),+);
    };
}
pub(crate) use over_every_poller;

/// How long anything may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// Cases of one process run one by one, so that their descriptors can be counted.
static ONE_BY_ONE: Mutex<()> = Mutex::new(());

pub(crate) fn run(variant: Variant, case: fn(&Reactor)) {
    let _alone = ONE_BY_ONE.lock().unwrap_or_else(PoisonError::into_inner);
    // Dropped last, when everything is closed.
    let _count = DescriptorCount::new();
    let reactor = variant.reactor();
    case(&reactor);
    reactor.disconnect_all();
    // Deferred results and thread calls that are still under way.
    reactor.turn(Some(Duration::ZERO)).unwrap();
}

/// Turns the reactor until `done`, or fails.
pub(crate) fn until(reactor: &Reactor, what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !done() {
        assert!(Instant::now() < deadline, "still waiting: {what}");
        variant::turn(reactor, Duration::from_millis(10));
    }
}

/// Lets everything happen that is due now.
pub(crate) fn settle(reactor: &Reactor) {
    for _ in 0..5 {
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
}

/// What a [`Recorder`] heard.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) events: RefCell<Vec<&'static str>>,
    pub(crate) data: RefCell<Vec<u8>>,
    pub(crate) transport: RefCell<Option<Transport>>,
    pub(crate) reason: RefCell<Option<Disconnect>>,
    pub(crate) busy: Cell<bool>,
}

impl Log {
    pub(crate) fn new() -> Rc<Self> {
        Rc::default()
    }

    pub(crate) fn transport(&self) -> Transport {
        self.transport.borrow().clone().expect("connected")
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.transport.borrow().is_some()
    }

    pub(crate) fn has(&self, event: &str) -> bool {
        self.events.borrow().contains(&event)
    }

    pub(crate) fn count(&self, event: &str) -> usize {
        self.events.borrow().iter().filter(|e| **e == event).count()
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.reason.borrow().is_some()
    }

    pub(crate) fn reason(&self) -> Disconnect {
        self.reason.borrow().clone().expect("lost")
    }

    pub(crate) fn received(&self) -> usize {
        self.data.borrow().len()
    }
}

type Hook = Box<dyn FnMut(&'static str, Option<&Transport>)>;

/// A protocol that notes what it hears, checks that callbacks do not overlap, and calls a hook.
pub(crate) struct Recorder {
    log: Rc<Log>,
    half_close: bool,
    hook: Option<Hook>,
}

impl Recorder {
    pub(crate) fn new(log: &Rc<Log>) -> Self {
        Self {
            log: Rc::clone(log),
            half_close: false,
            hook: None,
        }
    }

    pub(crate) fn half_closing(mut self) -> Self {
        self.half_close = true;
        self
    }

    /// Calls `hook` in every callback, with its name and, except at the end, the transport.
    pub(crate) fn hook(
        mut self,
        hook: impl FnMut(&'static str, Option<&Transport>) + 'static,
    ) -> Self {
        self.hook = Some(Box::new(hook));
        self
    }

    fn note(&mut self, event: &'static str, transport: Option<&Transport>) {
        assert!(!self.log.busy.replace(true), "callbacks overlap");
        assert!(
            !self.log.is_lost() || event == "lost",
            "{event} after the end"
        );
        self.log.events.borrow_mut().push(event);
        let free = Free(Rc::clone(&self.log));
        if let Some(hook) = &mut self.hook {
            hook(event, transport);
        }
        drop(free);
    }
}

struct Free(Rc<Log>);

impl Drop for Free {
    fn drop(&mut self) {
        self.0.busy.set(false);
    }
}

impl Protocol for Recorder {
    fn connection_made(&mut self, transport: &Transport) {
        *self.log.transport.borrow_mut() = Some(transport.clone());
        self.note("made", Some(transport));
    }

    fn handshake_completed(&mut self, transport: &Transport) {
        self.note("handshake", Some(transport));
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.log.data.borrow_mut().extend_from_slice(data);
        self.note("data", Some(transport));
    }

    fn half_close(&self) -> bool {
        self.half_close
    }

    fn read_closed(&mut self, transport: &Transport) {
        self.note("read closed", Some(transport));
    }

    fn write_closed(&mut self, transport: &Transport) {
        self.note("write closed", Some(transport));
    }

    fn connection_lost(&mut self, reason: Disconnect) {
        *self.log.reason.borrow_mut() = Some(reason);
        self.note("lost", None);
    }
}

/// Listens with one recorder for one connection, and connects a blocking client to it.
pub(crate) fn serve(reactor: &Reactor, recorder: Recorder) -> (ListeningPort, TcpStream) {
    let log = Rc::clone(&recorder.log);
    let mut recorder = Some(recorder);
    let port = reactor
        .listen_tcp("127.0.0.1:0", move |_| {
            recorder.take().expect("one connection")
        })
        .unwrap();
    let client = connect(port.local_addr());
    until(reactor, "a connection", || log.is_connected());
    (port, client)
}

pub(crate) fn connect(address: impl ToSocketAddrs) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client.set_write_timeout(Some(LIMIT)).unwrap();
    client
}

/// What the client has received, without waiting for more.
pub(crate) fn receive(client: &mut TcpStream) -> Vec<u8> {
    client.set_nonblocking(true).unwrap();
    let mut all = Vec::new();
    let mut buffer = vec![0; 65_536];
    while let Ok(count) = client.read(&mut buffer) {
        if count == 0 {
            break;
        }
        all.extend_from_slice(&buffer[..count]);
    }
    client.set_nonblocking(false).unwrap();
    all
}

/// Turns until the client has received `wanted` bytes in all.
pub(crate) fn receive_exactly(reactor: &Reactor, client: &mut TcpStream, wanted: usize) -> Vec<u8> {
    let deadline = Instant::now() + LIMIT;
    let mut all = Vec::new();
    while all.len() < wanted {
        assert!(
            Instant::now() < deadline,
            "{} of {wanted} bytes came",
            all.len()
        );
        reactor.turn(Some(Duration::ZERO)).unwrap();
        all.extend(receive(client));
    }
    assert_eq!(all.len(), wanted);
    all
}

/// How the client's connection ended: an orderly end, or the error.
pub(crate) fn end_of(
    reactor: &Reactor,
    client: &mut TcpStream,
) -> Result<Vec<u8>, std::io::ErrorKind> {
    client.set_nonblocking(true).unwrap();
    let deadline = Instant::now() + LIMIT;
    let mut all = Vec::new();
    let mut buffer = vec![0; 65_536];
    loop {
        assert!(Instant::now() < deadline, "the connection did not end");
        reactor.turn(Some(Duration::ZERO)).unwrap();
        match client.read(&mut buffer) {
            Ok(0) => return Ok(all),
            Ok(count) => all.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.kind()),
        }
    }
}

/// Resets the connection: closes it with no time to linger.
pub(crate) fn reset(client: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
    drop(client);
}

/// Sends all of `data` while the reactor turns.
pub(crate) fn send(reactor: &Reactor, client: &mut TcpStream, mut data: &[u8]) {
    client.set_nonblocking(true).unwrap();
    let deadline = Instant::now() + LIMIT;
    while !data.is_empty() {
        assert!(Instant::now() < deadline, "{} bytes unsent", data.len());
        match client.write(data) {
            Ok(count) => data = &data[count..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    client.set_nonblocking(false).unwrap();
}
