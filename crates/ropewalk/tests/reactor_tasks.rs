//! Futures on the loop, and awaiting what comes later.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
#[macro_use]
mod reactor_support;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use reactor_support::{Log, reactor, run, stop, turn_until};
use ropewalk::{Deferred, Error};
use variant::Variant;

on_every_poller!(
    a_task_awaits_a_deferred,
    a_task_is_first_polled_by_the_next_turn,
    a_task_is_woken_by_another_thread,
    tasks_wait_for_each_other,
    a_task_that_wakes_itself_does_not_starve_the_loop,
    a_task_that_panics_abandons_its_result,
    a_stop_drops_the_tasks_that_did_not_end,
    a_crash_keeps_the_tasks,
    a_task_may_run_a_nested_turn,
    a_failed_deferred_is_an_error_to_await,
    a_waker_outlives_its_task,
);

fn a_task_awaits_a_deferred(variant: Variant) {
    let reactor = reactor(variant);
    let (sender, deferred) = Deferred::new();
    reactor.call_later(Duration::from_millis(1), move |_| sender.fire(20));
    let handle = reactor.clone();
    let sum = reactor.spawn_local(async move {
        let sum = deferred.await.unwrap() + handle.defer_to_thread(|| 22).await.unwrap();
        handle.sleep(Duration::from_millis(1)).await.unwrap();
        stop(&handle);
        sum
    });
    run(&reactor);
    assert_eq!(sum.try_take().unwrap().unwrap(), 42);
}

fn a_task_is_first_polled_by_the_next_turn(variant: Variant) {
    let reactor = reactor(variant);
    let task = reactor.spawn_local(async {});
    assert!(!task.is_ready());
    // The turn polls it first, and has nothing to wait for.
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert!(task.is_ready());
}

fn a_task_is_woken_by_another_thread(variant: Variant) {
    let reactor = reactor(variant);
    let (sender, receiver) = mpsc::channel::<Waker>();
    let thread = thread::spawn(move || receiver.recv().unwrap().wake());
    let (handle, mut polls) = (reactor.clone(), 0);
    let task = reactor.spawn_local(async move {
        poll_fn(|context| {
            polls += 1;
            if polls == 2 {
                return Poll::Ready(());
            }
            sender.send(context.waker().clone()).unwrap();
            Poll::Pending
        })
        .await;
        stop(&handle);
    });
    run(&reactor);
    thread.join().unwrap();
    task.try_take().unwrap().unwrap();
}

fn tasks_wait_for_each_other(variant: Variant) {
    let reactor = reactor(variant);
    let mut last = reactor.spawn_local(async { 0_u32 });
    for _ in 0..1000 {
        let before = last;
        last = reactor.spawn_local(async move { before.await.unwrap() + 1 });
    }
    turn_until(&reactor, || last.is_ready());
    assert_eq!(last.try_take().unwrap().unwrap(), 1000);
}

fn a_task_that_wakes_itself_does_not_starve_the_loop(variant: Variant) {
    let reactor = reactor(variant);
    let polls = Rc::new(Cell::new(0));
    let counter = Rc::clone(&polls);
    let busy = reactor.spawn_local(poll_fn(move |context| {
        counter.set(counter.get() + 1);
        context.waker().wake_by_ref();
        Poll::<()>::Pending
    }));
    reactor.call_later(Duration::from_millis(1), stop);
    run(&reactor);
    assert!(polls.get() > 1);
    assert!(matches!(busy.try_take(), Some(Err(Error::Abandoned))));
}

fn a_task_that_panics_abandons_its_result(variant: Variant) {
    let reactor = reactor(variant);
    let log = Log::default();
    log.record_failures(&reactor);
    let task = reactor.spawn_local(async { panic!("in a task") });
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(log.take(), ["a task failed: panicked: in a task"]);
    let _: () = match task.try_take() {
        Some(Err(Error::Abandoned)) => (),
        other => panic!("{other:?}"),
    };
}

fn a_stop_drops_the_tasks_that_did_not_end(variant: Variant) {
    let reactor = reactor(variant);
    let held = Rc::new(());
    let (kept, handle) = (Rc::clone(&held), reactor.clone());
    let task = reactor.spawn_local(async move {
        stop(&handle);
        std::future::pending::<()>().await;
        drop((kept, handle));
    });
    run(&reactor);
    assert_eq!(Rc::strong_count(&held), 1);
    assert!(matches!(task.try_take(), Some(Err(Error::Abandoned))));
}

fn a_crash_keeps_the_tasks(variant: Variant) {
    let reactor = reactor(variant);
    let (sender, deferred) = Deferred::new();
    let handle = reactor.clone();
    let task = reactor.spawn_local(async move {
        handle.crash();
        deferred.await.unwrap()
    });
    run(&reactor);
    assert!(!task.is_ready());
    sender.fire(5);
    reactor.call_later(Duration::from_millis(1), stop);
    run(&reactor);
    assert_eq!(task.try_take().unwrap().unwrap(), 5);
}

fn a_task_may_run_a_nested_turn(variant: Variant) {
    let reactor = reactor(variant);
    let (handle, waker) = (reactor.clone(), Rc::new(RefCell::new(None::<Waker>)));
    let (slot, mut polls) = (Rc::clone(&waker), 0);
    let task = reactor.spawn_local(poll_fn(move |context| {
        polls += 1;
        if polls == 2 {
            return Poll::Ready(());
        }
        slot.replace(Some(context.waker().clone()));
        // Woken and looked at while it is being polled: the wake-up must not get lost.
        context.waker().wake_by_ref();
        handle.turn(Some(Duration::ZERO)).unwrap();
        Poll::Pending
    }));
    turn_until(&reactor, || task.is_ready());
    task.try_take().unwrap().unwrap();
}

fn a_failed_deferred_is_an_error_to_await(variant: Variant) {
    let reactor = reactor(variant);
    let (sender, deferred) = Deferred::<u32>::new();
    let task = reactor.spawn_local(deferred);
    reactor.turn(Some(Duration::ZERO)).unwrap();
    drop(sender);
    turn_until(&reactor, || task.is_ready());
    assert!(matches!(task.try_take(), Some(Ok(Err(Error::Abandoned)))));
}

fn a_waker_outlives_its_task(variant: Variant) {
    let reactor = reactor(variant);
    let slot = Rc::new(RefCell::new(None::<Waker>));
    let kept = Rc::clone(&slot);
    let task = reactor.spawn_local(poll_fn(move |context| {
        kept.replace(Some(context.waker().clone()));
        Poll::Ready(())
    }));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert!(task.is_ready());
    let waker = slot.take().unwrap();
    waker.wake_by_ref();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    drop(reactor);
    waker.wake();
}
