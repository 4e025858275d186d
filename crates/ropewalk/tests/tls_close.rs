//! How TLS connections end, over every poller: in order, half-closed, truncated, aborted.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod tls_support;

use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ropewalk::tls::rustls::version::TLS12;
use ropewalk::{Disconnect, Producer, ProducerKind, Reactor, Transport};
use rustix::net::sockopt::set_socket_send_buffer_size;
use tcp_support::{Log, Recorder, over_every_poller, reset, settle, until};
use tls_support::{Peer, client, connected, peer, serve_tls, served, server, server_builder};

over_every_poller! {
    a_close_sends_all_and_a_close_notify_and_waits_for_the_peers,
    a_close_is_done_when_the_peer_ends_without_a_close_notify,
    a_close_is_done_when_the_peer_resets_after_it,
    a_close_waits_no_longer_than_its_time_limit,
    a_close_that_cannot_be_sent_waits_no_longer_than_its_time_limit,
    a_close_discards_what_the_peer_still_sends,
    a_close_before_the_handshake_with_nothing_queued_aborts,
    a_close_before_the_handshake_sends_what_is_queued_after_it,
    the_peers_close_notify_is_answered_and_done,
    what_is_queued_at_the_peers_close_notify_is_still_sent,
    a_peers_close_notify_leaves_the_write_side_open,
    an_older_peers_close_notify_closes_both_sides,
    a_close_notify_while_reading_is_paused_is_told_on_resuming,
    an_end_without_a_close_notify_is_a_loss,
    an_end_inside_a_record_is_a_loss,
    a_half_close_sends_a_close_notify_and_goes_on_reading,
    a_half_close_before_the_handshake_waits_for_it,
    an_abort_sends_nothing,
    a_reset_is_a_loss,
    what_is_written_behind_the_close_notify_is_ignored,
    a_producer_behind_the_close_notify_keeps_nothing_open,
    closing_twice_in_the_handshake_is_closing_once,
    closing_inside_every_callback_ends_once,
    both_sides_may_close_at_once,
    the_reactors_end_cuts_connections,
}

fn lost_kind(reason: &Disconnect) -> ErrorKind {
    match reason {
        Disconnect::Lost(error) => error.kind(),
        other => panic!("{other} is not lost"),
    }
}

fn a_close_sends_all_and_a_close_notify_and_waits_for_the_peers(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = served(reactor, &log, Recorder::new(&log));
    let transport = log.transport();
    transport.write_bytes(vec![7; 3_000_000]);
    transport.lose_connection();
    peer.until(reactor, "the close_notify", |peer| peer.closed);
    assert_eq!(peer.received.len(), 3_000_000);
    settle(reactor);
    assert!(!log.is_lost(), "the peer has not closed");
    assert!(peer.ended.is_none(), "nor has the socket");
    peer.say_goodbye();
    until(reactor, "the end", || log.is_lost());
    assert!(log.reason().is_clean());
    assert!(peer.end(reactor));
}

fn a_close_is_done_when_the_peer_ends_without_a_close_notify(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = served(reactor, &log, Recorder::new(&log));
    log.transport().lose_connection();
    peer.until(reactor, "the close_notify", |peer| peer.closed);
    drop(peer);
    until(reactor, "the end", || log.is_lost());
    assert!(log.reason().is_clean(), "{}", log.reason());
}

fn a_close_is_done_when_the_peer_resets_after_it(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = served(reactor, &log, Recorder::new(&log));
    log.transport().lose_connection();
    peer.until(reactor, "the close_notify", |peer| peer.closed);
    reset(peer.socket);
    until(reactor, "the end", || log.is_lost());
    assert!(log.reason().is_clean(), "{}", log.reason());
}

fn a_close_waits_no_longer_than_its_time_limit(reactor: &Reactor) {
    let log = Log::new();
    let tls = server_builder()
        .close_timeout(Duration::from_millis(20))
        .build()
        .unwrap();
    let (_port, mut peer) = serve_tls(reactor, &tls, &log, Recorder::new(&log));
    peer.shake_hands(reactor);
    until(reactor, "the handshake", || log.has("handshake"));
    log.transport().lose_connection();
    until(reactor, "the end", || log.is_lost());
    assert!(log.reason().is_clean(), "{}", log.reason());
    assert!(peer.end(reactor));
    assert_eq!(reactor.delayed_call_count(), 0);
}

fn a_close_that_cannot_be_sent_waits_no_longer_than_its_time_limit(reactor: &Reactor) {
    let (ours, theirs) = (Log::new(), Log::new());
    let tls = server_builder()
        .close_timeout(Duration::from_millis(20))
        .build()
        .unwrap();
    // Of UNIX sockets it is certain when the system takes no more.
    let (near, far) = UnixStream::pair().unwrap();
    let protocol = tls.protocol(Recorder::new(&ours));
    let transport = reactor.adopt_stream(near, protocol).unwrap();
    let protocol = client().protocol("localhost", Recorder::new(&theirs));
    reactor.adopt_stream(far, protocol.unwrap()).unwrap();
    until(reactor, "the handshakes", || {
        ours.has("handshake") && theirs.has("handshake")
    });
    theirs.transport().pause_producing();
    let shrink = |fd: BorrowedFd<'_>| set_socket_send_buffer_size(fd, 4096);
    transport.with_fd(shrink).unwrap().unwrap();
    // One flush encrypts all of it, and the system takes some.
    transport.write_bytes(vec![0; 50_000]);
    transport.lose_connection();
    until(reactor, "the end", || ours.is_lost());
    assert_eq!(lost_kind(&ours.reason()), ErrorKind::TimedOut);
    theirs.transport().resume_producing();
    until(reactor, "the other end", || theirs.is_lost());
    assert!(!theirs.reason().is_clean(), "the data was cut");
}

fn a_close_discards_what_the_peer_still_sends(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = served(reactor, &log, Recorder::new(&log));
    log.transport().lose_connection();
    peer.send(b"too late");
    peer.until(reactor, "the close_notify", |peer| peer.closed);
    peer.send(&[1; 100_000]);
    peer.say_goodbye();
    peer.until(reactor, "all sent", |peer| !peer.tls.wants_write());
    until(reactor, "the end", || log.is_lost());
    assert!(log.reason().is_clean());
    assert_eq!(log.received(), 0);
}

fn a_close_before_the_handshake_with_nothing_queued_aborts(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = serve_tls(reactor, &server(), &log, Recorder::new(&log));
    log.transport().lose_connection();
    until(reactor, "the end", || log.is_lost());
    assert!(
        matches!(log.reason(), Disconnect::Aborted),
        "{}",
        log.reason()
    );
    assert!(!peer.end(reactor));
}

fn a_close_before_the_handshake_sends_what_is_queued_after_it(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = serve_tls(reactor, &server(), &log, Recorder::new(&log));
    log.transport().write(b"last words");
    log.transport().lose_connection();
    peer.until(reactor, "the close_notify", |peer| peer.closed);
    assert_eq!(peer.received, b"last words");
    peer.say_goodbye();
    until(reactor, "the end", || log.is_lost());
    assert!(log.reason().is_clean());
}

fn the_peers_close_notify_is_answered_and_done(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = served(reactor, &log, Recorder::new(&log));
    peer.send(b"bye");
    peer.say_goodbye();
    until(reactor, "the end", || log.is_lost());
    assert!(log.reason().is_clean());
    assert_eq!(log.data.borrow().as_slice(), b"bye");
    assert!(peer.end(reactor));
    assert_eq!(
        log.events.borrow().as_slice(),
        ["made", "handshake", "data", "lost"]
    );
}

fn what_is_queued_at_the_peers_close_notify_is_still_sent(reactor: &Reactor) {
    let log = Log::new();
    let recorder = Recorder::new(&log).hook(|event, transport| {
        if let ("data", Some(transport)) = (event, transport) {
            transport.write_bytes(vec![3; 2_000_000]);
        }
    });
    let (_port, mut peer) = served(reactor, &log, recorder);
    peer.send(b"a question");
    peer.say_goodbye();
    assert!(peer.end(reactor));
    assert_eq!(peer.received.len(), 2_000_000);
    until(reactor, "the end", || log.is_lost());
    assert!(log.reason().is_clean());
}

fn a_peers_close_notify_leaves_the_write_side_open(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = served(reactor, &log, Recorder::new(&log).half_closing());
    peer.say_goodbye();
    until(reactor, "the peer's end", || log.has("read closed"));
    let transport = log.transport();
    transport.write(b"still here");
    peer.until(reactor, "the data", |peer| peer.received == b"still here");
    assert!(!peer.closed && !log.is_lost());
    transport.lose_connection();
    assert!(peer.end(reactor));
    until(reactor, "the end", || log.is_lost());
    assert!(log.reason().is_clean());
}

fn an_older_peers_close_notify_closes_both_sides(reactor: &Reactor) {
    let log = Log::new();
    let recorder = Recorder::new(&log).half_closing();
    let mut recorder = Some(recorder);
    let port = reactor
        .listen_tls("127.0.0.1:0", &server(), move |_| recorder.take().unwrap())
        .unwrap();
    let mut peer = Peer::client(port.local_addr(), peer::client_config_of(&TLS12));
    peer.shake_hands(reactor);
    peer.say_goodbye();
    assert!(peer.end(reactor));
    until(reactor, "the end", || log.is_lost());
    assert!(log.reason().is_clean());
    assert!(!log.has("read closed"));
}

fn a_close_notify_while_reading_is_paused_is_told_on_resuming(reactor: &Reactor) {
    let log = Log::new();
    let recorder = Recorder::new(&log).half_closing();
    let recorder = recorder.hook(|event, transport| {
        if let ("data", Some(transport)) = (event, transport) {
            transport.pause_producing();
        }
    });
    let (_port, mut peer) = served(reactor, &log, recorder);
    // Both in one read.
    peer.tls.writer().write_all(b"data").unwrap();
    peer.say_goodbye();
    until(reactor, "the data", || log.has("data"));
    settle(reactor);
    assert!(!log.has("read closed"), "told although paused");
    log.transport().resume_producing();
    until(reactor, "the peer's end", || log.has("read closed"));
    assert!(log.transport().is_connected());
}

fn an_end_without_a_close_notify_is_a_loss(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = served(reactor, &log, Recorder::new(&log).half_closing());
    peer.send(b"part one");
    peer.socket.shutdown(Shutdown::Write).unwrap();
    until(reactor, "the end", || log.is_lost());
    assert_eq!(lost_kind(&log.reason()), ErrorKind::UnexpectedEof);
    assert!(
        log.reason().to_string().contains("truncated"),
        "{}",
        log.reason()
    );
    assert_eq!(log.data.borrow().as_slice(), b"part one");
    assert!(!log.has("read closed"));
}

fn an_end_inside_a_record_is_a_loss(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = served(reactor, &log, Recorder::new(&log));
    peer.tls.writer().write_all(b"cut in two").unwrap();
    let record = peer.take_output();
    let half = &record[..record.len() / 2];
    peer.socket.write_all(half).unwrap();
    peer.socket.shutdown(Shutdown::Write).unwrap();
    until(reactor, "the end", || log.is_lost());
    assert_eq!(lost_kind(&log.reason()), ErrorKind::UnexpectedEof);
    assert_eq!(log.received(), 0);
}

fn a_half_close_sends_a_close_notify_and_goes_on_reading(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = served(reactor, &log, Recorder::new(&log));
    log.transport().write(b"the last");
    log.transport().lose_write_connection();
    assert!(
        peer.end(reactor),
        "close_notify, then the end of the stream"
    );
    assert_eq!(peer.received, b"the last");
    until(reactor, "the half-close", || log.has("write closed"));
    peer.ended = None;
    peer.send(b"an answer");
    until(reactor, "the answer", || log.received() == 9);
    assert!(log.transport().is_connected());
    peer.say_goodbye();
    until(reactor, "the end", || log.is_lost());
    assert!(log.reason().is_clean());
}

fn a_half_close_before_the_handshake_waits_for_it(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = serve_tls(reactor, &server(), &log, Recorder::new(&log));
    log.transport().lose_write_connection();
    settle(reactor);
    assert!(!log.has("write closed"));
    assert!(peer.end(reactor));
    assert!(log.has("handshake") && log.has("write closed"));
}

fn an_abort_sends_nothing(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = served(reactor, &log, Recorder::new(&log));
    log.transport().write(b"never sent");
    log.transport().abort_connection();
    assert_eq!(log.transport().buffered_len(), 0);
    until(reactor, "the end", || log.is_lost());
    assert!(matches!(log.reason(), Disconnect::Aborted));
    assert!(!peer.end(reactor));
    assert!(!peer.closed && peer.received.is_empty());
    assert_eq!(reactor.delayed_call_count(), 0);
}

fn a_reset_is_a_loss(reactor: &Reactor) {
    let log = Log::new();
    let (_port, peer) = served(reactor, &log, Recorder::new(&log));
    reset(peer.socket);
    until(reactor, "the end", || log.is_lost());
    assert_eq!(lost_kind(&log.reason()), ErrorKind::ConnectionReset);
}

fn closing_inside_every_callback_ends_once(reactor: &Reactor) {
    for place in ["made", "handshake", "data", "read closed"] {
        let log = Log::new();
        let recorder = Recorder::new(&log).half_closing();
        let recorder = recorder.hook(move |event, transport| {
            if let Some(transport) = transport.filter(|_| event == place) {
                transport.lose_connection();
                transport.lose_connection();
            }
        });
        let (_port, mut peer) = serve_tls(reactor, &server(), &log, recorder);
        peer.until(reactor, "the handshake", |peer| {
            peer.ended.is_some() || !peer.tls.is_handshaking()
        });
        peer.send(b"data");
        peer.say_goodbye();
        peer.end(reactor);
        until(reactor, place, || log.is_lost());
        assert_eq!(log.count("lost"), 1, "{place}");
        let aborted = matches!(log.reason(), Disconnect::Aborted);
        assert_eq!(aborted, place == "made", "{place}: {}", log.reason());
        assert!(aborted || log.reason().is_clean(), "{place}");
    }
}

fn both_sides_may_close_at_once(reactor: &Reactor) {
    let (ours, theirs) = (Log::new(), Log::new());
    let _port = connected(reactor, (&server(), &ours), (&client(), &theirs));
    ours.transport().lose_connection();
    theirs.transport().lose_connection();
    until(reactor, "both ends", || ours.is_lost() && theirs.is_lost());
    assert!(ours.reason().is_clean() && theirs.reason().is_clean());
    assert_eq!(reactor.delayed_call_count(), 0);
}

fn the_reactors_end_cuts_connections(reactor: &Reactor) {
    let (ours, theirs) = (Log::new(), Log::new());
    let _port = connected(reactor, (&server(), &ours), (&client(), &theirs));
    reactor.disconnect_all();
    assert!(matches!(ours.reason(), Disconnect::Shutdown));
    assert!(matches!(theirs.reason(), Disconnect::Shutdown));
}

fn what_is_written_behind_the_close_notify_is_ignored(reactor: &Reactor) {
    let ends: [fn(&Transport); 2] = [Transport::lose_connection, Transport::lose_write_connection];
    for end in ends {
        let log = Log::new();
        let (_port, mut peer) = served(reactor, &log, Recorder::new(&log));
        let transport = log.transport();
        end(&transport);
        transport.write(b"before");
        peer.until(reactor, "the close_notify", |peer| peer.closed);
        transport.write(b"behind");
        assert_eq!(transport.buffered_len(), 0);
        peer.say_goodbye();
        until(reactor, "the end", || log.is_lost());
        assert!(log.reason().is_clean());
        assert_eq!(peer.received, b"before");
    }
}

/// Writes whenever it is asked to.
struct Endless;

impl Producer for Endless {
    fn resume_producing(&self, transport: &Transport) {
        transport.write(b"more");
    }

    fn pause_producing(&self, _: &Transport) {}

    fn stop_producing(&self) {}
}

fn a_producer_behind_the_close_notify_keeps_nothing_open(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = served(reactor, &log, Recorder::new(&log));
    let transport = log.transport();
    transport.lose_connection();
    peer.until(reactor, "the close_notify", |peer| peer.closed);
    transport
        .register_producer(Endless, ProducerKind::Pull)
        .unwrap();
    peer.say_goodbye();
    until(reactor, "the end", || log.is_lost());
    assert!(log.reason().is_clean());
}

fn closing_twice_in_the_handshake_is_closing_once(reactor: &Reactor) {
    let log = Log::new();
    let (_port, mut peer) = serve_tls(reactor, &server(), &log, Recorder::new(&log));
    let transport = log.transport();
    transport.write(b"queued");
    transport.lose_connection();
    transport.lose_connection();
    peer.until(reactor, "the close_notify", |peer| peer.closed);
    assert_eq!(peer.received, b"queued");
    peer.say_goodbye();
    until(reactor, "the end", || log.is_lost());
    assert!(log.reason().is_clean(), "{}", log.reason());
}
