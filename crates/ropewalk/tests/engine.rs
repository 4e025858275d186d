//! The engine's invariants, over every poller, with real sockets and a host that takes notes.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ropewalk::engine::{Engine, Host};
use ropewalk::os::{Interest, PollerKind, Readiness, SourceFd, Token};
use variant::Variant;

type Action = Box<dyn Fn(&Notes, &Engine<Notes>, Token, Readiness)>;

/// A host whose sources are names, which notes what it hears and does what a test wants.
struct Notes {
    heard: RefCell<Vec<(&'static str, Readiness)>>,
    flushed: RefCell<Vec<&'static str>>,
    parked: RefCell<usize>,
    action: Action,
}

impl Notes {
    fn new(action: impl Fn(&Self, &Engine<Self>, Token, Readiness) + 'static) -> Self {
        Self {
            heard: RefCell::default(),
            flushed: RefCell::default(),
            parked: RefCell::default(),
            action: Box::new(action),
        }
    }

    fn quiet() -> Self {
        Self::new(|_, _, _, _| {})
    }

    fn names(&self) -> Vec<&'static str> {
        self.heard.borrow().iter().map(|(name, _)| *name).collect()
    }
}

impl Host for Notes {
    type Source = &'static str;

    fn ready(&self, engine: &Engine<Self>, token: Token, name: &'static str, what: Readiness) {
        self.heard.borrow_mut().push((name, what));
        (self.action)(self, engine, token, what);
    }

    fn flush(&self, _: &Engine<Self>, _: Token, name: &'static str) {
        self.flushed.borrow_mut().push(name);
    }

    fn register_failed(&self, _: &Engine<Self>, _: Token, name: &'static str, _: io::Error) {
        self.heard.borrow_mut().push((name, Readiness::INVALID));
    }

    fn park(&self, wait: &mut dyn FnMut()) {
        *self.parked.borrow_mut() += 1;
        wait();
    }
}

fn source(engine: &Engine<Notes>, name: &'static str, interest: Interest) -> (Token, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let token = engine.insert(SourceFd::from(OwnedFd::from(ours)), name);
    assert!(engine.set_interest(token, interest));
    (token, theirs)
}

fn engine(variant: Variant) -> Engine<Notes> {
    let engine = Engine::with_maker(Box::new(move || variant.poller())).unwrap();
    if variant.hosted {
        engine.host_fd().unwrap();
    }
    engine
}

fn turn(engine: &Engine<Notes>, host: &Notes) {
    engine.begin_turn();
    engine.poll(host, Some(Duration::ZERO)).unwrap();
    if engine.is_hosted() {
        engine.settle(host).unwrap();
    }
}

fn undrained_input_is_reported_by_every_turn(variant: Variant) {
    let (engine, host) = (engine(variant), Notes::quiet());
    let (_, mut peer) = source(&engine, "a", Interest::READABLE);
    peer.write_all(b"x").unwrap();
    turn(&engine, &host);
    turn(&engine, &host);
    assert_eq!(*host.heard.borrow(), [("a", Readiness::READABLE); 2]);
}

fn a_source_without_interest_hears_nothing_not_even_a_hang_up(variant: Variant) {
    let (engine, host) = (engine(variant), Notes::quiet());
    let (token, mut peer) = source(&engine, "a", Interest::READABLE);
    turn(&engine, &host);
    engine.set_interest(token, Interest::NONE);
    peer.write_all(b"x").unwrap();
    drop(peer);
    turn(&engine, &host);
    assert_eq!(host.names(), [""; 0]);
    engine.set_interest(token, Interest::READABLE);
    turn(&engine, &host);
    assert_eq!(host.names(), ["a"]);
}

fn interest_lost_during_the_batch_silences_the_rest_of_it(variant: Variant) {
    let engine = engine(variant);
    let tokens = Rc::new(RefCell::new(Vec::new()));
    let theirs = Rc::clone(&tokens);
    let host = Notes::new(move |_, engine: &Engine<Notes>, token, _| {
        for other in theirs.borrow().iter().filter(|other| **other != token) {
            engine.set_interest(*other, Interest::NONE);
        }
    });
    let (a, mut to_a) = source(&engine, "a", Interest::READABLE);
    let (b, mut to_b) = source(&engine, "b", Interest::READABLE);
    tokens.borrow_mut().extend([a, b]);
    to_a.write_all(b"x").unwrap();
    to_b.write_all(b"x").unwrap();
    turn(&engine, &host);
    assert_eq!(host.names().len(), 1);
}

fn a_descriptor_number_used_again_in_the_batch_is_not_mistaken(variant: Variant) {
    let engine = engine(variant);
    let state = Rc::new(RefCell::new((Vec::new(), Vec::new())));
    let shared = Rc::clone(&state);
    let host = Notes::new(move |_, engine: &Engine<Notes>, token, _| {
        // The first to be heard closes all others and opens as many on the numbers they had.
        let others = std::mem::take(&mut shared.borrow_mut().0);
        for other in others.into_iter().filter(|other| *other != token) {
            drop(engine.remove(other));
            let fresh = source(engine, "new", Interest::READABLE);
            shared.borrow_mut().1.push(fresh);
        }
    });
    let mut peers = Vec::new();
    for _ in 0..16 {
        let (token, mut peer) = source(&engine, "old", Interest::READABLE);
        peer.write_all(b"x").unwrap();
        state.borrow_mut().0.push(token);
        peers.push(peer);
    }
    turn(&engine, &host);
    assert_eq!(host.names(), ["old"]);
}

fn a_source_may_remove_itself_and_its_token_is_stale(variant: Variant) {
    let engine = engine(variant);
    let host = Notes::new(|_, engine: &Engine<Notes>, token, _| {
        assert!(engine.remove(token).is_some());
        assert!(engine.remove(token).is_none() && !engine.set_interest(token, Interest::BOTH));
    });
    let (_, mut peer) = source(&engine, "a", Interest::READABLE);
    peer.write_all(b"x").unwrap();
    turn(&engine, &host);
    turn(&engine, &host);
    assert_eq!(host.names(), ["a"]);
    assert!(engine.tokens().is_empty());
}

fn a_callback_may_run_a_nested_turn(variant: Variant) {
    let engine = engine(variant);
    let host = Notes::new(|notes, engine: &Engine<Notes>, token, _| {
        if notes.names().len() < 3 {
            engine.set_interest(token, Interest::BOTH);
            turn(engine, notes);
        }
    });
    let (_, mut peer) = source(&engine, "a", Interest::READABLE);
    peer.write_all(b"x").unwrap();
    turn(&engine, &host);
    assert_eq!(host.names(), ["a"; 3]);
}

fn requested_readiness_comes_with_the_next_dispatch_and_without_waiting(variant: Variant) {
    let (engine, host) = (engine(variant), Notes::quiet());
    let (token, _peer) = source(&engine, "a", Interest::NONE);
    engine.request_ready(token, Readiness::WRITABLE);
    assert_eq!(host.names(), [""; 0]);
    engine.poll(&host, None).unwrap();
    assert_eq!(*host.heard.borrow(), [("a", Readiness::WRITABLE)]);
    assert_eq!(*host.parked.borrow(), 0);
}

fn a_flush_asked_for_twice_is_made_once(variant: Variant) {
    let (engine, host) = (engine(variant), Notes::quiet());
    let (token, _peer) = source(&engine, "a", Interest::NONE);
    engine.request_flush(token);
    engine.request_flush(token);
    turn(&engine, &host);
    turn(&engine, &host);
    assert_eq!(*host.flushed.borrow(), ["a"]);
}

fn an_answer_is_flushed_in_the_turn_that_caused_it(variant: Variant) {
    let engine = engine(variant);
    let host = Notes::new(|_, engine: &Engine<Notes>, token, _| engine.request_flush(token));
    let (_, mut peer) = source(&engine, "a", Interest::READABLE);
    peer.write_all(b"x").unwrap();
    turn(&engine, &host);
    assert_eq!(*host.flushed.borrow(), ["a"]);
}

fn the_waker_ends_a_wait_without_limit_and_is_no_source(variant: Variant) {
    let (engine, host) = (engine(variant), Notes::quiet());
    let waker = engine.waker().clone();
    let thread = std::thread::spawn(move || waker.wake());
    engine.poll(&host, None).unwrap();
    thread.join().unwrap();
    assert_eq!((host.names().len(), engine.tokens().len()), (0, 0));
}

fn a_rebuilt_poller_watches_what_the_old_one_did(variant: Variant) {
    let (engine, host) = (engine(variant), Notes::quiet());
    let (_, mut peer) = source(&engine, "a", Interest::READABLE);
    turn(&engine, &host);
    engine.rebuild_poller().unwrap();
    assert_eq!(engine.poller_kind(), variant.kind);
    peer.write_all(b"x").unwrap();
    turn(&engine, &host);
    assert_eq!(host.names(), ["a"]);
}

fn a_live_loop_may_change_its_poller(variant: Variant) {
    let (engine, host) = (engine(variant), Notes::quiet());
    let (_, mut peer) = source(&engine, "a", Interest::READABLE);
    turn(&engine, &host);
    peer.write_all(b"x").unwrap();
    let mut heard = 0;
    for kind in [PollerKind::preferred(), PollerKind::Poll] {
        let changed = engine.change_poller(kind);
        if variant.hosted && kind == PollerKind::Poll {
            assert_eq!(changed.unwrap_err().kind(), io::ErrorKind::Unsupported);
            assert_eq!(engine.poller_kind(), PollerKind::preferred());
        } else {
            changed.unwrap();
            assert_eq!(engine.poller_kind(), kind);
        }
        turn(&engine, &host);
        heard += 1;
        assert_eq!(host.names(), vec!["a"; heard]);
    }
}

fn what_was_watched_before_a_fork_is_watched_after_it(variant: Variant) {
    let (engine, host) = (engine(variant), Notes::quiet());
    let (token, mut peer) = source(&engine, "a", Interest::READABLE);
    turn(&engine, &host);
    let waker = engine.waker().clone();
    let numbers = [waker.read_fd().as_raw_fd(), waker.wake_fd().as_raw_fd()];
    for round in 1..3 {
        engine.release_poller().unwrap();
        engine.restore_poller().unwrap();
        assert_eq!(engine.poller_kind(), variant.kind);
        peer.write_all(b"x").unwrap();
        turn(&engine, &host);
        assert_eq!(host.names(), vec!["a"; round]);
        engine.with_fd(token, |fd| rustix::io::read(fd, &mut [0; 9]).unwrap());
    }
    assert_eq!(
        numbers,
        [waker.read_fd().as_raw_fd(), waker.wake_fd().as_raw_fd()]
    );
    waker.wake();
    engine.poll(&host, None).unwrap();
}

fn a_removed_source_hands_its_descriptor_back_open(variant: Variant) {
    let engine = engine(variant);
    let (token, mut peer) = source(&engine, "a", Interest::READABLE);
    turn(&engine, &Notes::quiet());
    let Some((SourceFd::Owned(fd), "a")) = engine.remove(token) else {
        panic!("not handed back")
    };
    peer.write_all(b"x").unwrap();
    let mut byte = [0];
    UnixStream::from(fd).read_exact(&mut byte).unwrap();
    assert_eq!(byte, *b"x");
}

fn a_watch_that_outlived_its_descriptor_keeps_no_wait_from_waiting(variant: Variant) {
    let (engine, host) = (engine(variant), Notes::quiet());
    let (ours, mut peer) = UnixStream::pair().unwrap();
    let duplicate = ours.try_clone().unwrap();
    // SAFETY: a number for system calls only; that it is closed too early is what is tested.
    let lent = unsafe { BorrowedFd::borrow_raw(ours.as_raw_fd()) };
    let token = engine.insert(SourceFd::from(lent), "a");
    engine.set_interest(token, Interest::READABLE);
    turn(&engine, &host);
    drop(ours);
    drop(engine.remove(token));
    peer.write_all(b"x").unwrap();
    turn(&engine, &host);
    turn(&engine, &host);
    let (start, pause) = (Instant::now(), Duration::from_millis(20));
    engine.poll(&host, Some(pause)).unwrap();
    assert!(start.elapsed() >= pause);
    assert_eq!(host.names(), [""; 0]);
    drop(duplicate);
}

fn run(variant: Variant, case: fn(Variant)) {
    case(variant);
}

on_every_variant! { crate::run:
    undrained_input_is_reported_by_every_turn,
    a_source_without_interest_hears_nothing_not_even_a_hang_up,
    interest_lost_during_the_batch_silences_the_rest_of_it,
    a_descriptor_number_used_again_in_the_batch_is_not_mistaken,
    a_source_may_remove_itself_and_its_token_is_stale,
    a_callback_may_run_a_nested_turn,
    requested_readiness_comes_with_the_next_dispatch_and_without_waiting,
    a_flush_asked_for_twice_is_made_once,
    an_answer_is_flushed_in_the_turn_that_caused_it,
    the_waker_ends_a_wait_without_limit_and_is_no_source,
    a_rebuilt_poller_watches_what_the_old_one_did,
    a_live_loop_may_change_its_poller,
    what_was_watched_before_a_fork_is_watched_after_it,
    a_removed_source_hands_its_descriptor_back_open,
    a_watch_that_outlived_its_descriptor_keeps_no_wait_from_waiting,
}
