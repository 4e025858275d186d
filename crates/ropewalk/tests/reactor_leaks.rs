//! Nothing is left behind: descriptors, threads and memory counted before and after. One test at a
//! time, so that the counts are exact.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
#[macro_use]
mod reactor_support;

use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use reactor_support::{open_descriptors, reactor, run, stop};
use ropewalk::Reactor;
use variant::Variant;

on_every_poller!(
    a_thousand_runs_and_crashes_leave_nothing_behind,
    a_thousand_reactors_leave_nothing_behind,
    a_stopped_reactor_has_no_threads,
);

/// Held by the one test that may run.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many threads of a pool this process has.
fn pool_threads() -> usize {
    let names = std::fs::read_dir("/proc/self/task").unwrap().map(|task| {
        // A thread may end while the directory is read.
        std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default()
    });
    names
        .filter(|name| name.starts_with("ropewalk-pool"))
        .count()
}

fn a_thousand_runs_and_crashes_leave_nothing_behind(variant: Variant) {
    let _alone = alone();
    let reactor = reactor(variant);
    let held = Rc::new(());
    let before = open_descriptors();
    for _ in 0..1000 {
        let [timer, trigger, task, last] = [(); 4].map(|()| Rc::clone(&held));
        reactor.call_later(Duration::ZERO, move |_| drop(timer));
        reactor.spawn_local(async move { drop(task) }).ignore();
        reactor.remote().call_from_thread(|_| {});
        reactor.call_when_running(move |reactor| {
            drop(trigger);
            reactor.call_later(Duration::ZERO, move |reactor| {
                drop(last);
                reactor.crash();
            });
        });
        reactor.run().unwrap();
        assert_eq!(
            (Rc::strong_count(&held), reactor.delayed_call_count()),
            (1, 0)
        );
    }
    assert_eq!(open_descriptors(), before);
}

fn a_thousand_reactors_leave_nothing_behind(variant: Variant) {
    let _alone = alone();
    let before = open_descriptors();
    for _ in 0..1000 {
        let reactor = variant.builder().build().unwrap();
        reactor.call_when_running(stop);
        reactor.run().unwrap();
    }
    assert_eq!(open_descriptors(), before);
}

/// Whether the threads of pools are gone, or will be at once: the kernel lists a thread for a moment
/// after it was joined.
fn no_pool_thread_is_left() -> bool {
    let limit = Instant::now() + Duration::from_secs(60);
    while pool_threads() > 0 && Instant::now() < limit {
        std::thread::yield_now();
    }
    pool_threads() == 0
}

/// Has the pool run a job, and looks at the threads while it does.
fn threads_during_a_job(reactor: &Reactor) -> usize {
    let (sender, receiver) = mpsc::channel();
    reactor
        .call_in_thread(move || sender.send(pool_threads()).unwrap())
        .unwrap();
    receiver.recv().unwrap()
}

fn a_stopped_reactor_has_no_threads(variant: Variant) {
    let _alone = alone();
    let reactor = reactor(variant);
    assert!(no_pool_thread_is_left());
    assert_eq!(threads_during_a_job(&reactor), 1);
    reactor.call_when_running(stop);
    run(&reactor);
    assert!(no_pool_thread_is_left());
    // A pool made without a run ends with its reactor.
    assert_eq!(threads_during_a_job(&reactor), 1);
    drop(reactor);
    assert!(no_pool_thread_is_left());
}
