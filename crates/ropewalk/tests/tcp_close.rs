//! How TCP connections end, over every poller: closes, half-closes, aborts, resets and panics.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use ropewalk::{Disconnect, Reactor, Transport};
use tcp_support::{
    Log, Recorder, connect, end_of, over_every_poller, receive_exactly, reset, serve, settle, until,
};

over_every_poller! {
    the_peers_close_is_a_clean_end,
    a_close_waits_for_the_flush_of_a_large_write,
    a_write_after_the_close_is_still_sent,
    a_close_is_never_synchronous,
    a_close_stops_reading_at_once,
    a_half_close_lets_the_other_side_go_on,
    a_peers_half_close_ends_a_protocol_that_knows_none,
    a_peers_half_close_leaves_the_write_side_open,
    half_closed_both_ways_a_close_needs_no_flush,
    writes_after_a_half_close_are_ignored,
    an_abort_resets_the_peer,
    an_abort_twice_or_with_a_close_is_one_abort,
    an_abort_delivers_nothing_more,
    closing_inside_every_callback_ends_once,
    a_reset_at_any_point_ends_once,
    a_reset_while_a_close_waits_is_a_loss,
    what_came_before_a_reset_is_read_although_a_send_failed,
    a_panic_in_any_callback_costs_only_its_connection,
    the_reactors_end_cuts_connections,
    a_nested_turn_ends_the_connection_after_the_callback,
}

fn the_peers_close_is_a_clean_end(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut client) = serve(reactor, Recorder::new(&log));
    client.write_all(b"bye").unwrap();
    drop(client);
    until(reactor, "the end", || log.is_lost());
    assert!(log.reason().is_clean());
    assert_eq!(log.data.borrow().as_slice(), b"bye");
    assert_eq!(log.events.borrow().as_slice(), ["made", "data", "lost"]);
}

fn a_close_waits_for_the_flush_of_a_large_write(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut client) = serve(reactor, Recorder::new(&log));
    let transport = log.transport();
    transport.write_bytes(vec![5; 5_000_000]);
    transport.lose_connection();
    assert!(transport.is_connected() && transport.is_disconnecting());
    assert_eq!(end_of(reactor, &mut client).unwrap().len(), 5_000_000);
    until(reactor, "the end", || log.is_lost());
    assert!(log.reason().is_clean());
}

fn a_write_after_the_close_is_still_sent(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut client) = serve(reactor, Recorder::new(&log));
    let transport = log.transport();
    transport.write(b"a");
    transport.lose_connection();
    transport.write(b"b");
    transport.write_sequence([vec![b'c']]);
    assert_eq!(end_of(reactor, &mut client).unwrap(), b"abc");
}

fn a_close_is_never_synchronous(reactor: &Reactor) {
    let log = Log::new();
    let (_port, _client) = serve(reactor, Recorder::new(&log));
    let transport = log.transport();
    transport.lose_connection();
    transport.lose_connection();
    assert!(!log.is_lost() && transport.is_connected());
    until(reactor, "the end", || log.is_lost());
    assert_eq!(log.count("lost"), 1);
}

fn a_close_stops_reading_at_once(reactor: &Reactor) {
    let log = Log::new();
    let recorder = Recorder::new(&log).hook(|event, transport| {
        if let ("data", Some(transport)) = (event, transport) {
            transport.lose_connection();
        }
    });
    let (_port, mut client) = serve(reactor, recorder);
    client.write_all(b"first").unwrap();
    until(reactor, "the data", || log.received() > 0);
    // The peer may have reset it by now: it was closed with data unread.
    let _: std::io::Result<()> = client.write_all(b"second");
    until(reactor, "the end", || log.is_lost());
    assert_eq!(log.data.borrow().as_slice(), b"first");
}

fn a_half_close_lets_the_other_side_go_on(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut client) = serve(reactor, Recorder::new(&log));
    let transport = log.transport();
    transport.write(b"last words");
    transport.lose_write_connection();
    transport.lose_write_connection();
    assert!(!log.has("write closed"), "not synchronously");
    assert_eq!(end_of(reactor, &mut client).unwrap(), b"last words");
    until(reactor, "the half-close", || log.has("write closed"));
    assert!(transport.is_connected());
    client.write_all(b"an answer").unwrap();
    until(reactor, "the answer", || log.received() == 9);
    drop(client);
    until(reactor, "the end", || log.is_lost());
    assert!(log.reason().is_clean());
    assert_eq!(log.count("write closed"), 1);
}

fn a_peers_half_close_ends_a_protocol_that_knows_none(reactor: &Reactor) {
    let log = Log::new();
    let (_port, client) = serve(reactor, Recorder::new(&log));
    client.shutdown(Shutdown::Write).unwrap();
    until(reactor, "the end", || log.is_lost());
    assert!(log.reason().is_clean());
    assert!(!log.has("read closed"));
}

fn a_peers_half_close_leaves_the_write_side_open(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut client) = serve(reactor, Recorder::new(&log).half_closing());
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    until(reactor, "the peer's end", || log.has("read closed"));
    let transport = log.transport();
    settle(reactor);
    transport.resume_producing();
    settle(reactor);
    assert_eq!(log.count("read closed"), 1, "told once, resumed or not");
    transport.write(b"answer");
    assert_eq!(receive_exactly(reactor, &mut client, 6), b"answer");
    transport.lose_connection();
    until(reactor, "the end", || log.is_lost());
    assert!(log.reason().is_clean());
}

fn half_closed_both_ways_a_close_needs_no_flush(reactor: &Reactor) {
    let log = Log::new();
    let recorder = Recorder::new(&log).half_closing().hook(|event, transport| {
        if let ("read closed", Some(transport)) = (event, transport) {
            transport.lose_connection();
            assert!(!transport.is_connected());
        }
    });
    let (_port, mut client) = serve(reactor, recorder);
    log.transport().lose_write_connection();
    until(reactor, "the half-close", || log.has("write closed"));
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    drop(client);
    until(reactor, "the end", || log.is_lost());
    assert!(log.reason().is_clean());
    assert_eq!(
        log.events.borrow().as_slice(),
        ["made", "write closed", "read closed", "lost"]
    );
}

fn writes_after_a_half_close_are_ignored(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut client) = serve(reactor, Recorder::new(&log));
    let transport = log.transport();
    transport.lose_write_connection();
    transport.write(b"still sent");
    until(reactor, "the half-close", || log.has("write closed"));
    transport.write(b"ignored");
    assert_eq!(transport.buffered_len(), 0);
    assert_eq!(end_of(reactor, &mut client).unwrap(), b"still sent");
}

fn an_abort_resets_the_peer(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut client) = serve(reactor, Recorder::new(&log));
    let transport = log.transport();
    transport.write_bytes(vec![1; 10_000_000]);
    transport.abort_connection();
    assert_eq!(transport.buffered_len(), 0);
    assert!(!log.is_lost(), "not synchronously");
    transport.write(b"ignored");
    assert_eq!(
        end_of(reactor, &mut client),
        Err(std::io::ErrorKind::ConnectionReset)
    );
    until(reactor, "the end", || log.is_lost());
    assert!(matches!(log.reason(), Disconnect::Aborted));
}

fn an_abort_twice_or_with_a_close_is_one_abort(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut client) = serve(reactor, Recorder::new(&log));
    let transport = log.transport();
    transport.lose_connection();
    transport.abort_connection();
    transport.abort_connection();
    transport.lose_connection();
    transport.lose_write_connection();
    assert_eq!(
        end_of(reactor, &mut client),
        Err(std::io::ErrorKind::ConnectionReset)
    );
    until(reactor, "the end", || log.is_lost());
    settle(reactor);
    assert_eq!(log.events.borrow().as_slice(), ["made", "lost"]);
    assert!(matches!(log.reason(), Disconnect::Aborted));
}

fn an_abort_delivers_nothing_more(reactor: &Reactor) {
    let log = Log::new();
    let recorder = Recorder::new(&log).hook(|event, transport| {
        if let ("data", Some(transport)) = (event, transport) {
            transport.abort_connection();
        }
    });
    let (_port, mut client) = serve(reactor, recorder);
    client.write_all(&[0; 200_000]).unwrap();
    until(reactor, "the end", || log.is_lost());
    assert_eq!(log.events.borrow().as_slice(), ["made", "data", "lost"]);
}

type Close = fn(&Transport);

const CLOSES: [Close; 4] = [
    |transport| transport.lose_connection(),
    |transport| transport.abort_connection(),
    |transport| {
        transport.lose_write_connection();
        transport.lose_connection();
    },
    |transport| {
        transport.write(b"x");
        transport.lose_connection();
        transport.abort_connection();
    },
];

fn closing_inside_every_callback_ends_once(reactor: &Reactor) {
    for when in ["made", "data", "write closed", "read closed"] {
        for close in CLOSES {
            let log = Log::new();
            let recorder = Recorder::new(&log)
                .half_closing()
                .hook(move |event, transport| match transport {
                    Some(transport) if event == when => close(transport),
                    Some(transport) if event == "data" => transport.lose_write_connection(),
                    _ => {}
                });
            let (_port, mut client) = serve(reactor, recorder);
            // The peer may be gone already.
            let _: std::io::Result<()> = client.write_all(b"data");
            if when == "read closed" {
                let _: std::io::Result<()> = client.shutdown(Shutdown::Write);
            }
            until(reactor, when, || log.is_lost());
            settle(reactor);
            assert_eq!(log.count("lost"), 1, "closed in {when}");
            assert!(!log.transport().is_connected());
        }
    }
}

fn a_reset_at_any_point_ends_once(reactor: &Reactor) {
    for turns in 0..6 {
        for written in [0, 100, 3_000_000] {
            let log = Log::new();
            let (_port, mut client) = serve(reactor, Recorder::new(&log).half_closing());
            client.write_all(b"some data").unwrap();
            log.transport().write_bytes(vec![1; written]);
            for _ in 0..turns {
                reactor.turn(Some(Duration::ZERO)).unwrap();
            }
            reset(client);
            until(reactor, "the reset", || log.is_lost());
            assert!(
                matches!(log.reason(), Disconnect::Lost(_)),
                "{:?}",
                log.reason()
            );
            assert_eq!(log.count("lost"), 1);
        }
    }
}

fn a_reset_while_a_close_waits_is_a_loss(reactor: &Reactor) {
    let log = Log::new();
    let (_port, client) = serve(reactor, Recorder::new(&log));
    let transport = log.transport();
    transport.write_bytes(vec![1; 10_000_000]);
    transport.lose_connection();
    settle(reactor);
    reset(client);
    until(reactor, "the reset", || log.is_lost());
    assert!(
        matches!(log.reason(), Disconnect::Lost(_)),
        "{:?}",
        log.reason()
    );
}

fn what_came_before_a_reset_is_read_although_a_send_failed(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut client) = serve(reactor, Recorder::new(&log));
    let transport = log.transport();
    transport.pause_producing();
    settle(reactor);
    // More than one read takes.
    client.write_all(&[7; 100_000]).unwrap();
    reset(client);
    std::thread::sleep(Duration::from_millis(20));
    transport.resume_producing();
    transport.write(b"too late");
    until(reactor, "the end", || log.is_lost());
    assert!(matches!(log.reason(), Disconnect::Lost(_)));
    assert_eq!(log.received(), 100_000);
}

fn a_panic_in_any_callback_costs_only_its_connection(reactor: &Reactor) {
    let failures = Rc::new(Cell::new(0));
    let counted = Rc::clone(&failures);
    reactor.on_failure(move |_| counted.set(counted.get() + 1));
    let bystander = Log::new();
    let (_other, mut other) = serve(reactor, Recorder::new(&bystander));
    for when in ["made", "data", "read closed", "write closed", "lost"] {
        let (log, before) = (Log::new(), failures.get());
        let recorder = Recorder::new(&log)
            .half_closing()
            .hook(move |event, transport| {
                if let ("data", Some(transport)) = (event, transport) {
                    transport.lose_write_connection();
                }
                assert_ne!(event, when, "panic on purpose");
            });
        let (_port, mut client) = serve(reactor, recorder);
        let _: std::io::Result<()> = client.write_all(b"data");
        let _: std::io::Result<()> = client.shutdown(Shutdown::Write);
        if when == "lost" {
            until(reactor, "the half-close", || log.has("write closed"));
            log.transport().lose_connection();
        }
        until(reactor, when, || log.is_lost());
        assert_eq!(failures.get() - before, 1, "reported once, in {when}");
        if when != "lost" {
            assert!(
                matches!(log.reason(), Disconnect::Panicked),
                "in {when}: {:?}",
                log.reason()
            );
        }
        assert_eq!(log.count("lost"), 1);
    }
    other.write_all(b"still here").unwrap();
    until(reactor, "the bystander", || bystander.received() == 10);
}

fn the_reactors_end_cuts_connections(reactor: &Reactor) {
    let log = Log::new();
    let (port, _client) = serve(reactor, Recorder::new(&log));
    let idle = connect(port.local_addr());
    reactor.disconnect_all();
    assert!(log.is_lost() && !port.is_listening());
    assert!(matches!(log.reason(), Disconnect::Shutdown));
    drop(idle);
}

fn a_nested_turn_ends_the_connection_after_the_callback(reactor: &Reactor) {
    let log = Log::new();
    let (inner, seen) = (reactor.clone(), Rc::clone(&log));
    let recorder = Recorder::new(&log).hook(move |event, transport| {
        if let ("data", Some(transport)) = (event, transport) {
            transport.write(b"answer");
            transport.lose_connection();
            settle(&inner);
            assert!(!transport.is_connected(), "closed by the nested turns");
            assert!(!seen.is_lost(), "told when this callback has returned");
        }
    });
    let (_port, mut client) = serve(reactor, recorder);
    client.write_all(b"question").unwrap();
    assert_eq!(end_of(reactor, &mut client).unwrap(), b"answer");
    until(reactor, "the end", || log.is_lost());
    assert_eq!(log.events.borrow().as_slice(), ["made", "data", "lost"]);
}
