//! The life of a reactor: run, stop, crash, turns outside and inside of `run`.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
#[macro_use]
mod reactor_support;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use reactor_support::{Log, reactor, run, stop};
use ropewalk::{Deferred, Error, Misuse, Phase, Reactor, State};
use variant::Variant;

on_every_poller!(
    a_stop_ends_the_run_for_good,
    a_crash_ends_the_run_and_the_reactor_may_run_again,
    a_stop_fires_shutdown_later_and_not_itself,
    misuse_is_told_and_changes_nothing,
    a_stop_during_startup_lets_startup_complete,
    a_crash_during_startup_leaves_the_reactor_crashed,
    startup_waits_for_its_before_triggers_and_turns_meanwhile,
    a_crash_while_shutdown_waits_ends_the_run,
    shutdown_fired_by_hand_leaves_a_fresh_reactor_usable,
    shutdown_fired_by_hand_ends_a_run_that_may_be_repeated,
    a_turn_works_in_every_state,
    a_callback_may_run_a_nested_turn,
    a_nested_turn_without_limit_ends_when_the_loop_is_left,
    a_crashed_reactor_may_run_again_inside_the_run_it_left,
    the_loop_outlives_panics,
    calls_when_running_are_made_in_order_and_at_once_when_it_runs,
    a_dropped_reactor_drops_what_it_kept,
    two_reactors_run_in_two_threads,
    two_reactors_run_inside_each_other,
);

fn misuse(result: ropewalk::Result<()>) -> Misuse {
    match result {
        Err(Error::Misuse(misuse)) => misuse,
        other => panic!("expected misuse, not {other:?}"),
    }
}

fn a_stop_ends_the_run_for_good(variant: Variant) {
    let reactor = reactor(variant);
    assert_eq!(reactor.state(), State::Fresh);
    reactor.call_when_running(|reactor| {
        assert_eq!(reactor.state(), State::Running);
        stop(reactor);
        assert_eq!(reactor.state(), State::StopRequested { started: true });
    });
    run(&reactor);
    assert_eq!(
        (reactor.state(), reactor.is_running()),
        (State::Stopped, false)
    );
    assert_eq!(misuse(reactor.run()), Misuse::NotRestartable);
    assert_eq!(reactor.exit_signal(), None);
}

fn a_crash_ends_the_run_and_the_reactor_may_run_again(variant: Variant) {
    let reactor = reactor(variant);
    let fired = Rc::new(Cell::new(false));
    let flag = Rc::clone(&fired);
    reactor.add_system_event_trigger(Phase::During, "shutdown", move |_| flag.set(true));
    for _ in 0..3 {
        reactor.call_when_running(Reactor::crash);
        run(&reactor);
        assert_eq!((reactor.state(), fired.get()), (State::Crashed, false));
    }
    assert_eq!(misuse(reactor.stop()), Misuse::NotRunning);
    reactor.call_when_running(stop);
    run(&reactor);
    assert_eq!((reactor.state(), fired.get()), (State::Stopped, true));
}

fn a_stop_fires_shutdown_later_and_not_itself(variant: Variant) {
    let reactor = reactor(variant);
    let log = Log::default();
    let entry = log.clone();
    reactor.add_system_event_trigger(Phase::Before, "shutdown", move |reactor| {
        entry.add(format!("shutdown, running: {}", reactor.is_running()));
    });
    let entry = log.clone();
    reactor.call_later(Duration::ZERO, move |reactor| {
        stop(reactor);
        entry.add("stopped");
    });
    run(&reactor);
    assert_eq!(log.take(), ["stopped", "shutdown, running: true"]);
}

fn misuse_is_told_and_changes_nothing(variant: Variant) {
    let reactor = reactor(variant);
    assert_eq!(misuse(reactor.stop()), Misuse::NotRunning);
    assert_eq!(reactor.state(), State::Fresh);
    let seen = Rc::new(Cell::new(None));
    let after = Rc::clone(&seen);
    reactor.add_system_event_trigger(Phase::After, "shutdown", move |reactor| {
        after.set(Some((misuse(reactor.run()), misuse(reactor.stop()))));
    });
    reactor.call_when_running(|reactor| {
        assert_eq!(misuse(reactor.run()), Misuse::AlreadyRunning);
        stop(reactor);
        assert_eq!(misuse(reactor.stop()), Misuse::NotRunning);
    });
    let failed = Log::default();
    failed.record_failures(&reactor);
    run(&reactor);
    assert_eq!(
        seen.get(),
        Some((Misuse::NotRestartable, Misuse::NotRunning))
    );
    assert!(failed.take().is_empty());
}

fn a_stop_during_startup_lets_startup_complete(variant: Variant) {
    let reactor = reactor(variant);
    let log = Log::default();
    reactor.add_system_event_trigger(Phase::Before, "startup", |reactor| {
        assert!(!reactor.is_running());
        stop(reactor);
        assert!(!reactor.is_running());
    });
    for (phase, event, text) in [
        (Phase::During, "startup", "during startup"),
        (Phase::After, "startup", "after startup"),
        (Phase::Before, "shutdown", "before shutdown"),
    ] {
        let log = log.clone();
        reactor.add_system_event_trigger(phase, event, move |reactor| {
            log.add(format!("{text}, running: {}", reactor.is_running()));
        });
    }
    run(&reactor);
    let expected = ["during startup", "after startup", "before shutdown"];
    assert_eq!(
        log.take(),
        expected.map(|text| format!("{text}, running: true"))
    );
    assert_eq!(reactor.state(), State::Stopped);
}

fn a_crash_during_startup_leaves_the_reactor_crashed(variant: Variant) {
    let reactor = reactor(variant);
    let after = Rc::new(Cell::new(false));
    let flag = Rc::clone(&after);
    reactor.add_system_event_trigger(Phase::Before, "startup", Reactor::crash);
    reactor.add_system_event_trigger(Phase::After, "startup", move |_| flag.set(true));
    run(&reactor);
    assert_eq!((reactor.state(), after.get()), (State::Crashed, true));
    assert!(!reactor.is_running());
}

fn startup_waits_for_its_before_triggers_and_turns_meanwhile(variant: Variant) {
    let reactor = reactor(variant);
    let log = Log::default();
    let entry = log.clone();
    reactor.add_system_event_trigger(Phase::Before, "startup", move |reactor| {
        let (sender, ready) = Deferred::new();
        reactor.call_later(Duration::from_millis(2), move |reactor| {
            entry.add(format!("ready, {:?}", reactor.state()));
            sender.fire(());
        });
        ready
    });
    let entry = log.clone();
    reactor.call_when_running(move |reactor| {
        entry.add(format!("running, {:?}", reactor.state()));
        stop(reactor);
    });
    run(&reactor);
    assert_eq!(log.take(), ["ready, Starting", "running, Running"]);
}

fn a_crash_while_shutdown_waits_ends_the_run(variant: Variant) {
    let reactor = reactor(variant);
    let log = Log::default();
    let (sender, never) = Deferred::new();
    reactor.add_system_event_trigger(Phase::Before, "shutdown", move |reactor| {
        reactor.call_later(Duration::ZERO, Reactor::crash);
        never
    });
    let entry = log.clone();
    reactor.add_system_event_trigger(Phase::During, "shutdown", move |reactor| {
        entry.add(format!("{:?}", reactor.state()));
    });
    reactor.call_when_running(stop);
    run(&reactor);
    assert_eq!((reactor.state(), log.take()), (State::Stopped, vec![]));
    // The rest of the shutdown runs when its time comes, on a loop that is no more.
    sender.fire(());
    assert_eq!(log.take(), ["Stopped"]);
    assert_eq!(misuse(reactor.run()), Misuse::NotRestartable);
}

fn shutdown_fired_by_hand_leaves_a_fresh_reactor_usable(variant: Variant) {
    let reactor = reactor(variant);
    let count = Rc::new(Cell::new(0));
    let counter = Rc::clone(&count);
    reactor.add_system_event_trigger(Phase::During, "shutdown", move |_| {
        counter.set(counter.get() + 1);
    });
    reactor.fire_system_event("shutdown");
    reactor.fire_system_event("shutdown");
    assert_eq!((reactor.state(), count.get()), (State::Fresh, 1));
    reactor.call_when_running(stop);
    run(&reactor);
    assert_eq!((reactor.state(), count.get()), (State::Stopped, 1));
}

fn shutdown_fired_by_hand_ends_a_run_that_may_be_repeated(variant: Variant) {
    let reactor = reactor(variant);
    reactor.call_when_running(|reactor| reactor.fire_system_event("shutdown"));
    run(&reactor);
    assert_eq!(reactor.state(), State::Crashed);
    reactor.call_when_running(stop);
    run(&reactor);
    assert_eq!(reactor.state(), State::Stopped);
}

fn a_turn_works_in_every_state(variant: Variant) {
    let reactor = reactor(variant);
    let count = Rc::new(Cell::new(0));
    let turn = |expected: u32| {
        let counter = Rc::clone(&count);
        reactor.call_later(Duration::ZERO, move |_| counter.set(counter.get() + 1));
        reactor.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(count.get(), expected);
    };
    turn(1);
    reactor.call_when_running(Reactor::crash);
    run(&reactor);
    turn(2);
    reactor.call_when_running(stop);
    run(&reactor);
    turn(3);
    assert_eq!(reactor.state(), State::Stopped);
}

fn a_callback_may_run_a_nested_turn(variant: Variant) {
    let reactor = reactor(variant);
    let log = Log::default();
    let [outer, inner, thread] = [(); 3].map(|()| log.clone());
    reactor.call_when_running(move |reactor| {
        reactor.call_later(Duration::ZERO, move |_| inner.add("timer"));
        let deferred = reactor.spawn_local(async move { thread.add("task") });
        outer.add("begin");
        reactor.turn(Some(Duration::ZERO)).unwrap();
        assert!(deferred.is_ready());
        outer.add("end");
        stop(reactor);
        // This one begins the shutdown, and the loop is left when the callback has returned.
        reactor.turn(None).unwrap();
        outer.add(format!("{:?}", reactor.state()));
    });
    run(&reactor);
    assert_eq!(log.take(), ["begin", "task", "timer", "end", "Draining"]);
}

fn a_nested_turn_without_limit_ends_when_the_loop_is_left(variant: Variant) {
    let reactor = reactor(variant);
    reactor.call_when_running(|reactor| {
        reactor.call_later(Duration::ZERO, Reactor::crash);
        reactor.turn(None).unwrap();
        assert_eq!(reactor.state(), State::Crashed);
    });
    let failed = Log::default();
    failed.record_failures(&reactor);
    run(&reactor);
    assert!(failed.take().is_empty());
}

fn a_crashed_reactor_may_run_again_inside_the_run_it_left(variant: Variant) {
    let reactor = reactor(variant);
    let failed = Log::default();
    failed.record_failures(&reactor);
    reactor.call_when_running(|reactor| {
        reactor.crash();
        reactor.call_when_running(stop);
        run(reactor);
        assert_eq!(reactor.state(), State::Stopped);
    });
    run(&reactor);
    assert_eq!((reactor.state(), failed.take()), (State::Stopped, vec![]));
}

fn the_loop_outlives_panics(variant: Variant) {
    let reactor = reactor(variant);
    let log = Log::default();
    log.record_failures(&reactor);
    reactor.call_later(Duration::ZERO, |_| panic!("in a delayed call"));
    reactor
        .remote()
        .call_from_thread(|_| panic!("in a thread's call"));
    reactor.call_when_running(|_| panic!("in a trigger"));
    reactor.spawn_local(async { panic!("in a task") }).ignore();
    reactor.call_in_thread(|| panic!("in a job")).unwrap();
    reactor.call_later(Duration::from_millis(1), stop);
    run(&reactor);
    let mut failures = log.take();
    failures.sort();
    assert_eq!(
        failures,
        [
            "a call from a thread failed: panicked: in a thread's call",
            "a call in a thread failed: panicked: in a job",
            "a delayed call failed: panicked: in a delayed call",
            "a task failed: panicked: in a task",
            "a trigger failed: panicked: in a trigger",
        ]
    );
}

fn calls_when_running_are_made_in_order_and_at_once_when_it_runs(variant: Variant) {
    let reactor = reactor(variant);
    let log = Log::default();
    for text in ["first", "second"] {
        let log = log.clone();
        assert!(reactor.call_when_running(move |_| log.add(text)).is_some());
    }
    let entry = log.clone();
    reactor.call_when_running(move |reactor| {
        let now = entry.clone();
        assert!(
            reactor
                .call_when_running(move |_| now.add("at once"))
                .is_none()
        );
        entry.add("third");
        stop(reactor);
    });
    run(&reactor);
    assert_eq!(log.take(), ["first", "second", "at once", "third"]);
}

fn a_dropped_reactor_drops_what_it_kept(variant: Variant) {
    let held = Rc::new(());
    let fresh = reactor(variant);
    let [timer, trigger, task] = [(); 3].map(|()| Rc::clone(&held));
    fresh.call_later(Duration::from_secs(1), move |_| drop(timer));
    fresh.call_when_running(move |_| drop(trigger));
    let deferred = fresh.spawn_local(async move {
        std::future::pending::<()>().await;
        drop(task);
    });
    let remote = fresh.remote();
    drop(fresh);
    assert_eq!(Rc::strong_count(&held), 1);
    assert!(matches!(deferred.try_take(), Some(Err(Error::Abandoned))));
    assert!(!remote.call_from_thread(|_| {}));
}

fn two_reactors_run_in_two_threads(variant: Variant) {
    let run_one = move || {
        let reactor = reactor(variant);
        let turns = Rc::new(Cell::new(0));
        fn again(reactor: &Reactor, turns: Rc<Cell<u32>>) {
            turns.set(turns.get() + 1);
            match turns.get() {
                1000 => stop(reactor),
                _ => drop(reactor.call_later(Duration::ZERO, move |r| again(r, turns))),
            }
        }
        let first = Rc::clone(&turns);
        reactor.call_when_running(move |reactor| again(reactor, first));
        run(&reactor);
        turns.get()
    };
    let threads = [std::thread::spawn(run_one), std::thread::spawn(run_one)];
    assert_eq!(threads.map(|thread| thread.join().unwrap()), [1000, 1000]);
}

fn two_reactors_run_inside_each_other(variant: Variant) {
    let [outer, inner] = [reactor(variant), reactor(variant)];
    let nested = inner.clone();
    inner.call_when_running(stop);
    outer.call_when_running(move |outer| {
        run(&nested);
        assert!(outer.is_running());
        stop(outer);
    });
    let failed = Log::default();
    failed.record_failures(&outer);
    run(&outer);
    assert!(failed.take().is_empty());
    assert_eq!([outer.state(), inner.state()], [State::Stopped; 2]);
}
