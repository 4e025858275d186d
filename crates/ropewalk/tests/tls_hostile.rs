//! Peers that do not keep to TLS, or not to its spirit, over every poller.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod tls_support;

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::time::Instant;

use ropewalk::tls::TlsError;
use ropewalk::tls::rustls::{AlertDescription, Error as RustlsError};
use ropewalk::{Disconnect, ListeningPort, Reactor};
use tcp_support::{LIMIT, Log, Recorder, end_of, over_every_poller, settle, until};
use tls_support::{Peer, peer, serve_tls, served, server};

over_every_poller! {
    garbage_is_no_tls,
    plain_http_is_told_as_such,
    a_peer_that_closes_at_once_is_a_loss,
    a_handshake_may_come_byte_by_byte,
    data_may_come_byte_by_byte,
    a_handshake_cut_anywhere_is_a_loss,
    a_changed_record_is_refused_with_an_alert,
    a_replayed_record_is_refused,
    an_oversized_record_is_refused,
    data_in_the_clear_after_the_handshake_is_refused,
    a_flood_of_key_updates_is_refused,
    a_flood_of_empty_records_is_refused,
    key_updates_within_reason_are_followed,
    a_close_notify_during_the_handshake_is_a_loss,
    data_before_a_failure_is_delivered,
    a_failed_handshake_costs_no_other_connection,
    a_failure_while_closing_ends_the_wait,
}

fn raw(reactor: &Reactor, log: &Rc<Log>) -> (ListeningPort, TcpStream) {
    let (port, peer) = serve_tls(reactor, &server(), log, Recorder::new(log));
    peer.socket.set_nonblocking(false).unwrap();
    (port, peer.socket)
}

fn tls_error(log: &Log) -> TlsError {
    match log.reason() {
        Disconnect::Tls(error) => error,
        other => panic!("{other} is no failure of TLS"),
    }
}

fn is_cut(log: &Log) -> bool {
    matches!(log.reason(), Disconnect::Lost(error) if error.kind() == ErrorKind::UnexpectedEof)
}

fn garbage_is_no_tls(reactor: &Reactor) {
    for garbage in [
        &b"\x00\x01\x02\x03\x04\x05\x06\x07"[..],
        &[0xff; 100],
        b"SSH-2.0-OpenSSH\r\n",
    ] {
        let log = Log::new();
        let (_port, mut socket) = raw(reactor, &log);
        socket.write_all(garbage).unwrap();
        until(reactor, "the end", || log.is_lost());
        assert!(
            matches!(tls_error(&log), TlsError::NotTls(_)),
            "{}",
            log.reason()
        );
        assert_eq!(log.events.borrow().as_slice(), ["made", "lost"]);
        // An alert, and the end.
        let answer = end_of(reactor, &mut socket).unwrap();
        assert_eq!((answer.first(), answer.len()), (Some(&21), 7));
    }
}

fn plain_http_is_told_as_such(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut socket) = raw(reactor, &log);
    socket
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    until(reactor, "the end", || log.is_lost());
    assert_eq!(tls_error(&log), TlsError::PlainHttp);
}

fn a_peer_that_closes_at_once_is_a_loss(reactor: &Reactor) {
    let log = Log::new();
    let (_port, socket) = raw(reactor, &log);
    drop(socket);
    until(reactor, "the end", || log.is_lost());
    assert!(is_cut(&log), "{}", log.reason());
    assert!(
        log.reason().to_string().contains("handshake"),
        "{}",
        log.reason()
    );
}

/// Sends `bytes` one by one, each in a turn of its own.
fn trickle(reactor: &Reactor, peer: &mut Peer, bytes: &[u8]) {
    for byte in bytes {
        peer.socket.write_all(&[*byte]).unwrap();
        reactor.turn(Some(std::time::Duration::ZERO)).unwrap();
    }
}

fn a_handshake_may_come_byte_by_byte(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = serve_tls(reactor, &server(), &log, Recorder::new(&log));
    let deadline = Instant::now() + LIMIT;
    while !log.has("handshake") {
        assert!(Instant::now() < deadline);
        let output = peer.take_output();
        trickle(reactor, &mut peer, &output);
        reactor.turn(Some(std::time::Duration::ZERO)).unwrap();
        peer.read_once();
    }
}

fn data_may_come_byte_by_byte(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = served(reactor, &log, Recorder::new(&log));
    peer.tls.writer().write_all(b"slowly, but surely").unwrap();
    peer.tls.send_close_notify();
    let output = peer.take_output();
    trickle(reactor, &mut peer, &output);
    assert!(peer.end(reactor));
    assert_eq!(log.data.borrow().as_slice(), b"slowly, but surely");
    assert_eq!(log.count("data"), 1);
}

fn a_handshake_cut_anywhere_is_a_loss(reactor: &Reactor) {
    // Of both of the client's flights.
    for flight in [1, 2] {
        for part in 0..8 {
            let log = Log::new();
            let (_port, mut peer) = serve_tls(reactor, &server(), &log, Recorder::new(&log));
            if flight == 2 {
                peer.flush();
                peer.until_answered(reactor);
            }
            let output = peer.take_output();
            let cut = output.len() * part / 8;
            peer.socket.write_all(&output[..cut]).unwrap();
            peer.socket.shutdown(Shutdown::Write).unwrap();
            until(reactor, "the end", || log.is_lost());
            assert!(
                is_cut(&log),
                "flight {flight}, {cut} bytes: {}",
                log.reason()
            );
            assert!(!log.has("handshake"));
        }
    }
    assert_eq!(reactor.delayed_call_count(), 0);
}

fn a_changed_record_is_refused_with_an_alert(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = served(reactor, &log, Recorder::new(&log));
    peer.tls.writer().write_all(b"data").unwrap();
    let mut output = peer.take_output();
    *output.last_mut().unwrap() ^= 1;
    peer.socket.write_all(&output).unwrap();
    peer.end(reactor);
    assert!(
        matches!(tls_error(&log), TlsError::Corrupted(_)),
        "{}",
        log.reason()
    );
    let alert = RustlsError::AlertReceived(AlertDescription::BadRecordMac);
    assert_eq!(peer.error, Some(alert));
    assert_eq!(log.received(), 0);
}

fn a_replayed_record_is_refused(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = served(reactor, &log, Recorder::new(&log));
    peer.tls.writer().write_all(b"once").unwrap();
    let output = peer.take_output();
    peer.socket.write_all(&output).unwrap();
    peer.socket.write_all(&output).unwrap();
    until(reactor, "the end", || log.is_lost());
    assert!(
        matches!(tls_error(&log), TlsError::Corrupted(_)),
        "{}",
        log.reason()
    );
    assert_eq!(log.data.borrow().as_slice(), b"once");
}

fn an_oversized_record_is_refused(reactor: &Reactor) {
    for handshake in [false, true] {
        let log = Log::new();
        let (_port, mut peer) = serve_tls(reactor, &server(), &log, Recorder::new(&log));
        if handshake {
            peer.shake_hands(reactor);
        }
        // The header alone is enough.
        peer.socket.write_all(&[23, 3, 3, 0xff, 0xff]).unwrap();
        until(reactor, "the end", || log.is_lost());
        assert!(
            matches!(log.reason(), Disconnect::Tls(_)),
            "{}",
            log.reason()
        );
    }
}

fn data_in_the_clear_after_the_handshake_is_refused(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = served(reactor, &log, Recorder::new(&log));
    peer.socket.write_all(b"\x17\x03\x03\x00\x05clear").unwrap();
    until(reactor, "the end", || log.is_lost());
    assert!(
        matches!(log.reason(), Disconnect::Tls(_)),
        "{}",
        log.reason()
    );
    assert_eq!(log.received(), 0);
}

fn a_flood_of_key_updates_is_refused(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = served(reactor, &log, Recorder::new(&log));
    for _ in 0..200 {
        peer.tls.refresh_traffic_keys().unwrap();
        peer.flush();
    }
    until(reactor, "the end", || log.is_lost());
    assert!(
        matches!(tls_error(&log), TlsError::Flooded(_)),
        "{}",
        log.reason()
    );
}

fn a_flood_of_empty_records_is_refused(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut socket) = raw(reactor, &log);
    let records = [22, 3, 1, 0, 0].repeat(500);
    socket.write_all(&records).unwrap();
    until(reactor, "the end", || log.is_lost());
    assert!(
        matches!(log.reason(), Disconnect::Tls(_)),
        "{}",
        log.reason()
    );
}

fn key_updates_within_reason_are_followed(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = served(reactor, &log, Recorder::new(&log));
    for round in 1..=50 {
        peer.tls.refresh_traffic_keys().unwrap();
        peer.send(b"x");
        peer.until(reactor, "the data", |_| log.received() == round);
        log.transport().write(b"y");
        peer.until(reactor, "an answer", |peer| peer.received.len() == round);
    }
    assert!(log.transport().is_connected());
}

fn a_close_notify_during_the_handshake_is_a_loss(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut socket) = raw(reactor, &log);
    // A warning, close_notify, in the clear, where anybody could have put it.
    socket.write_all(&[21, 3, 1, 0, 2, 1, 0]).unwrap();
    drop(socket);
    until(reactor, "the end", || log.is_lost());
    assert!(is_cut(&log), "{}", log.reason());
    assert!(!log.has("handshake"));
}

fn data_before_a_failure_is_delivered(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = served(reactor, &log, Recorder::new(&log));
    peer.tls.writer().write_all(b"good").unwrap();
    let mut output = peer.take_output();
    output.extend(b"\x17\x03\x03\x00\x20................................");
    peer.socket.write_all(&output).unwrap();
    until(reactor, "the end", || log.is_lost());
    assert!(
        matches!(tls_error(&log), TlsError::Corrupted(_)),
        "{}",
        log.reason()
    );
    assert_eq!(log.data.borrow().as_slice(), b"good");
}

fn a_failed_handshake_costs_no_other_connection(reactor: &Reactor) {
    let logs: Vec<_> = (0..3).map(|_| Log::new()).collect();
    let waiting = std::cell::RefCell::new(logs.clone());
    let factory = move |_| Recorder::new(&waiting.borrow_mut().remove(0));
    let port = reactor
        .listen_tls("127.0.0.1:0", &server(), factory)
        .unwrap();
    let mut first = Peer::client(port.local_addr(), peer::client_config());
    first.shake_hands(reactor);
    let mut second = tcp_support::connect(port.local_addr());
    second.write_all(b"no hello at all").unwrap();
    until(reactor, "the failure", || logs[1].is_lost());
    first.send(b"still here");
    first.until(reactor, "the data", |_| logs[0].received() == 10);
    let mut third = Peer::client(port.local_addr(), peer::client_config());
    third.until(reactor, "another handshake", |_| logs[2].has("handshake"));
}

fn a_failure_while_closing_ends_the_wait(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = served(reactor, &log, Recorder::new(&log));
    log.transport().lose_connection();
    peer.until(reactor, "the close_notify", |peer| peer.closed);
    settle(reactor);
    peer.socket
        .write_all(b"\x17\x03\x03\x00\x20................................")
        .unwrap();
    until(reactor, "the end", || log.is_lost());
    // Where rustls has debug assertions it does not tell what it was.
    let told = tls_error(&log);
    assert!(
        matches!(told, TlsError::Corrupted(_) | TlsError::Misbehaved(_)),
        "{told}"
    );
    assert_eq!(reactor.delayed_call_count(), 0);
}
