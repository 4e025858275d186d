//! Delayed calls: order, passes, cancelling and moving, on a clock set by hand and on the real one.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
#[macro_use]
mod reactor_support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use reactor_support::{Log, run, stop};
use ropewalk::{DelayedCall, PollerKind, Reactor};
use variant::Variant;

on_every_poller!(
    a_call_is_never_early,
    the_wait_ends_for_the_next_deadline,
    a_call_without_delay_does_not_keep_the_loop_from_waiting_again,
    the_farthest_delays_are_legal,
);

const SECOND: Duration = Duration::from_secs(1);

/// A reactor whose clock moves only when told.
struct Manual {
    reactor: Reactor,
    now: Rc<Cell<Instant>>,
    log: Log,
}

impl Manual {
    fn new() -> Self {
        let now = Rc::new(Cell::new(Instant::now()));
        let clock = Rc::clone(&now);
        let builder = Reactor::builder().poller(PollerKind::Poll).signals(false);
        let reactor = builder.clock(move || clock.get()).build().unwrap();
        let log = Log::default();
        log.record_failures(&reactor);
        Self { reactor, now, log }
    }

    /// Schedules an entry in the log.
    fn later(&self, delay: Duration, text: &'static str) -> DelayedCall {
        let log = self.log.clone();
        self.reactor.call_later(delay, move |_| log.add(text))
    }

    /// Runs one pass at `step` from now.
    fn advance(&self, step: Duration) -> Vec<String> {
        self.now.set(self.now.get() + step);
        self.reactor.turn(Some(Duration::ZERO)).unwrap();
        self.log.take()
    }
}

#[test]
fn calls_are_made_in_the_order_of_their_deadlines() {
    let manual = Manual::new();
    manual.later(3 * SECOND, "third");
    manual.later(SECOND, "first");
    manual.later(2 * SECOND, "second");
    assert_eq!(manual.advance(SECOND - Duration::from_nanos(1)), [""; 0]);
    assert_eq!(manual.advance(Duration::from_nanos(1)), ["first"]);
    assert_eq!(manual.advance(2 * SECOND), ["second", "third"]);
}

#[test]
fn equal_deadlines_are_first_in_first_out() {
    let manual = Manual::new();
    let order = Rc::new(RefCell::new(Vec::new()));
    for n in 0..100 {
        let order = Rc::clone(&order);
        manual
            .reactor
            .call_later(SECOND, move |_| order.borrow_mut().push(n));
    }
    manual.advance(SECOND);
    assert_eq!(*order.borrow(), (0..100).collect::<Vec<_>>());
}

#[test]
fn what_a_pass_schedules_waits_for_the_next_pass() {
    let manual = Manual::new();
    let log = manual.log.clone();
    manual.reactor.call_later(Duration::ZERO, move |reactor| {
        log.add("outer");
        reactor.call_later(Duration::ZERO, move |_| log.add("inner"));
    });
    assert_eq!(manual.advance(Duration::ZERO), ["outer"]);
    assert_eq!(manual.advance(Duration::ZERO), ["inner"]);
}

#[test]
fn a_call_moved_to_now_by_a_pass_waits_for_the_next_pass() {
    let manual = Manual::new();
    let moved = manual.later(9 * SECOND, "moved");
    manual.reactor.call_later(Duration::ZERO, move |_| {
        assert!(moved.reset(Duration::ZERO))
    });
    assert_eq!(manual.advance(Duration::ZERO), [""; 0]);
    assert_eq!(manual.advance(Duration::ZERO), ["moved"]);
}

#[test]
fn a_cancelled_call_is_dropped_and_not_made() {
    let manual = Manual::new();
    let held = Rc::new(());
    let kept = Rc::clone(&held);
    let call = manual.reactor.call_later(SECOND, move |_| drop(kept));
    assert!(call.is_active() && call.cancel());
    assert_eq!(
        (Rc::strong_count(&held), call.is_active(), call.cancel()),
        (1, false, false)
    );
    assert!(!call.reset(SECOND) && !call.delay(SECOND));
    assert_eq!(
        (call.deadline(), manual.reactor.next_deadline()),
        (None, None)
    );
}

#[test]
fn a_call_may_cancel_another_that_is_due_in_the_same_pass() {
    let manual = Manual::new();
    let slot: Rc<RefCell<Option<DelayedCall>>> = Rc::default();
    let target = Rc::clone(&slot);
    manual.reactor.call_later(Duration::ZERO, move |_| {
        assert!(target.take().unwrap().cancel());
    });
    slot.replace(Some(manual.later(Duration::ZERO, "cancelled")));
    assert_eq!(manual.advance(SECOND), [""; 0]);
}

#[test]
fn a_call_is_no_longer_active_while_it_is_made() {
    let manual = Manual::new();
    let slot: Rc<RefCell<Option<DelayedCall>>> = Rc::default();
    let own = Rc::clone(&slot);
    let log = manual.log.clone();
    let call = manual.reactor.call_later(Duration::ZERO, move |_| {
        let call = own.take().unwrap();
        log.add(format!(
            "{} {} {}",
            call.is_active(),
            call.cancel(),
            call.reset(SECOND)
        ));
    });
    slot.replace(Some(call));
    assert_eq!(manual.advance(Duration::ZERO), ["false false false"]);
}

#[test]
fn reset_counts_from_now_and_delay_from_the_deadline() {
    let manual = Manual::new();
    let start = manual.reactor.now();
    let [reset, delayed] = ["reset", "delayed"].map(|text| manual.later(2 * SECOND, text));
    manual.advance(SECOND);
    assert!(reset.reset(2 * SECOND) && delayed.delay(2 * SECOND));
    assert_eq!(reset.deadline(), Some(start + 3 * SECOND));
    assert_eq!(delayed.deadline(), Some(start + 4 * SECOND));
    assert_eq!(manual.advance(2 * SECOND), ["reset"]);
    assert_eq!(manual.advance(SECOND), ["delayed"]);
}

#[test]
fn a_reset_may_bring_a_call_forward() {
    let manual = Manual::new();
    let call = manual.later(100 * SECOND, "forward");
    manual.later(2 * SECOND, "other");
    assert!(call.reset(SECOND));
    assert_eq!(manual.reactor.next_deadline(), call.deadline());
    assert_eq!(manual.advance(SECOND), ["forward"]);
}

#[test]
fn dropping_the_handle_keeps_the_call() {
    let manual = Manual::new();
    drop(manual.later(SECOND, "made"));
    assert_eq!(manual.reactor.delayed_call_count(), 1);
    assert_eq!(manual.advance(SECOND), ["made"]);
}

#[test]
fn the_handle_does_not_keep_the_reactor() {
    let manual = Manual::new();
    let call = manual.later(SECOND, "never");
    drop(manual);
    assert!(!call.is_active() && !call.cancel() && !call.reset(SECOND) && !call.delay(SECOND));
}

#[test]
fn a_panicking_call_does_not_stop_the_pass() {
    let manual = Manual::new();
    manual
        .reactor
        .call_later(Duration::ZERO, |_| panic!("first"));
    manual.later(Duration::ZERO, "second");
    assert_eq!(
        manual.advance(Duration::ZERO),
        ["a delayed call failed: panicked: first", "second"]
    );
}

#[test]
fn a_nested_turn_makes_the_calls_that_are_due() {
    let manual = Manual::new();
    let log = manual.log.clone();
    manual.reactor.call_later(Duration::ZERO, move |reactor| {
        log.add("begin");
        reactor.turn(Some(Duration::ZERO)).unwrap();
        log.add("end");
    });
    manual.later(Duration::ZERO, "second");
    manual.later(Duration::ZERO, "third");
    assert_eq!(
        manual.advance(Duration::ZERO),
        ["begin", "second", "third", "end"]
    );
}

fn a_call_is_never_early(variant: Variant) {
    let reactor = reactor_support::reactor(variant);
    let left = Rc::new(Cell::new(0));
    for delay in [0, 100, 400, 1_000, 1_500, 2_700].map(Duration::from_micros) {
        let left = Rc::clone(&left);
        left.set(left.get() + 1);
        let start = Instant::now();
        reactor.call_later(delay, move |reactor| {
            assert!(start.elapsed() >= delay);
            left.set(left.get() - 1);
            if left.get() == 0 {
                stop(reactor);
            }
        });
    }
    run(&reactor);
}

fn the_wait_ends_for_the_next_deadline(variant: Variant) {
    let reactor = reactor_support::reactor(variant);
    let made = Rc::new(Cell::new(false));
    let flag = Rc::clone(&made);
    reactor.call_later(Duration::from_millis(2), move |_| flag.set(true));
    // The first turn waits for the deadline, the second makes the call and has none to wait for.
    reactor.turn(None).unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert!(made.get());
}

fn a_call_without_delay_does_not_keep_the_loop_from_waiting_again(variant: Variant) {
    let reactor = reactor_support::reactor(variant);
    reactor.call_later(Duration::ZERO, |_| {});
    let start = Instant::now();
    reactor.turn(Some(Duration::from_millis(5))).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(5));
}

fn the_farthest_delays_are_legal(variant: Variant) {
    let reactor = reactor_support::reactor(variant);
    let far = reactor.call_later(Duration::MAX, |_| panic!("not in this life"));
    assert!(far.delay(Duration::MAX) && far.reset(Duration::MAX));
    reactor.call_later(Duration::from_millis(1), stop);
    run(&reactor);
    assert!(far.is_active() && far.cancel());
}
