//! Signals with callbacks on the loop, over every poller. Signals are the process's: one case at a
//! time.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
#[macro_use]
mod reactor_support;

use std::cell::{Cell, RefCell};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reactor_support::{Log, turn_until};
use ropewalk::{Error, Reactor, Signal};
use rustix::process::{getpid, kill_process};
use variant::Variant;

on_every_variant!(crate::run_case:
    callbacks_run_in_the_order_they_were_added,
    a_removed_callback_is_not_called,
    a_callback_may_remove_itself_and_those_after_it,
    a_waiting_loop_is_woken,
    every_reactor_hears,
    a_storm_loses_no_kind,
    a_panicking_callback_is_reported_and_the_next_runs,
    a_stopping_signal_makes_calls_first,
    signals_that_cannot_be_handled_are_refused,
    nothing_is_held_by_a_reactor_that_is_gone,
);

fn run_case(variant: Variant, case: fn(Variant)) {
    static ONE_BY_ONE: Mutex<()> = Mutex::new(());
    let _alone = ONE_BY_ONE.lock().unwrap_or_else(PoisonError::into_inner);
    case(variant);
}

fn send(signal: Signal) {
    let signal = rustix::process::Signal::from_named_raw(signal.number()).unwrap();
    kill_process(getpid(), signal).unwrap();
}

/// Until the signal that was sent has been delivered, to whichever thread, and handled.
fn turn_until_logged(reactor: &Reactor, log: &Log, count: usize) -> Vec<String> {
    let all = RefCell::new(Vec::new());
    turn_until(reactor, || {
        all.borrow_mut().extend(log.take());
        all.borrow().len() >= count
    });
    reactor.turn(Duration::ZERO).unwrap();
    all.borrow_mut().extend(log.take());
    all.take()
}

fn add(
    reactor: &Reactor,
    signal: Signal,
    log: &Log,
    entry: &'static str,
) -> ropewalk::SignalHandler {
    let log = log.clone();
    reactor.on_signal(signal, move |_| log.add(entry)).unwrap()
}

fn callbacks_run_in_the_order_they_were_added(variant: Variant) {
    let (reactor, log) = (variant.reactor(), Log::default());
    let handlers = ["first", "second", "third"].map(|name| add(&reactor, Signal::USR1, &log, name));
    let _other = add(&reactor, Signal::USR2, &log, "other");
    send(Signal::USR1);
    assert_eq!(
        turn_until_logged(&reactor, &log, 3),
        ["first", "second", "third"]
    );
    assert!(
        handlers
            .iter()
            .all(|handler| handler.signal() == Signal::USR1)
    );
}

fn a_removed_callback_is_not_called(variant: Variant) {
    let (reactor, log) = (variant.reactor(), Log::default());
    let removed = add(&reactor, Signal::USR1, &log, "removed");
    let stays = add(&reactor, Signal::USR1, &log, "stays");
    assert!(removed.remove() && !removed.remove());
    send(Signal::USR1);
    assert_eq!(turn_until_logged(&reactor, &log, 1), ["stays"]);
    drop(stays);
    send(Signal::USR1);
    assert_eq!(
        turn_until_logged(&reactor, &log, 1),
        ["stays"],
        "a handle is no owner"
    );
}

fn a_callback_may_remove_itself_and_those_after_it(variant: Variant) {
    let (reactor, log) = (variant.reactor(), Log::default());
    let handlers = Rc::new(RefCell::new(Vec::new()));
    let (all, noted) = (Rc::clone(&handlers), log.clone());
    let first = reactor.on_signal(Signal::USR1, move |_| {
        noted.add("first");
        assert!(all.borrow().iter().all(ropewalk::SignalHandler::remove));
    });
    handlers.borrow_mut().push(first.unwrap());
    handlers
        .borrow_mut()
        .push(add(&reactor, Signal::USR1, &log, "second"));
    let _third = add(&reactor, Signal::USR1, &log, "third");
    send(Signal::USR1);
    assert_eq!(turn_until_logged(&reactor, &log, 2), ["first", "third"]);
    handlers.take();
}

fn a_waiting_loop_is_woken(variant: Variant) {
    let reactor = variant.reactor();
    let _stop = reactor
        .on_signal(Signal::USR1, |reactor| reactor.stop().unwrap())
        .unwrap();
    reactor.call_when_running(|_| {
        std::thread::spawn(|| send(Signal::USR1));
    });
    reactor_support::run(&reactor);
}

fn every_reactor_hears(variant: Variant) {
    let (one, other, log) = (variant.reactor(), variant.reactor(), Log::default());
    let _one = add(&one, Signal::USR1, &log, "one");
    let _other = add(&other, Signal::USR1, &log, "other");
    send(Signal::USR1);
    assert_eq!(turn_until_logged(&one, &log, 1), ["one"]);
    assert_eq!(turn_until_logged(&other, &log, 1), ["other"]);
}

fn a_storm_loses_no_kind(variant: Variant) {
    let reactor = variant.reactor();
    let kinds = [Signal::USR1, Signal::USR2, Signal::WINCH, Signal::HUP];
    let counts: Vec<_> = kinds.iter().map(|_| Rc::<Cell<usize>>::default()).collect();
    let add = |(kind, count): (&Signal, &Rc<Cell<usize>>)| {
        let count = Rc::clone(count);
        reactor
            .on_signal(*kind, move |_| count.set(count.get() + 1))
            .unwrap()
    };
    let _handlers: Vec<_> = kinds.iter().zip(&counts).map(add).collect();
    let storm = std::thread::spawn(move || {
        for number in 0..10_000 {
            send(kinds[number % kinds.len()]);
        }
    });
    turn_until(&reactor, || storm.is_finished());
    storm.join().unwrap();
    turn_until(&reactor, || counts.iter().all(|count| count.get() > 0));
    // And after the storm each is heard of as before.
    for (kind, count) in kinds.iter().zip(&counts) {
        reactor.turn(Duration::ZERO).unwrap();
        let before = count.get();
        send(*kind);
        turn_until(&reactor, || count.get() > before);
    }
}

fn a_panicking_callback_is_reported_and_the_next_runs(variant: Variant) {
    let (reactor, log) = (variant.reactor(), Log::default());
    log.record_failures(&reactor);
    let _panics = reactor
        .on_signal(Signal::USR1, |_| panic!("as wanted"))
        .unwrap();
    let _next = add(&reactor, Signal::USR1, &log, "next");
    send(Signal::USR1);
    let heard = turn_until_logged(&reactor, &log, 2);
    assert_eq!(
        heard,
        ["a signal's callback failed: panicked: as wanted", "next"]
    );
}

fn a_stopping_signal_makes_calls_first(variant: Variant) {
    let (reactor, log) = (variant.prepare(variant.builder()), Log::default());
    let noted = log.clone();
    let _int = reactor
        .on_signal(Signal::TERM, move |reactor| {
            noted.add(format!("{:?}", reactor.is_running()))
        })
        .unwrap();
    reactor.call_when_running(|_| send(Signal::TERM));
    reactor_support::run(&reactor);
    assert_eq!(log.take(), ["true"]);
    assert_eq!(reactor.exit_signal(), Some(Signal::TERM.number()));
}

fn signals_that_cannot_be_handled_are_refused(variant: Variant) {
    let reactor = variant.reactor();
    for signal in [
        Signal::KILL,
        Signal::STOP,
        Signal::SEGV,
        Signal::from_number(0),
    ] {
        let refused = reactor.on_signal(signal, |_| {});
        assert!(
            matches!(refused, Err(Error::Os { source, .. })
            if source.kind() == std::io::ErrorKind::InvalidInput),
            "{signal}"
        );
    }
}

fn nothing_is_held_by_a_reactor_that_is_gone(variant: Variant) {
    let held = Rc::new(());
    let reactor = variant.reactor();
    let captured = Rc::clone(&held);
    let handler = reactor.on_signal(Signal::USR1, move |_| {
        let _held = &captured;
    });
    drop(reactor);
    assert_eq!(Rc::strong_count(&held), 1);
    assert!(!handler.unwrap().remove());
}

/// The line with which a child says that it can be sent a signal.
const READY: &str = "child is ready";

/// Which signal ends the ignored test `case`, run in a process of its own and sent SIGUSR1.
fn ended_by(case: &str) -> Option<i32> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", case])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains(READY) {
        line.clear();
        assert_ne!(
            lines.read_line(&mut line).unwrap(),
            0,
            "the child ended early"
        );
    }
    let pid = rustix::process::Pid::from_child(&child);
    kill_process(pid, rustix::process::Signal::USR1).unwrap();
    child.wait().unwrap().signal()
}

fn wait_a_minute(reactor: &Reactor) {
    reactor.call_when_running(|_| println!("{READY}"));
    reactor.call_later(Duration::from_secs(60), |_| std::process::abort());
    reactor.run().unwrap();
}

#[test]
fn the_default_action_is_back_when_the_last_handler_is_gone() {
    assert_eq!(
        ended_by("child_that_removed_its_handlers"),
        Some(Signal::USR1.number())
    );
    assert_eq!(ended_by("child_that_removed_one_of_two_handlers"), None);
}

#[test]
#[ignore = "run in a process of its own by another test"]
fn child_that_removed_its_handlers() {
    let reactor = Reactor::new().unwrap();
    let handlers = [0; 2].map(|_| reactor.on_signal(Signal::USR1, |_| {}).unwrap());
    assert!(handlers.iter().all(ropewalk::SignalHandler::remove));
    wait_a_minute(&reactor);
}

#[test]
#[ignore = "run in a process of its own by another test"]
fn child_that_removed_one_of_two_handlers() {
    let reactor = Reactor::new().unwrap();
    let removed = reactor.on_signal(Signal::USR1, |_| {}).unwrap();
    let _stop = reactor
        .on_signal(Signal::USR1, |reactor| reactor.stop().unwrap())
        .unwrap();
    assert!(removed.remove());
    wait_a_minute(&reactor);
}
