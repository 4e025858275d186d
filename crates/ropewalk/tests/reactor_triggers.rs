//! System event triggers: order, waiting, removal, failures.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod reactor_support;

use std::rc::Rc;

use reactor_support::{Log, run, stop};
use ropewalk::{Deferred, Error, Phase, Reactor};
use variant::Variant;

fn reactor() -> Reactor {
    reactor_support::reactor(Variant::ANY)
}

/// Adds a trigger that logs `text`.
fn add(reactor: &Reactor, log: &Log, phase: Phase, event: &'static str, text: &'static str) {
    let log = log.clone();
    reactor.add_system_event_trigger(phase, event, move |_| log.add(text));
}

#[test]
fn phases_run_in_order_and_each_first_in_first_out() {
    let (reactor, log) = (reactor(), Log::default());
    add(&reactor, &log, Phase::After, "event", "after");
    add(&reactor, &log, Phase::During, "event", "during 1");
    add(&reactor, &log, Phase::Before, "event", "before 1");
    add(&reactor, &log, Phase::During, "event", "during 2");
    add(&reactor, &log, Phase::Before, "event", "before 2");
    reactor.fire_system_event("event");
    assert_eq!(
        log.take(),
        ["before 1", "before 2", "during 1", "during 2", "after"]
    );
}

#[test]
fn a_trigger_runs_once() {
    let (reactor, log) = (reactor(), Log::default());
    add(&reactor, &log, Phase::During, "event", "once");
    reactor.fire_system_event("event");
    reactor.fire_system_event("event");
    assert_eq!(log.take(), ["once"]);
}

#[test]
fn an_unknown_event_has_no_triggers() {
    let (reactor, log) = (reactor(), Log::default());
    add(&reactor, &log, Phase::During, "event", "not this one");
    reactor.fire_system_event(String::from("another"));
    assert_eq!(log.take(), [""; 0]);
    reactor.fire_system_event("event".to_owned());
    assert_eq!(log.take(), ["not this one"]);
}

#[test]
fn the_later_phases_wait_for_every_result_of_before() {
    let (reactor, log) = (reactor(), Log::default());
    let ((first, one), (second, two)) = (Deferred::new(), Deferred::new());
    reactor.add_system_event_trigger(Phase::Before, "event", |_| one);
    reactor.add_system_event_trigger(Phase::Before, "event", |_| Some(two));
    add(&reactor, &log, Phase::Before, "event", "before");
    add(&reactor, &log, Phase::During, "event", "during");
    add(&reactor, &log, Phase::After, "event", "after");
    reactor.fire_system_event("event");
    assert_eq!(log.take(), ["before"]);
    second.fire(());
    assert_eq!(log.take(), [""; 0]);
    first.fire(());
    assert_eq!(log.take(), ["during", "after"]);
}

#[test]
fn a_result_that_comes_while_before_still_runs_begins_nothing_early() {
    let (reactor, log) = (reactor(), Log::default());
    let (sender, deferred) = Deferred::new();
    reactor.add_system_event_trigger(Phase::Before, "event", |_| deferred);
    let entry = log.clone();
    reactor.add_system_event_trigger(Phase::Before, "event", move |_| {
        sender.fire(());
        entry.add("fired");
    });
    add(&reactor, &log, Phase::Before, "event", "last before");
    add(&reactor, &log, Phase::During, "event", "during");
    reactor.fire_system_event("event");
    assert_eq!(log.take(), ["fired", "last before", "during"]);
}

#[test]
fn a_failed_wait_is_reported_and_the_event_goes_on() {
    let (reactor, log) = (reactor(), Log::default());
    log.record_failures(&reactor);
    reactor.add_system_event_trigger(Phase::Before, "event", |_| {
        Deferred::failed(Error::Abandoned)
    });
    add(&reactor, &log, Phase::During, "event", "during");
    reactor.fire_system_event("event");
    let expected = format!("what a trigger waited for failed: {}", Error::Abandoned);
    assert_eq!(log.take(), [expected.as_str(), "during"]);
}

#[test]
fn a_panic_is_reported_and_the_event_goes_on() {
    for panicking in [Phase::Before, Phase::During, Phase::After] {
        let (reactor, log) = (reactor(), Log::default());
        log.record_failures(&reactor);
        reactor.add_system_event_trigger(panicking, "event", |_| -> () { panic!("in a trigger") });
        add(&reactor, &log, Phase::After, "event", "after");
        reactor.fire_system_event("event");
        assert_eq!(
            log.take(),
            ["a trigger failed: panicked: in a trigger", "after"]
        );
    }
}

#[test]
fn a_removed_trigger_does_not_run_and_is_dropped() {
    let (reactor, log) = (reactor(), Log::default());
    let held = Rc::new(());
    let kept = Rc::clone(&held);
    let removed = reactor.add_system_event_trigger(Phase::During, "event", move |_| drop(kept));
    add(&reactor, &log, Phase::During, "event", "stays");
    assert!(reactor.remove_system_event_trigger(removed));
    assert_eq!(Rc::strong_count(&held), 1);
    reactor.fire_system_event("event");
    assert_eq!(log.take(), ["stays"]);
}

#[test]
fn a_trigger_that_has_run_cannot_be_removed() {
    let reactor = reactor();
    let ran = reactor.add_system_event_trigger(Phase::During, "event", |_| {});
    reactor.fire_system_event("event");
    assert!(!reactor.remove_system_event_trigger(ran));
}

#[test]
fn a_trigger_may_remove_the_next_one_and_add_others() {
    let (reactor, log) = (reactor(), Log::default());
    let entry = log.clone();
    let (sender, receiver) = std::sync::mpsc::channel();
    reactor.add_system_event_trigger(Phase::Before, "event", move |reactor| {
        assert!(reactor.remove_system_event_trigger(receiver.recv().unwrap()));
        add(reactor, &entry, Phase::Before, "event", "added to before");
        add(reactor, &entry, Phase::After, "event", "added to after");
    });
    let next = reactor.add_system_event_trigger(Phase::Before, "event", |_| -> () {
        panic!("this one is removed")
    });
    sender.send(next).unwrap();
    log.record_failures(&reactor);
    reactor.fire_system_event("event");
    assert_eq!(log.take(), ["added to before", "added to after"]);
}

#[test]
fn events_do_not_disturb_each_other() {
    let (reactor, log) = (reactor(), Log::default());
    let (sender, deferred) = Deferred::new();
    reactor.add_system_event_trigger(Phase::Before, "slow", |_| deferred);
    add(&reactor, &log, Phase::During, "slow", "slow");
    add(&reactor, &log, Phase::During, "quick", "quick");
    reactor.fire_system_event("slow");
    reactor.fire_system_event("quick");
    assert_eq!(log.take(), ["quick"]);
    sender.fire(());
    assert_eq!(log.take(), ["slow"]);
}

#[test]
fn a_trigger_may_fire_another_event() {
    let (reactor, log) = (reactor(), Log::default());
    add(&reactor, &log, Phase::During, "inner", "inner");
    let entry = log.clone();
    reactor.add_system_event_trigger(Phase::During, "outer", move |reactor| {
        reactor.fire_system_event("inner");
        entry.add("outer");
    });
    reactor.fire_system_event("outer");
    assert_eq!(log.take(), ["inner", "outer"]);
}

#[test]
fn shutdown_stops_the_reactor_before_its_during_triggers() {
    let (reactor, log) = (reactor(), Log::default());
    for phase in [Phase::Before, Phase::During, Phase::After] {
        let entry = log.clone();
        reactor.add_system_event_trigger(phase, "shutdown", move |reactor| {
            entry.add(format!("{phase:?}: {}", reactor.is_running()));
        });
    }
    reactor.call_when_running(stop);
    run(&reactor);
    assert_eq!(
        log.take(),
        ["Before: true", "During: false", "After: false"]
    );
}

#[test]
fn a_wait_that_outlives_its_reactor_does_nothing() {
    let (reactor, log) = (reactor(), Log::default());
    let (sender, deferred) = Deferred::new();
    reactor.add_system_event_trigger(Phase::Before, "event", |_| deferred);
    add(&reactor, &log, Phase::During, "event", "during");
    reactor.fire_system_event("event");
    drop(reactor);
    sender.fire(());
    assert_eq!(log.take(), [""; 0]);
}
