//! What the UDP tests share: a protocol that notes what it hears, and peers of the standard library.
#![allow(dead_code, reason = "each test file uses its part")]

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::thread;

use ropewalk::{DatagramProtocol, DatagramTransport, Disconnect, NetAddr, Reactor, UdpOptions};

use crate::tcp_support::{LIMIT, until};

/// What a [`Recorder`] heard.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) events: RefCell<Vec<&'static str>>,
    pub(crate) data: RefCell<Vec<(Vec<u8>, NetAddr)>>,
    pub(crate) dropped: Cell<usize>,
    pub(crate) reason: RefCell<Option<Disconnect>>,
    busy: Cell<bool>,
    /// What went wrong in a callback, where the reactor catches panics.
    fault: RefCell<Option<String>>,
}

/// In the message of a panic that is none of the test's faults.
pub(crate) const WANTED: &str = "as the test wants it";

impl Drop for Log {
    fn drop(&mut self) {
        if let (Some(fault), false) = (self.fault.take(), thread::panicking()) {
            panic!("in a callback: {fault}");
        }
    }
}

impl Log {
    pub(crate) fn has(&self, event: &str) -> bool {
        self.events.borrow().contains(&event)
    }

    pub(crate) fn count(&self, event: &str) -> usize {
        self.events.borrow().iter().filter(|e| **e == event).count()
    }

    /// How many datagrams came.
    pub(crate) fn received(&self) -> usize {
        self.data.borrow().len()
    }

    /// The first byte of each datagram.
    pub(crate) fn firsts(&self) -> Vec<u8> {
        let data = self.data.borrow();
        data.iter().map(|(data, _)| data[0]).collect()
    }

    /// The events but those of datagrams.
    pub(crate) fn notices(&self) -> Vec<&'static str> {
        let events = self.events.borrow();
        events.iter().copied().filter(|e| *e != "data").collect()
    }

    pub(crate) fn reason(&self) -> Disconnect {
        self.reason.borrow().clone().expect("stopped")
    }
}

type Hook = Box<dyn FnMut(&'static str, Option<&DatagramTransport>)>;

/// Notes what it hears, checks that callbacks do not overlap, and calls a hook in each.
pub(crate) struct Recorder {
    log: Rc<Log>,
    hook: Hook,
}

impl Recorder {
    pub(crate) fn new() -> (Self, Rc<Log>) {
        Self::hooked(|_, _| {})
    }

    /// Calls `hook` in every callback, with its name and, except at the end, the transport.
    pub(crate) fn hooked(
        hook: impl FnMut(&'static str, Option<&DatagramTransport>) + 'static,
    ) -> (Self, Rc<Log>) {
        let log = Rc::<Log>::default();
        let recorder = Self {
            log: Rc::clone(&log),
            hook: Box::new(hook),
        };
        (recorder, log)
    }

    fn note(&mut self, event: &'static str, transport: Option<&DatagramTransport>) {
        let noted = catch_unwind(AssertUnwindSafe(|| {
            assert!(!self.log.busy.replace(true), "callbacks overlap");
            assert!(!self.log.has("stopped"), "{event} after the end");
            self.log.events.borrow_mut().push(event);
            (self.hook)(event, transport);
        }));
        self.log.busy.set(false);
        if let Err(panic) = noted {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.unwrap_or_else(|| event.to_owned());
            if !text.contains(WANTED) {
                self.log.fault.replace(Some(text));
            }
            resume_unwind(panic);
        }
    }
}

impl DatagramProtocol for Recorder {
    fn started(&mut self, transport: &DatagramTransport) {
        self.note("started", Some(transport));
    }

    fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: NetAddr) {
        self.log.data.borrow_mut().push((data.to_vec(), from));
        self.note("data", Some(transport));
    }

    fn connection_refused(&mut self, transport: &DatagramTransport) {
        self.note("refused", Some(transport));
    }

    fn datagrams_dropped(&mut self, transport: &DatagramTransport, count: usize) {
        self.log.dropped.set(self.log.dropped.get() + count);
        self.note("dropped", Some(transport));
    }

    fn drained(&mut self, transport: &DatagramTransport) {
        self.note("drained", Some(transport));
    }

    fn stopped(&mut self, reason: Disconnect) {
        *self.log.reason.borrow_mut() = Some(reason);
        self.note("stopped", None);
    }
}

/// A socket of the program's peer.
pub(crate) fn peer() -> UdpSocket {
    peer_on("127.0.0.1:0")
}

pub(crate) fn peer_on(address: &str) -> UdpSocket {
    let peer = UdpSocket::bind(address).unwrap();
    peer.set_read_timeout(Some(LIMIT)).unwrap();
    peer
}

/// Listens on IPv4's loopback.
pub(crate) fn listen(reactor: &Reactor) -> (DatagramTransport, Rc<Log>) {
    listen_hooked(reactor, |_, _| {})
}

pub(crate) fn listen_hooked(
    reactor: &Reactor,
    hook: impl FnMut(&'static str, Option<&DatagramTransport>) + 'static,
) -> (DatagramTransport, Rc<Log>) {
    listen_with(reactor, UdpOptions::new(), hook)
}

pub(crate) fn listen_with(
    reactor: &Reactor,
    options: UdpOptions,
    hook: impl FnMut(&'static str, Option<&DatagramTransport>) + 'static,
) -> (DatagramTransport, Rc<Log>) {
    let (recorder, log) = Recorder::hooked(hook);
    let port = reactor
        .listen_udp_with("127.0.0.1:0", options, recorder)
        .unwrap();
    (port, log)
}

/// The next datagram that the peer receives.
pub(crate) fn receive(peer: &UdpSocket) -> (Vec<u8>, NetAddr) {
    let mut buffer = vec![0; 70_000];
    let (length, from) = peer.recv_from(&mut buffer).unwrap();
    buffer.truncate(length);
    (buffer, from.into())
}

/// Stops the port and waits for that.
pub(crate) fn stop(reactor: &Reactor, port: &DatagramTransport) {
    let stopped = port.stop_listening();
    until(reactor, "the port is closed", || stopped.is_ready());
    stopped.try_take().unwrap().unwrap();
}

/// Makes the number of `fd` name what `by` names, before a poller knows of it.
pub(crate) fn replace(fd: BorrowedFd<'_>, by: impl AsFd) {
    // SAFETY: the number is open, and is not closed when this value goes: it is never dropped.
    let mut number = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(fd.as_raw_fd()) });
    rustix::io::dup2(by, &mut number).unwrap();
}

/// Whether IPv6's loopback is there.
pub(crate) fn has_ipv6() -> bool {
    let there = UdpSocket::bind("[::1]:0").is_ok();
    if !there {
        eprintln!("skipped: no IPv6 loopback here");
    }
    there
}
