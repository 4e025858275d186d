//! Calls from threads, calls in threads, and the pool.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
#[macro_use]
mod reactor_support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use reactor_support::{Log, reactor, run, stop, turn_until};
use ropewalk::{Error, Phase, Remote};
use variant::Variant;

on_every_poller!(
    nothing_is_lost_from_eight_threads_and_each_is_in_order,
    a_thread_wakes_the_loop_and_may_stop_it,
    calls_made_before_the_run_wait_for_it,
    a_call_that_queues_another_does_not_starve_the_loop,
    a_nested_turn_makes_no_call_twice,
    a_call_from_the_own_thread_ends_the_wait,
    a_late_stop_from_a_thread_is_no_failure,
    a_result_comes_back_to_the_thread_of_the_loop,
    a_panicking_job_fails_its_deferred,
    shutdown_waits_for_busy_jobs_and_delivers_their_results,
    the_pool_has_as_many_threads_as_suggested,
    a_pool_of_none_gives_its_results_up_at_the_stop,
    a_job_may_outlive_the_interest_in_it,
);

fn nothing_is_lost_from_eight_threads_and_each_is_in_order(variant: Variant) {
    const CALLS: usize = 2_000;
    let reactor = reactor(variant);
    thread_local! {
        static SEEN: RefCell<[usize; 8]> = const { RefCell::new([0; 8]) };
    }
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let remote = reactor.remote();
            thread::spawn(move || {
                for call in 0..CALLS {
                    remote.call_from_thread(move |reactor| {
                        SEEN.with_borrow_mut(|seen| {
                            assert_eq!(seen[number], call, "thread {number}");
                            seen[number] += 1;
                        });
                        if SEEN.with_borrow(|seen| *seen == [CALLS; 8]) {
                            stop(reactor);
                        }
                    });
                }
            })
        })
        .collect();
    let failed = Log::default();
    failed.record_failures(&reactor);
    run(&reactor);
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert_eq!((failed.take(), SEEN.take()), (vec![], [CALLS; 8]));
}

fn a_thread_wakes_the_loop_and_may_stop_it(variant: Variant) {
    let reactor = reactor(variant);
    let remote = reactor.remote();
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || {
        receiver.recv().unwrap();
        remote.stop()
    });
    // Sent when the loop runs; the thread's wake-up has to end the wait that follows.
    reactor.call_when_running(move |_| sender.send(()).unwrap());
    run(&reactor);
    assert!(thread.join().unwrap());
}

fn calls_made_before_the_run_wait_for_it(variant: Variant) {
    let reactor = reactor(variant);
    reactor.remote().call_from_thread(|reactor| {
        assert!(reactor.is_running());
        stop(reactor);
    });
    run(&reactor);
}

fn again(remote: Remote, left: u32) {
    let next = remote.clone();
    remote.call_from_thread(move |_| match left {
        0 => assert!(next.stop()),
        _ => again(next, left - 1),
    });
}

fn a_call_that_queues_another_does_not_starve_the_loop(variant: Variant) {
    let reactor = reactor(variant);
    let passes = Rc::new(Cell::new(0));
    fn tick(reactor: &ropewalk::Reactor, passes: Rc<Cell<u32>>) {
        passes.set(passes.get() + 1);
        reactor.call_later(Duration::ZERO, move |reactor| tick(reactor, passes));
    }
    let counter = Rc::clone(&passes);
    reactor.call_when_running(move |reactor| tick(reactor, counter));
    again(reactor.remote(), 100);
    run(&reactor);
    assert!(passes.get() >= 100, "{} passes", passes.get());
}

fn a_nested_turn_makes_no_call_twice(variant: Variant) {
    let reactor = reactor(variant);
    thread_local! {
        static ORDER: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
    }
    let add = |text| ORDER.with_borrow_mut(|order| order.push(text));
    let remote = reactor.remote();
    remote.call_from_thread(move |reactor| {
        add("first begins");
        reactor.turn(Some(Duration::ZERO)).unwrap();
        add("first ends");
    });
    remote.call_from_thread(move |_| add("second"));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(ORDER.take(), ["first begins", "second", "first ends"]);
}

fn a_call_from_the_own_thread_ends_the_wait(variant: Variant) {
    let reactor = reactor(variant);
    let remote = reactor.remote();
    reactor.call_when_running(move |_| assert!(remote.stop()));
    run(&reactor);
}

fn a_late_stop_from_a_thread_is_no_failure(variant: Variant) {
    let reactor = reactor(variant);
    let failed = Log::default();
    failed.record_failures(&reactor);
    let remote = reactor.remote();
    reactor.call_when_running(move |reactor| {
        remote.stop();
        stop(reactor);
    });
    run(&reactor);
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert!(failed.take().is_empty());
}

fn a_result_comes_back_to_the_thread_of_the_loop(variant: Variant) {
    let reactor = reactor(variant);
    let (here, handle) = (thread::current().id(), reactor.clone());
    let checked = reactor
        .defer_to_thread(|| thread::current().id())
        .map(move |there| {
            assert_ne!(there, here);
            assert_eq!(thread::current().id(), here);
            stop(&handle);
        });
    assert!(!checked.is_ready());
    run(&reactor);
    checked.try_take().unwrap().unwrap();
}

fn a_panicking_job_fails_its_deferred(variant: Variant) {
    let reactor = reactor(variant);
    let deferred = reactor.defer_to_thread(|| -> u32 { panic!("job") });
    turn_until(&reactor, || deferred.is_ready());
    let result = deferred.try_take().unwrap();
    assert!(matches!(result, Err(Error::Panicked { message }) if message == "job"));
}

fn shutdown_waits_for_busy_jobs_and_delivers_their_results(variant: Variant) {
    let reactor = reactor(variant);
    let (release, gate) = mpsc::channel::<()>();
    let busy = Arc::new(Barrier::new(2));
    let begun = Arc::clone(&busy);
    let result = reactor.defer_to_thread(move || {
        begun.wait();
        gate.recv().unwrap();
        7
    });
    reactor.suggest_thread_pool_size(1).unwrap();
    let queued = reactor.defer_to_thread(|| 8);
    reactor.add_system_event_trigger(Phase::Before, "shutdown", move |_| {
        release.send(()).unwrap()
    });
    reactor.call_when_running(move |reactor| {
        busy.wait();
        stop(reactor);
    });
    run(&reactor);
    assert_eq!(
        [result, queued].map(|deferred| deferred.try_take().unwrap().unwrap()),
        [7, 8]
    );
}

fn the_pool_has_as_many_threads_as_suggested(variant: Variant) {
    let reactor = reactor(variant);
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let both = Arc::new(Barrier::new(2));
    reactor.suggest_thread_pool_size(2).unwrap();
    let jobs: Vec<_> = (0..20)
        .map(|_| {
            let (running, most, both) = (running.clone(), most.clone(), both.clone());
            reactor.defer_to_thread(move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // Passes only when two jobs run side by side.
                both.wait();
                running.fetch_sub(1, Ordering::SeqCst);
            })
        })
        .collect();
    turn_until(&reactor, || jobs.iter().all(ropewalk::Deferred::is_ready));
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

fn a_pool_of_none_gives_its_results_up_at_the_stop(variant: Variant) {
    let reactor = reactor(variant);
    reactor.suggest_thread_pool_size(0).unwrap();
    let never = reactor.defer_to_thread(|| ());
    reactor.call_when_running(stop);
    run(&reactor);
    assert!(matches!(never.try_take(), Some(Err(Error::Abandoned))));
}

fn a_job_may_outlive_the_interest_in_it(variant: Variant) {
    let reactor = reactor(variant);
    let done = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&done);
    reactor
        .defer_to_thread(move || {
            count.fetch_add(1, Ordering::SeqCst);
        })
        .ignore();
    reactor.call_when_running(stop);
    run(&reactor);
    assert_eq!(done.load(Ordering::SeqCst), 1);
}
