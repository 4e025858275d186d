//! Descriptors that travel through UNIX streams, over every poller. Every case fails when it leaves
//! one open.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod unix_support;

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ropewalk::os::socket::unix::{receive_with_descriptors, send_with_descriptors};
use ropewalk::{
    Disconnect, Misuse, Producer, ProducerKind, Protocol, Reactor, Transport, UnixAddr,
};
use tcp_support::{LIMIT, Log, Recorder, over_every_poller, until};
use unix_support::{Directory, receive_all, serve};

over_every_poller! {
    a_descriptor_arrives_before_the_data_it_came_with,
    several_descriptors_of_one_message_arrive_in_order,
    a_descriptor_goes_with_the_byte_written_after_it,
    descriptors_behind_all_data_go_with_its_end,
    many_descriptors_keep_their_bytes_under_pressure,
    both_sides_may_be_ours,
    more_descriptors_than_bytes_lose_the_connection,
    a_close_waits_for_the_descriptors_too,
    many_queued_descriptors_pause_a_producer,
    what_is_not_sent_is_closed_with_the_connection,
    a_protocol_that_wants_none_has_them_closed,
    a_protocol_that_closes_gets_no_more,
    a_protocol_that_panics_gets_no_more,
    a_new_protocol_gets_what_comes_next,
    only_unix_streams_take_descriptors,
    a_stream_that_has_ended_closes_them,
}

/// What a [`Receiver`] heard.
#[derive(Default)]
struct Heard {
    events: RefCell<Vec<String>>,
    descriptors: RefCell<Vec<OwnedFd>>,
    transport: RefCell<Option<Transport>>,
    reason: RefCell<Option<Disconnect>>,
}

impl Heard {
    fn transport(&self) -> Transport {
        self.transport.borrow().clone().expect("connected")
    }

    fn is_lost(&self) -> bool {
        self.reason.borrow().is_some()
    }

    fn events(&self) -> Vec<String> {
        self.events.borrow().clone()
    }

    /// The descriptor that came first.
    fn take(&self) -> OwnedFd {
        self.descriptors.borrow_mut().remove(0)
    }
}

type Hook = Box<dyn FnMut(&Transport)>;

/// Keeps the descriptors it is given; `hook` runs for each.
struct Receiver {
    heard: Rc<Heard>,
    hook: Hook,
}

impl Receiver {
    fn new() -> (Self, Rc<Heard>) {
        Self::with(|_| ())
    }

    fn with(hook: impl FnMut(&Transport) + 'static) -> (Self, Rc<Heard>) {
        let heard = Rc::<Heard>::default();
        let hook = Box::new(hook);
        (
            Self {
                heard: Rc::clone(&heard),
                hook,
            },
            heard,
        )
    }
}

impl Protocol for Receiver {
    fn connection_made(&mut self, transport: &Transport) {
        *self.heard.transport.borrow_mut() = Some(transport.clone());
    }

    fn descriptor_received(&mut self, transport: &Transport, descriptor: OwnedFd) {
        self.heard.events.borrow_mut().push("descriptor".to_owned());
        self.heard.descriptors.borrow_mut().push(descriptor);
        (self.hook)(transport);
    }

    fn data_received(&mut self, _: &Transport, data: &[u8]) {
        let text = String::from_utf8_lossy(data).into_owned();
        self.heard.events.borrow_mut().push(text);
    }

    fn connection_lost(&mut self, reason: Disconnect) {
        *self.heard.reason.borrow_mut() = Some(reason);
    }
}

/// A listening port's one connection: the protocol's notes and the client.
fn served(reactor: &Reactor, directory: &Directory) -> (Rc<Heard>, UnixStream) {
    let (receiver, heard) = Receiver::new();
    let (_port, client) = serve(reactor, &directory.join("port"), receiver);
    (heard, client)
}

/// A descriptor, and the other end, which tells what it is.
fn labelled(label: &str) -> (OwnedFd, UnixStream) {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.write_all(label.as_bytes()).unwrap();
    (theirs.into(), ours)
}

fn label(descriptor: OwnedFd) -> String {
    let mut buffer = [0; 64];
    let mut stream = UnixStream::from(descriptor);
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let count = stream.read(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..count]).into_owned()
}

/// Whether every descriptor for the other end is closed.
fn is_closed(ours: &mut UnixStream) -> bool {
    ours.set_nonblocking(true).unwrap();
    match ours.read(&mut [0; 1]) {
        Ok(count) => count == 0,
        // Closed before the label was read.
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

fn a_descriptor_arrives_before_the_data_it_came_with(reactor: &Reactor) {
    let directory = Directory::new();
    let (heard, client) = served(reactor, &directory);
    let (theirs, _ours) = labelled("the first");
    send_with_descriptors(client.as_fd(), b"x", &[theirs.as_fd()]).unwrap();
    drop(theirs);
    until(reactor, "the data", || heard.events().len() == 2);
    assert_eq!(heard.events(), ["descriptor", "x"]);
    assert_eq!(label(heard.take()), "the first");
}

fn several_descriptors_of_one_message_arrive_in_order(reactor: &Reactor) {
    let directory = Directory::new();
    let (heard, client) = served(reactor, &directory);
    let (theirs, _ours): (Vec<_>, Vec<_>) =
        (0..100).map(|number| labelled(&number.to_string())).unzip();
    let lent: Vec<_> = theirs.iter().map(AsFd::as_fd).collect();
    send_with_descriptors(client.as_fd(), b"all of them", &lent).unwrap();
    until(reactor, "the data", || heard.events().len() == 101);
    assert_eq!(heard.events()[100], "all of them");
    for number in 0..100 {
        assert_eq!(label(heard.take()), number.to_string());
    }
}

/// What a client received byte by byte, and the labels of what came with each byte.
fn receive(reactor: &Reactor, client: &UnixStream, wanted: usize) -> Vec<(u8, Vec<String>)> {
    client.set_nonblocking(true).unwrap();
    let deadline = Instant::now() + LIMIT;
    let mut all = Vec::new();
    while all.len() < wanted {
        assert!(Instant::now() < deadline, "{} of {wanted} came", all.len());
        let (mut byte, mut arrived) = ([0], Vec::new());
        match receive_with_descriptors(client.as_fd(), &mut byte, &mut arrived) {
            Ok(received) => {
                assert!(received.length == 1 && !received.descriptors_lost);
                all.push((byte[0], arrived.into_iter().map(label).collect()));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                reactor.turn(Some(Duration::ZERO)).unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    }
    all
}

fn with(labels: &[&str]) -> Vec<String> {
    labels.iter().map(|label| (*label).to_owned()).collect()
}

fn a_descriptor_goes_with_the_byte_written_after_it(reactor: &Reactor) {
    let directory = Directory::new();
    let (heard, client) = served(reactor, &directory);
    let transport = heard.transport();
    let ((first, _a), (second, _b), (third, _c)) =
        (labelled("first"), labelled("second"), labelled("third"));
    transport.write(b"ab");
    transport.send_descriptor(first).unwrap();
    transport.write(b"cd");
    transport.send_descriptor(second).unwrap();
    transport.send_descriptor(third).unwrap();
    transport.write(b"efg");
    let received = receive(reactor, &client, 7);
    let expected = [
        (b'a', with(&[])),
        (b'b', with(&[])),
        (b'c', with(&["first"])),
        (b'd', with(&[])),
        (b'e', with(&["second"])),
        (b'f', with(&["third"])),
        (b'g', with(&[])),
    ];
    assert_eq!(received, expected);
}

fn descriptors_behind_all_data_go_with_its_end(reactor: &Reactor) {
    let directory = Directory::new();
    let (heard, client) = served(reactor, &directory);
    let ((first, _a), (second, _b)) = (labelled("first"), labelled("second"));
    heard.transport().write(b"abc");
    heard.transport().send_descriptor(first).unwrap();
    heard.transport().send_descriptor(second).unwrap();
    let expected = [
        (b'a', with(&[])),
        (b'b', with(&["first"])),
        (b'c', with(&["second"])),
    ];
    assert_eq!(receive(reactor, &client, 3), expected);
}

fn many_descriptors_keep_their_bytes_under_pressure(reactor: &Reactor) {
    const COUNT: usize = 100;
    const BETWEEN: usize = 3000;
    let directory = Directory::new();
    let (heard, client) = served(reactor, &directory);
    let transport = heard.transport();
    let mut ours = Vec::new();
    for number in 0..COUNT {
        let (theirs, other) = labelled(&number.to_string());
        ours.push(other);
        transport.send_descriptor(theirs).unwrap();
        transport.write(b"!");
        transport.write(&[b'.'; BETWEEN]);
    }
    let received = receive(reactor, &client, COUNT * (BETWEEN + 1));
    for (place, (byte, labels)) in received.into_iter().enumerate() {
        let number = place / (BETWEEN + 1);
        if place % (BETWEEN + 1) == 0 {
            assert_eq!((byte, labels), (b'!', vec![number.to_string()]));
        } else {
            assert!(byte == b'.' && labels.is_empty(), "{labels:?} at {place}");
        }
    }
    assert_eq!(transport.buffered_len(), 0);
}

fn both_sides_may_be_ours(reactor: &Reactor) {
    let name = UnixAddr::abstract_name(unix_support::abstract_name());
    let (receiver, heard) = Receiver::new();
    let mut receiver = Some(receiver);
    reactor
        .listen_unix(name.clone(), move |_| {
            receiver.take().expect("one connection")
        })
        .unwrap();
    let log = Log::new();
    let mut recorder = Some(Recorder::new(&log));
    reactor
        .connect_unix(name, move |_| recorder.take().expect("one connection"))
        .unwrap();
    until(reactor, "the connection", || log.is_connected());
    let (theirs, _ours) = labelled("from here");
    log.transport().send_descriptor(theirs).unwrap();
    log.transport().write(b"take it");
    until(reactor, "the data", || !heard.events().is_empty());
    assert_eq!(heard.events()[0], "descriptor");
    assert_eq!(label(heard.take()), "from here");
}

fn more_descriptors_than_bytes_lose_the_connection(reactor: &Reactor) {
    for bytes in [&b""[..], b"x"] {
        let directory = Directory::new();
        let (heard, mut client) = served(reactor, &directory);
        let ((first, mut a), (second, mut b)) = (labelled("first"), labelled("second"));
        heard.transport().write(bytes);
        heard.transport().send_descriptor(first).unwrap();
        heard.transport().send_descriptor(second).unwrap();
        until(reactor, "the end", || heard.is_lost());
        let Some(Disconnect::Lost(error)) = heard.reason.take() else {
            panic!("lost")
        };
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(
            error.to_string().starts_with("descriptor overrun"),
            "{error}"
        );
        assert!(receive_all(reactor, &mut client).is_empty());
        assert!(is_closed(&mut a) && is_closed(&mut b));
    }
}

fn a_close_waits_for_the_descriptors_too(reactor: &Reactor) {
    let directory = Directory::new();
    let (heard, client) = served(reactor, &directory);
    let (theirs, _ours) = labelled("the last");
    heard.transport().write(&[b'.'; 300_000]);
    heard.transport().send_descriptor(theirs).unwrap();
    heard.transport().write(b"!");
    heard.transport().lose_connection();
    let received = receive(reactor, &client, 300_001);
    assert_eq!(received[300_000], (b'!', with(&["the last"])));
    until(reactor, "the end", || heard.is_lost());
    assert!(heard.reason.take().unwrap().is_clean());
}

#[derive(Default)]
struct Paces {
    paused: Cell<u32>,
    resumed: Cell<u32>,
}

struct Paced(Rc<Paces>);

impl Producer for Paced {
    fn pause_producing(&self, _: &Transport) {
        self.0.paused.set(self.0.paused.get() + 1);
    }

    fn resume_producing(&self, _: &Transport) {
        self.0.resumed.set(self.0.resumed.get() + 1);
    }

    fn stop_producing(&self) {}
}

fn many_queued_descriptors_pause_a_producer(reactor: &Reactor) {
    let directory = Directory::new();
    let (heard, client) = served(reactor, &directory);
    let (transport, paces) = (heard.transport(), Rc::<Paces>::default());
    transport
        .register_producer(Paced(Rc::clone(&paces)), ProducerKind::Push)
        .unwrap();
    let mut ours = Vec::new();
    for number in 0..=Transport::DESCRIPTOR_HIGH_WATER {
        assert_eq!(paces.paused.get(), 0, "after {number}");
        let (theirs, other) = labelled("one of many");
        ours.push(other);
        transport.write(b"!");
        transport.send_descriptor(theirs).unwrap();
    }
    assert_eq!((paces.paused.get(), paces.resumed.get()), (1, 0));
    let received = receive(reactor, &client, Transport::DESCRIPTOR_HIGH_WATER + 1);
    assert!(received.iter().all(|(_, labels)| labels.len() == 1));
    until(reactor, "the producer", || paces.resumed.get() == 1);
    transport.unregister_producer();
}

fn what_is_not_sent_is_closed_with_the_connection(reactor: &Reactor) {
    let endings: [fn(&Reactor, &Transport); 2] = [
        |_, transport| transport.abort_connection(),
        |reactor, _| reactor.disconnect_all(),
    ];
    for end in endings {
        let directory = Directory::new();
        let (heard, _client) = served(reactor, &directory);
        let (theirs, mut ours) = labelled("");
        heard.transport().write(&vec![b'.'; 3_000_000]);
        heard.transport().send_descriptor(theirs).unwrap();
        heard.transport().write(b"!");
        tcp_support::settle(reactor);
        assert!(!is_closed(&mut ours));
        end(reactor, &heard.transport());
        until(reactor, "the end", || heard.is_lost());
        assert!(is_closed(&mut ours));
    }
}

fn a_protocol_that_wants_none_has_them_closed(reactor: &Reactor) {
    let directory = Directory::new();
    let log = Log::new();
    let (_port, client) = serve(reactor, &directory.join("port"), Recorder::new(&log));
    let (theirs, mut ours) = labelled("");
    send_with_descriptors(client.as_fd(), b"hello", &[theirs.as_fd()]).unwrap();
    drop(theirs);
    until(reactor, "the data", || log.received() == 5);
    assert!(is_closed(&mut ours) && !log.is_lost());
}

/// Sends three descriptors with one message to a protocol that has `hook` run for each. Answers
/// what it heard, and whether the last two were closed.
fn three_to(reactor: &Reactor, hook: impl FnMut(&Transport) + 'static) -> (Rc<Heard>, bool) {
    let directory = Directory::new();
    let (receiver, heard) = Receiver::with(hook);
    let (_port, client) = serve(reactor, &directory.join("port"), receiver);
    let ((first, _a), (second, mut b), (third, mut c)) = (labelled(""), labelled(""), labelled(""));
    let lent = [first.as_fd(), second.as_fd(), third.as_fd()];
    send_with_descriptors(client.as_fd(), b"data", &lent).unwrap();
    drop((first, second, third));
    until(reactor, "the end", || heard.is_lost());
    let closed = is_closed(&mut b) && is_closed(&mut c);
    (heard, closed)
}

fn a_protocol_that_closes_gets_no_more(reactor: &Reactor) {
    let closings: [fn(&Transport); 2] = [Transport::lose_connection, Transport::abort_connection];
    for close in closings {
        let (heard, closed) = three_to(reactor, close);
        assert_eq!((heard.events(), closed), (with(&["descriptor"]), true));
    }
}

fn a_protocol_that_panics_gets_no_more(reactor: &Reactor) {
    reactor.on_failure(|_| ());
    let (heard, closed) = three_to(reactor, |_| panic!("not that"));
    assert_eq!((heard.events(), closed), (with(&["descriptor"]), true));
    assert!(matches!(heard.reason.take(), Some(Disconnect::Panicked)));
}

fn a_new_protocol_gets_what_comes_next(reactor: &Reactor) {
    let (next, second) = Receiver::with(|transport| transport.lose_connection());
    let mut next = Some(next);
    let (receiver, first) = Receiver::with(move |transport| {
        transport.set_protocol(next.take().expect("replaced once"));
    });
    let directory = Directory::new();
    let (_port, client) = serve(reactor, &directory.join("port"), receiver);
    let ((one, _a), (two, _b)) = (labelled("one"), labelled("two"));
    send_with_descriptors(client.as_fd(), b"data", &[one.as_fd(), two.as_fd()]).unwrap();
    until(reactor, "the end", || second.is_lost());
    assert_eq!(label(first.take()), "one");
    assert_eq!(label(second.take()), "two");
    assert!(!first.is_lost());
}

fn only_unix_streams_take_descriptors(reactor: &Reactor) {
    let log = Log::new();
    let (_port, _client) = tcp_support::serve(reactor, Recorder::new(&log));
    let (theirs, mut ours) = labelled("");
    let refused = log.transport().send_descriptor(theirs).unwrap_err();
    assert_eq!(refused, Misuse::NotUnixStream);
    assert!(is_closed(&mut ours) && log.transport().is_connected());
}

fn a_stream_that_has_ended_closes_them(reactor: &Reactor) {
    let directory = Directory::new();
    let (heard, client) = served(reactor, &directory);
    drop(client);
    until(reactor, "the end", || heard.is_lost());
    let (theirs, mut ours) = labelled("");
    heard.transport().send_descriptor(theirs).unwrap();
    assert!(is_closed(&mut ours));
}
