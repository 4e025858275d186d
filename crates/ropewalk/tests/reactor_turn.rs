//! What one turn does, in which order, and what it leaves for the next.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
#[macro_use]
mod reactor_support;

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use reactor_support::{Log, reactor, run, stop};
use ropewalk::{Descriptor, Disconnect, Phase, Reactor};
use variant::Variant;

on_every_poller!(
    a_turn_goes_from_thread_calls_over_tasks_and_timers_to_readiness,
    a_stop_in_a_readiness_handler_begins_the_shutdown_in_the_same_turn,
    a_stop_before_the_wait_keeps_it_from_blocking,
    readiness_is_reported_again_until_it_is_drained,
    timers_without_delay_do_not_starve_readiness,
    a_turn_waits_as_long_as_it_may,
    a_handler_may_remove_another_that_is_ready_too,
    shutdown_cuts_what_is_watched_before_the_during_triggers,
    a_panic_while_one_is_cut_does_not_save_the_others,
    a_crash_cuts_nothing,
);

type Handler = Box<dyn Fn(&Reactor, &UnixStream)>;

/// A descriptor that calls a closure for each readiness.
struct Watched {
    stream: UnixStream,
    ready: Handler,
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Descriptor for Watched {
    fn read_ready(&self, reactor: &Reactor) -> io::Result<()> {
        (self.ready)(reactor, &self.stream);
        Ok(())
    }
}

/// Watches a descriptor that is readable from the start; closes nothing before it is dropped.
fn readable(
    reactor: &Reactor,
    ready: impl Fn(&Reactor, &UnixStream) + 'static,
) -> (Rc<Watched>, UnixStream) {
    let (stream, mut peer) = UnixStream::pair().unwrap();
    peer.write_all(b"12").unwrap();
    let watched = Rc::new(Watched {
        stream,
        ready: Box::new(ready),
    });
    reactor.add_reader(watched.clone()).unwrap();
    (watched, peer)
}

fn take_byte(mut stream: &UnixStream) {
    stream.read_exact(&mut [0]).unwrap();
}

fn a_turn_goes_from_thread_calls_over_tasks_and_timers_to_readiness(variant: Variant) {
    thread_local! {
        static ORDER: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
    }
    let add = |text| ORDER.with_borrow_mut(|order| order.push(text));
    let reactor = reactor(variant);
    let _kept = readable(&reactor, move |reactor, stream| {
        take_byte(stream);
        add("readiness");
        // All of these wait for the next turn.
        reactor
            .remote()
            .call_from_thread(move |_| add("thread call"));
        reactor.spawn_local(async move { add("task") }).ignore();
        reactor.call_later(Duration::ZERO, move |_| add("timer"));
    });
    reactor.call_later(Duration::ZERO, move |_| add("timer"));
    reactor.spawn_local(async move { add("task") }).ignore();
    reactor
        .remote()
        .call_from_thread(move |_| add("thread call"));
    for _ in 0..2 {
        reactor.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(ORDER.take(), ["thread call", "task", "timer", "readiness"]);
    }
}

fn a_stop_in_a_readiness_handler_begins_the_shutdown_in_the_same_turn(variant: Variant) {
    let reactor = reactor(variant);
    let log = Log::default();
    let calls = log.clone();
    let _kept = readable(&reactor, move |reactor, _| {
        calls.add("ready");
        stop(reactor);
    });
    let shutdown = log.clone();
    reactor.add_system_event_trigger(Phase::Before, "shutdown", move |_| shutdown.add("shutdown"));
    run(&reactor);
    // A second turn would have reported the undrained input again, and stopped twice.
    assert_eq!(log.take(), ["ready", "shutdown"]);
}

fn a_stop_before_the_wait_keeps_it_from_blocking(variant: Variant) {
    let reactor = reactor(variant);
    reactor.call_when_running(stop);
    // Without this the wait would have a deadline of its own.
    let start = Instant::now();
    reactor.call_later(Duration::from_secs(30), |_| {});
    reactor.run().unwrap();
    assert!(start.elapsed() < Duration::from_secs(30));
}

fn readiness_is_reported_again_until_it_is_drained(variant: Variant) {
    let reactor = reactor(variant);
    let count = Rc::new(Cell::new(0));
    let counter = Rc::clone(&count);
    let _kept = readable(&reactor, move |_, stream| {
        take_byte(stream);
        counter.set(counter.get() + 1);
    });
    for expected in [1, 2, 2] {
        reactor.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(count.get(), expected);
    }
}

fn timers_without_delay_do_not_starve_readiness(variant: Variant) {
    fn again(reactor: &Reactor) {
        reactor.call_later(Duration::ZERO, again);
    }
    let reactor = reactor(variant);
    again(&reactor);
    let _kept = readable(&reactor, |reactor, stream| {
        take_byte(stream);
        stop(reactor);
    });
    run(&reactor);
}

fn a_turn_waits_as_long_as_it_may(variant: Variant) {
    let reactor = reactor(variant);
    let waited = |limit| {
        let start = Instant::now();
        reactor.turn(Some(limit)).unwrap();
        start.elapsed()
    };
    let limit = Duration::from_millis(3);
    assert!(waited(limit) >= limit);
    // The earlier of the limit and the next deadline counts.
    let call = reactor.call_later(2 * limit, |_| {});
    assert!(waited(Duration::from_secs(60)) < Duration::from_secs(60));
    assert!(
        call.deadline()
            .is_none_or(|deadline| deadline <= reactor.now())
    );
}

fn a_handler_may_remove_another_that_is_ready_too(variant: Variant) {
    let reactor = reactor(variant);
    let both: Rc<RefCell<Vec<Rc<Watched>>>> = Rc::default();
    let count = Rc::new(Cell::new(0));
    let _kept = [(); 2].map(|()| {
        let (all, counter) = (Rc::clone(&both), Rc::clone(&count));
        let (watched, peer) = readable(&reactor, move |reactor, _| {
            counter.set(counter.get() + 1);
            for watched in all.borrow_mut().drain(..) {
                reactor.remove_reader(&watched);
            }
        });
        both.borrow_mut().push(watched);
        peer
    });
    for _ in 0..2 {
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!((count.get(), reactor.readers().len()), (1, 0));
}

/// A descriptor that logs its end, and panics then if told so.
struct Ending {
    stream: UnixStream,
    log: Log,
    panics: bool,
}

impl AsFd for Ending {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Descriptor for Ending {
    fn connection_lost(&self, reason: Disconnect) {
        self.log.add(reason.to_string());
        assert!(!self.panics, "at the end");
    }
}

/// Watches a descriptor to which nothing happens but its end.
fn watch_end(reactor: &Reactor, log: &Log, panics: bool) -> UnixStream {
    let ((stream, peer), log) = (UnixStream::pair().unwrap(), log.clone());
    reactor
        .add_reader(Rc::new(Ending {
            stream,
            log,
            panics,
        }))
        .unwrap();
    peer
}

fn shutdown_cuts_what_is_watched_before_the_during_triggers(variant: Variant) {
    let reactor = reactor(variant);
    let log = Log::default();
    let _kept = watch_end(&reactor, &log, false);
    for phase in [Phase::Before, Phase::During] {
        let log = log.clone();
        reactor.add_system_event_trigger(phase, "shutdown", move |_| log.add(format!("{phase:?}")));
    }
    reactor.call_when_running(stop);
    run(&reactor);
    let cut = Disconnect::Shutdown.to_string();
    assert_eq!(log.take(), ["Before", cut.as_str(), "During"]);
    assert!(reactor.readers().is_empty());
}

fn a_panic_while_one_is_cut_does_not_save_the_others(variant: Variant) {
    let reactor = reactor(variant);
    let (log, failed) = (Log::default(), Log::default());
    failed.record_failures(&reactor);
    let _kept = [(); 3].map(|()| watch_end(&reactor, &log, true));
    reactor.disconnect_all();
    assert_eq!((log.take().len(), failed.take().len()), (3, 3));
    assert!(reactor.readers().is_empty());
}

fn a_crash_cuts_nothing(variant: Variant) {
    let reactor = reactor(variant);
    let log = Log::default();
    let _kept = watch_end(&reactor, &log, false);
    reactor.call_when_running(Reactor::crash);
    run(&reactor);
    assert_eq!((log.take(), reactor.readers().len()), (vec![], 1));
}
