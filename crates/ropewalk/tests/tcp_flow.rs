//! Flow control of TCP connections, over every poller: producers of both kinds, and pauses.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;

use ropewalk::{Disconnect, Misuse, Producer, ProducerKind, Protocol, Reactor, Transport};
use tcp_support::{
    Log, Recorder, connect, end_of, over_every_poller, receive_exactly, reset, send, serve, settle,
    until,
};

over_every_poller! {
    a_pull_producer_supplies_a_piece_at_a_time,
    a_push_producer_is_paused_at_once_and_resumed_later,
    a_resume_that_writes_enough_is_paused_again,
    a_pull_producer_is_never_paused,
    one_producer_at_a_time,
    a_close_waits_for_a_pull_producer,
    a_close_waits_for_a_paused_push_producer,
    a_producer_is_stopped_when_the_connection_ends,
    a_producer_registered_too_late_is_stopped,
    a_producer_that_panics_costs_its_connection,
    a_paused_connection_hears_of_nothing,
    a_paused_connection_that_writes_hears_of_a_reset,
    pausing_in_connection_made_sticks,
    resuming_while_closing_reads_nothing,
    a_forwarder_holds_no_more_than_its_marks,
}

/// Notes what it is told; `supply` runs when it is resumed.
struct Source {
    notes: Rc<RefCell<Vec<&'static str>>>,
    supply: Box<dyn Fn(&Transport)>,
}

impl Source {
    fn new(notes: &Rc<RefCell<Vec<&'static str>>>, supply: impl Fn(&Transport) + 'static) -> Self {
        Self {
            notes: Rc::clone(notes),
            supply: Box::new(supply),
        }
    }
}

impl Producer for Source {
    fn resume_producing(&self, consumer: &Transport) {
        self.notes.borrow_mut().push("resume");
        (self.supply)(consumer);
    }

    fn pause_producing(&self, _: &Transport) {
        self.notes.borrow_mut().push("pause");
    }

    fn stop_producing(&self) {
        self.notes.borrow_mut().push("stop");
    }
}

type Notes = Rc<RefCell<Vec<&'static str>>>;

fn a_pull_producer_supplies_a_piece_at_a_time(reactor: &Reactor) {
    let (log, notes) = (Log::new(), Notes::default());
    let (_port, mut client) = serve(reactor, Recorder::new(&log));
    let left = Cell::new(200_u8);
    let supply = move |consumer: &Transport| {
        assert_eq!(consumer.buffered_len(), 0);
        consumer.write(&[left.get(); 1000]);
        left.set(left.get() - 1);
        if left.get() == 0 {
            consumer.unregister_producer();
            consumer.lose_connection();
        }
    };
    let source = Source::new(&notes, supply);
    log.transport()
        .register_producer(source, ProducerKind::Pull)
        .unwrap();
    assert_eq!(
        notes.borrow().as_slice(),
        ["resume"],
        "resumed by the registration"
    );
    let received = end_of(reactor, &mut client).unwrap();
    assert_eq!(received.len(), 200_000);
    assert!(
        received
            .chunks(1000)
            .zip((1..=200_u8).rev())
            .all(|(c, n)| c.iter().all(|b| *b == n))
    );
    until(reactor, "the end", || log.is_lost());
    assert!(matches!(log.reason(), Disconnect::Done));
    assert!(notes.borrow().iter().all(|note| *note == "resume"));
}

fn a_push_producer_is_paused_at_once_and_resumed_later(reactor: &Reactor) {
    let (log, notes) = (Log::new(), Notes::default());
    let (_port, mut client) = serve(reactor, Recorder::new(&log));
    let transport = log.transport();
    transport.set_high_water(500);
    assert_eq!(transport.high_water(), 500);
    transport
        .register_producer(Source::new(&notes, |_| ()), ProducerKind::Push)
        .unwrap();
    transport.write(&[1; 500]);
    assert!(
        notes.borrow().is_empty(),
        "not above the mark, and never resumed unasked"
    );
    transport.write(&[2]);
    assert_eq!(notes.borrow().as_slice(), ["pause"], "inside the write");
    transport.write(&[3; 500]);
    assert_eq!(notes.borrow().as_slice(), ["pause"], "once");
    receive_exactly(reactor, &mut client, 1001);
    until(reactor, "the resume", || notes.borrow().len() == 2);
    assert_eq!(notes.borrow().as_slice(), ["pause", "resume"]);
    transport.write_sequence([vec![4; 300], vec![5; 300]]);
    assert_eq!(notes.borrow().as_slice(), ["pause", "resume", "pause"]);
    transport.unregister_producer();
    receive_exactly(reactor, &mut client, 600);
    settle(reactor);
    assert_eq!(
        notes.borrow().len(),
        3,
        "an unregistered producer hears of nothing"
    );
}

fn a_resume_that_writes_enough_is_paused_again(reactor: &Reactor) {
    let (log, notes) = (Log::new(), Notes::default());
    let (_port, mut client) = serve(reactor, Recorder::new(&log));
    let transport = log.transport();
    transport.set_high_water(500);
    let rounds = Cell::new(0);
    let supply = move |consumer: &Transport| {
        rounds.set(rounds.get() + 1);
        if rounds.get() < 4 {
            consumer.write(&[7; 600]);
        }
    };
    transport
        .register_producer(Source::new(&notes, supply), ProducerKind::Push)
        .unwrap();
    transport.write(&[7; 600]);
    receive_exactly(reactor, &mut client, 2400);
    settle(reactor);
    let expected = [
        "pause", "resume", "pause", "resume", "pause", "resume", "pause", "resume",
    ];
    assert_eq!(notes.borrow().as_slice(), expected);
}

fn a_pull_producer_is_never_paused(reactor: &Reactor) {
    let (log, notes) = (Log::new(), Notes::default());
    let (_port, mut client) = serve(reactor, Recorder::new(&log));
    let transport = log.transport();
    transport.set_high_water(500);
    let done = Cell::new(false);
    let supply = move |consumer: &Transport| {
        if !done.replace(true) {
            consumer.write(&[7; 100_000]);
        }
    };
    transport
        .register_producer(Source::new(&notes, supply), ProducerKind::Pull)
        .unwrap();
    receive_exactly(reactor, &mut client, 100_000);
    until(reactor, "the second resume", || notes.borrow().len() == 2);
    assert_eq!(notes.borrow().as_slice(), ["resume", "resume"]);
}

fn one_producer_at_a_time(reactor: &Reactor) {
    let (log, notes) = (Log::new(), Notes::default());
    let (_port, _client) = serve(reactor, Recorder::new(&log));
    let transport = log.transport();
    let source = || Source::new(&notes, |_| ());
    transport
        .register_producer(source(), ProducerKind::Push)
        .unwrap();
    let again = transport.register_producer(source(), ProducerKind::Push);
    assert_eq!(again, Err(Misuse::ProducerInUse));
    transport.unregister_producer();
    transport.unregister_producer();
    transport
        .register_producer(source(), ProducerKind::Push)
        .unwrap();
}

fn a_close_waits_for_a_pull_producer(reactor: &Reactor) {
    let (log, notes) = (Log::new(), Notes::default());
    let (_port, mut client) = serve(reactor, Recorder::new(&log));
    let transport = log.transport();
    let rounds = Cell::new(0);
    let supply = move |consumer: &Transport| {
        rounds.set(rounds.get() + 1);
        consumer.write(b"piece");
        if rounds.get() == 5 {
            consumer.unregister_producer();
        }
    };
    transport
        .register_producer(Source::new(&notes, supply), ProducerKind::Pull)
        .unwrap();
    transport.lose_connection();
    assert_eq!(end_of(reactor, &mut client).unwrap(), b"piece".repeat(5));
    until(reactor, "the end", || log.is_lost());
    assert!(matches!(log.reason(), Disconnect::Done));
}

fn a_close_waits_for_a_paused_push_producer(reactor: &Reactor) {
    let (log, notes) = (Log::new(), Notes::default());
    let (_port, mut client) = serve(reactor, Recorder::new(&log));
    let transport = log.transport();
    transport.set_high_water(10);
    let supply = |consumer: &Transport| {
        consumer.write(b"and the rest");
        consumer.unregister_producer();
    };
    transport
        .register_producer(Source::new(&notes, supply), ProducerKind::Push)
        .unwrap();
    transport.write(b"more than ten bytes ");
    transport.lose_connection();
    assert_eq!(
        end_of(reactor, &mut client).unwrap(),
        b"more than ten bytes and the rest"
    );
    until(reactor, "the end", || log.is_lost());
}

fn a_producer_is_stopped_when_the_connection_ends(reactor: &Reactor) {
    let (log, notes) = (Log::new(), Notes::default());
    let order = Rc::clone(&notes);
    let recorder = Recorder::new(&log).hook(move |event, _| order.borrow_mut().push(event));
    let (_port, client) = serve(reactor, recorder);
    log.transport()
        .register_producer(Source::new(&notes, |_| ()), ProducerKind::Push)
        .unwrap();
    drop(client);
    until(reactor, "the end", || log.is_lost());
    assert_eq!(notes.borrow().as_slice(), ["made", "stop", "lost"]);
}

fn a_producer_registered_too_late_is_stopped(reactor: &Reactor) {
    let (log, notes) = (Log::new(), Notes::default());
    let (_port, client) = serve(reactor, Recorder::new(&log));
    drop(client);
    until(reactor, "the end", || log.is_lost());
    let source = Source::new(&notes, |_| ());
    log.transport()
        .register_producer(source, ProducerKind::Pull)
        .unwrap();
    assert_eq!(notes.borrow().as_slice(), ["stop"]);
}

fn a_producer_that_panics_costs_its_connection(reactor: &Reactor) {
    let failures = Rc::new(Cell::new(0));
    let counted = Rc::clone(&failures);
    reactor.on_failure(move |_| counted.set(counted.get() + 1));
    let (log, notes) = (Log::new(), Notes::default());
    let (_port, mut client) = serve(reactor, Recorder::new(&log));
    let transport = log.transport();
    transport.set_high_water(1);
    let source = Source::new(&notes, |_| panic!("in a producer"));
    transport
        .register_producer(source, ProducerKind::Push)
        .unwrap();
    transport.write(b"xx");
    assert_eq!(end_of(reactor, &mut client).unwrap(), b"xx");
    until(reactor, "the end", || log.is_lost());
    assert!(matches!(log.reason(), Disconnect::Panicked));
    assert_eq!(
        (failures.get(), notes.borrow().as_slice()),
        (1, ["pause", "resume", "stop"].as_slice())
    );
}

fn a_paused_connection_hears_of_nothing(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut client) = serve(reactor, Recorder::new(&log));
    let transport = log.transport();
    transport.pause_producing();
    assert!(transport.is_paused());
    client.write_all(b"unheard").unwrap();
    reset(client);
    settle(reactor);
    assert_eq!(log.events.borrow().as_slice(), ["made"]);
    transport.resume_producing();
    until(reactor, "the reset", || log.is_lost());
    assert!(matches!(log.reason(), Disconnect::Lost(_)));
}

fn a_paused_connection_that_writes_hears_of_a_reset(reactor: &Reactor) {
    let log = Log::new();
    let (_port, client) = serve(reactor, Recorder::new(&log));
    let transport = log.transport();
    transport.pause_producing();
    reset(client);
    settle(reactor);
    transport.write(b"x");
    until(reactor, "the reset", || log.is_lost());
    let Disconnect::Lost(error) = log.reason() else {
        panic!("{}", log.reason())
    };
    assert_eq!(
        error.kind(),
        std::io::ErrorKind::ConnectionReset,
        "what the first send said"
    );
}

fn pausing_in_connection_made_sticks(reactor: &Reactor) {
    let log = Log::new();
    let recorder = Recorder::new(&log).hook(|event, transport| {
        if let ("made", Some(transport)) = (event, transport) {
            transport.pause_producing();
        }
    });
    let (_port, mut client) = serve(reactor, recorder);
    client.write_all(b"later").unwrap();
    settle(reactor);
    assert_eq!(log.received(), 0);
    log.transport().resume_producing();
    until(reactor, "the data", || log.received() == 5);
}

fn resuming_while_closing_reads_nothing(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut client) = serve(reactor, Recorder::new(&log));
    let transport = log.transport();
    transport.pause_producing();
    client.write_all(b"unread").unwrap();
    transport.lose_connection();
    transport.resume_producing();
    until(reactor, "the end", || log.is_lost());
    assert_eq!(log.received(), 0);
    assert!(matches!(log.reason(), Disconnect::Done));
}

/// Passes on what it receives, at the pace of the other side.
struct Half {
    other: Rc<RefCell<Option<Transport>>>,
    most: Rc<Cell<usize>>,
}

impl Protocol for Half {
    fn connection_made(&mut self, transport: &Transport) {
        let other = self.other.replace(Some(transport.clone()));
        if let Some(first) = other {
            first
                .register_producer(transport.clone(), ProducerKind::Push)
                .unwrap();
            transport
                .register_producer(first.clone(), ProducerKind::Push)
                .unwrap();
            *self.other.borrow_mut() = Some(first);
        }
    }

    fn data_received(&mut self, _: &Transport, data: &[u8]) {
        if let Some(other) = &*self.other.borrow() {
            other.write(data);
            self.most.set(self.most.get().max(other.buffered_len()));
        }
    }

    fn connection_lost(&mut self, _: Disconnect) {
        if let Some(other) = self.other.take() {
            other.lose_connection();
        }
    }
}

fn a_forwarder_holds_no_more_than_its_marks(reactor: &Reactor) {
    let (slot, most) = (Rc::new(RefCell::new(None)), Rc::new(Cell::new(0)));
    let (shared, seen) = (Rc::clone(&slot), Rc::clone(&most));
    let half = move |_| Half {
        other: Rc::clone(&shared),
        most: Rc::clone(&seen),
    };
    let port = reactor.listen_tcp("127.0.0.1:0", half).unwrap();
    let mut to = connect(port.local_addr());
    until(reactor, "the first side", || slot.borrow().is_some());
    let first = slot.borrow().clone().unwrap();
    let mut from = connect(port.local_addr());
    until(reactor, "both sides", || {
        slot.borrow().is_some() && {
            let refused = first.register_producer(first.clone(), ProducerKind::Push);
            if refused.is_ok() {
                first.unregister_producer();
            }
            refused.is_err()
        }
    });
    // The second connection's protocol writes to the first: far more than anybody may hold.
    from.set_nonblocking(true).unwrap();
    let data = vec![9; 1 << 16];
    let mut sent = 0;
    for _ in 0..2000 {
        if let Ok(count) = from.write(&data) {
            sent += count;
        }
        reactor.turn(Some(std::time::Duration::ZERO)).unwrap();
    }
    assert!(sent > 100_000, "something went through");
    assert!(most.get() <= 2 * 65_536, "{} bytes held", most.get());
    let mut received = 0;
    while received < sent {
        let came = tcp_support::receive(&mut to).len();
        received += came;
        reactor.turn(Some(std::time::Duration::ZERO)).unwrap();
    }
    assert_eq!(received, sent);
    send(reactor, &mut from, b"end");
    assert_eq!(receive_exactly(reactor, &mut to, 3), b"end");
    drop(slot.take());
}
