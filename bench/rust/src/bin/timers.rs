//! CPU time of a timer that is cancelled and of one that runs: `timers POLLER`.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ropewalk::{DelayedCall, Reactor};
use ropewalk_bench::{Result, nanoseconds_each, process_time, reactor_from_arguments};

const COUNT: u32 = 100_000;

/// Spread over a minute, in no order.
fn delay(number: u32) -> Duration {
    Duration::from_millis(u64::from(number * 7919 % 60_000) + 10_000)
}

/// Sets in one turn, cancels in a later one, and counts the turn after that, too.
fn set_and_cancel(reactor: &Reactor, done: impl FnOnce(&Reactor, f64) + 'static) {
    let begun = process_time();
    let calls: Vec<DelayedCall> = (0..COUNT)
        .map(|number| reactor.call_later(delay(number), |_| {}))
        .collect();
    reactor.call_later(Duration::ZERO, move |reactor| {
        for call in calls {
            call.cancel();
        }
        reactor.call_later(Duration::ZERO, move |reactor| {
            reactor.call_later(Duration::ZERO, move |reactor| {
                done(reactor, nanoseconds_each(begun, COUNT));
            });
        });
    });
}

fn set_and_run(reactor: &Reactor, done: impl FnOnce(&Reactor, f64) + 'static) {
    let begun = process_time();
    let left = Rc::new(Cell::new(COUNT));
    let done = Rc::new(Cell::new(Some(done)));
    for _ in 0..COUNT {
        let (left, done) = (Rc::clone(&left), Rc::clone(&done));
        reactor.call_later(Duration::ZERO, move |reactor| {
            left.set(left.get() - 1);
            if left.get() == 0 {
                if let Some(done) = done.take() {
                    done(reactor, nanoseconds_each(begun, COUNT));
                }
            }
        });
    }
}

fn main() -> Result<()> {
    let reactor = reactor_from_arguments()?;
    reactor.call_when_running(|reactor| {
        set_and_cancel(reactor, |reactor, cancelled| {
            set_and_run(reactor, move |reactor, ran| {
                println!("{{\"set_cancel_ns\": {cancelled:.1}, \"set_run_ns\": {ran:.1}}}");
                reactor.crash();
            });
        });
    });
    reactor.run()?;
    Ok(())
}
