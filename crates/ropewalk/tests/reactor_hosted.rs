//! What a loop that a reactor lives in can rely on; the contract is in `ropewalk::host`.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![cfg(target_os = "linux")]

#[macro_use]
mod variant;
mod tcp_support;

use std::cell::Cell;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::time::Duration;

use ropewalk::{Error, ListeningPort, Misuse, Phase, PollerKind, Reactor, State, Transport};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tcp_support::{Log, Recorder, receive_exactly, serve, until};

const AT_ONCE: Duration = Duration::ZERO;

fn hosted() -> Reactor {
    let reactor = variant::Variant {
        kind: PollerKind::Epoll,
        hosted: true,
    }
    .reactor();
    settle(&reactor);
    reactor
}

/// Turns until the descriptor says that nothing is left.
fn settle(reactor: &Reactor) {
    reactor.turn(AT_ONCE).unwrap();
    while is_readable(reactor) {
        reactor.turn(AT_ONCE).unwrap();
    }
}

/// A connection that a [`Recorder`] serves, and its peer.
fn connected(reactor: &Reactor) -> (Transport, TcpStream, ListeningPort) {
    let log = Log::new();
    let (port, peer) = serve(reactor, Recorder::new(&log));
    until(reactor, "a connection", || log.is_connected());
    settle(reactor);
    (log.transport(), peer, port)
}

fn is_readable(reactor: &Reactor) -> bool {
    let fd = reactor.as_fd().unwrap();
    let mut watched = [PollFd::new(&fd, PollFlags::IN)];
    poll(&mut watched, Some(&Timespec::default())).unwrap() > 0
}

#[test]
fn an_idle_reactor_asks_for_nothing() {
    let reactor = hosted();
    assert!(!is_readable(&reactor));
    assert_eq!(reactor.next_deadline(), None);
}

#[test]
fn the_descriptor_is_one_for_life() {
    let reactor = hosted();
    let number = reactor.as_fd().unwrap().as_raw_fd();
    reactor.before_fork().unwrap();
    reactor.after_fork().unwrap();
    assert_eq!(reactor.as_fd().unwrap().as_fd().as_raw_fd(), number);
}

#[test]
fn a_call_later_between_turns_wakes_the_host_and_is_its_deadline() {
    let reactor = hosted();
    let call = reactor.call_later(Duration::from_secs(60), |_| {});
    assert!(is_readable(&reactor));
    settle(&reactor);
    assert_eq!(reactor.next_deadline(), call.deadline());
    assert!(call.reset(Duration::from_secs(30)));
    assert!(is_readable(&reactor));
    assert_eq!(reactor.next_deadline(), call.deadline());
}

#[test]
fn a_write_between_turns_goes_out_in_the_next() {
    let reactor = hosted();
    let (transport, mut peer, _port) = connected(&reactor);
    transport.write(b"hello");
    assert!(is_readable(&reactor));
    reactor.turn(AT_ONCE).unwrap();
    assert_eq!(receive_exactly(&reactor, &mut peer, 5), b"hello");
    settle(&reactor);
    assert_eq!(reactor.next_deadline(), None);
}

#[test]
fn a_pause_between_turns_is_told_to_the_system_before_the_host_waits() {
    let reactor = hosted();
    let (transport, mut peer, _port) = connected(&reactor);
    transport.pause_producing();
    settle(&reactor);
    io::Write::write_all(&mut peer, b"x").unwrap();
    assert!(!is_readable(&reactor), "a paused transport wakes nobody");
    transport.resume_producing();
    settle(&reactor);
    assert!(!is_readable(&reactor), "it was read");
}

#[test]
fn a_task_woken_between_turns_wakes_the_host() {
    let reactor = hosted();
    let (sender, deferred) = ropewalk::Deferred::<()>::new();
    let done = Rc::new(Cell::new(false));
    let told = Rc::clone(&done);
    reactor
        .spawn_local(async move {
            deferred.await.unwrap();
            told.set(true);
        })
        .ignore();
    assert!(is_readable(&reactor));
    settle(&reactor);
    sender.fire(());
    assert!(is_readable(&reactor));
    settle(&reactor);
    assert!(done.get());
}

#[test]
fn a_call_from_a_thread_wakes_the_host() {
    let reactor = hosted();
    let remote = reactor.remote();
    std::thread::spawn(move || remote.call_from_thread(|_| {}))
        .join()
        .unwrap();
    assert!(is_readable(&reactor));
}

#[test]
fn a_stop_between_turns_ends_the_run_by_the_next_turns() {
    let reactor = hosted();
    let shutdown = Rc::new(Cell::new(false));
    let told = Rc::clone(&shutdown);
    reactor.add_system_event_trigger(Phase::After, "shutdown", move |_| told.set(true));
    reactor.start().unwrap();
    assert!(matches!(
        reactor.start(),
        Err(Error::Misuse(Misuse::AlreadyRunning))
    ));
    settle(&reactor);
    assert!(reactor.is_running());
    reactor.stop().unwrap();
    assert!(is_readable(&reactor));
    assert!(reactor.next_deadline().is_some());
    reactor.turn(AT_ONCE).unwrap();
    assert_eq!((reactor.state(), shutdown.get()), (State::Stopped, true));
    assert!(matches!(
        reactor.run(),
        Err(Error::Misuse(Misuse::NotRestartable))
    ));
}

#[test]
fn a_crash_between_turns_leaves_the_loop_and_a_host_may_start_again() {
    let reactor = hosted();
    for _ in 0..3 {
        reactor.start().unwrap();
        reactor.turn(AT_ONCE).unwrap();
        reactor.crash();
        reactor.turn(AT_ONCE).unwrap();
        assert_eq!(reactor.state(), State::Crashed);
    }
    reactor.call_when_running(|reactor| reactor.stop().unwrap());
    reactor.run().unwrap();
    assert_eq!(reactor.state(), State::Stopped);
}

#[test]
fn a_poller_without_a_descriptor_says_so() {
    for kind in [PollerKind::Poll, PollerKind::Select] {
        let reactor = Reactor::with_poller(kind).unwrap();
        let Err(Error::Os { source, .. }) = reactor.as_fd() else {
            panic!("{kind} has no descriptor");
        };
        assert_eq!(source.kind(), io::ErrorKind::Unsupported);
        assert!(source.to_string().contains(kind.name()), "{source}");
        assert!(!kind.new_poller().unwrap().capabilities().pollable);
    }
}
