//! Reactors in several threads at once: each hears of its own children, and all of signals.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod process_support;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use process_support::{alone, shell, spawn, until, ways};
use ropewalk::process::{Ended, ExitNotice};
use ropewalk::{Reactor, Signal};
use rustix::process::{getpid, kill_process};
use variant::Variant;

on_every_variant!(crate::with_every_way: reactors_in_threads_hear_of_their_own_children);

const THREADS: usize = 2;
const CHILDREN: i32 = 40;

fn with_every_way(variant: Variant, case: fn(Variant, ExitNotice)) {
    for notice in ways(variant) {
        println!("with {notice:?}");
        alone(|| case(variant, notice));
    }
}

fn reactors_in_threads_hear_of_their_own_children(variant: Variant, notice: ExitNotice) {
    // Keeps a signal that comes before or after the threads from ending the process.
    let guard = Variant::ANY.reactor();
    let kept = guard.on_signal(Signal::USR1, |_| {}).unwrap();
    let (ready, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (ready, done) = (&ready, &done);
            scope.spawn(move || {
                let builder = variant.builder().signals(false).exit_notice(notice);
                let reactor = variant.prepare(builder);
                let signals = count_signals(&reactor);
                ready.fetch_add(1, Ordering::SeqCst);
                let codes = number as i32 * 100..number as i32 * 100 + CHILDREN;
                run_children(&reactor, codes);
                // Those that are yet to come as well: the storm goes on.
                let before = signals.get();
                until(&reactor, "a signal", || signals.get() > before);
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
        while ready.load(Ordering::SeqCst) < THREADS {
            thread::yield_now();
        }
        while done.load(Ordering::SeqCst) < THREADS {
            kill_process(getpid(), rustix::process::Signal::USR1).unwrap();
            thread::sleep(std::time::Duration::from_millis(1));
        }
    });
    assert!(kept.remove());
}

fn count_signals(reactor: &Reactor) -> Rc<Cell<usize>> {
    let count = Rc::<Cell<usize>>::default();
    let heard = Rc::clone(&count);
    let handler = reactor.on_signal(Signal::USR1, move |_| heard.set(heard.get() + 1));
    drop(handler.unwrap());
    count
}

/// Runs children that end at once and together, each with a code of its own.
fn run_children(reactor: &Reactor, codes: std::ops::Range<i32>) {
    let children: BTreeMap<_, _> = codes
        .map(|code| {
            (
                code,
                spawn(reactor, &shell(&format!("echo {code}; exit {code}"))),
            )
        })
        .collect();
    let left = RefCell::new(children);
    until(reactor, "the ends of all children", || {
        left.borrow_mut().retain(|code, heard| {
            let ended = heard.ended.get();
            assert!(ended.is_none_or(|ended| ended == Ended::Exited(*code)));
            assert!(ended.is_none() || heard.text(1) == format!("{code}\n"));
            ended.is_none()
        });
        left.borrow().is_empty()
    });
}
