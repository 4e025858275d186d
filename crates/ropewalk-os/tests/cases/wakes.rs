//! Ends of a wait from outside: wakers and signals.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ropewalk_os::{Interest, Readiness, SignalSet, Waker};

use crate::support::{Fixture, SOON, pair};

/// A waker watched as 1.
fn watched(f: &mut Fixture) -> Waker {
    let waker = Waker::new().unwrap();
    f.register(&waker.read_fd(), 1, Interest::READABLE);
    waker
}

pub(crate) fn a_wake_from_another_thread_ends_the_wait(f: &mut Fixture) {
    let waker = watched(f);
    let thread = thread::spawn({
        let waker = waker.clone();
        move || waker.wake()
    });
    assert_eq!(f.until(1, Readiness::is_readable), Readiness::READABLE);
    thread.join().unwrap();
}

pub(crate) fn a_wake_before_the_wait_ends_it(f: &mut Fixture) {
    let waker = watched(f);
    waker.wake();
    assert_eq!(f.wait(None).len(), 1);
}

pub(crate) fn wakes_coalesce_until_they_are_drained(f: &mut Fixture) {
    let waker = watched(f);
    // More than a pipe holds, if each wrote.
    (0..100_000).for_each(|_| waker.wake());
    assert_eq!(f.now(), [(1, Readiness::READABLE)]);
    waker.drain();
    assert_eq!(f.now(), []);
    waker.wake();
    assert_eq!(f.now(), [(1, Readiness::READABLE)]);
}

/// Each wake publishes a number, and every few the waking thread waits until the loop has seen
/// it: a lost wake leaves both waiting.
pub(crate) fn no_wake_of_ten_thousand_is_lost(f: &mut Fixture) {
    const WAKES: u32 = 10_000;
    let waker = watched(f);
    let (published, seen) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let thread = thread::spawn({
        let (waker, published, seen) = (waker.clone(), Arc::clone(&published), Arc::clone(&seen));
        move || {
            for number in 1..=WAKES {
                published.store(number, Ordering::Release);
                waker.wake();
                while number % 7 == 0 && seen.load(Ordering::Acquire) < number {
                    thread::yield_now();
                }
            }
        }
    });
    while seen.load(Ordering::Relaxed) < WAKES {
        f.until(1, Readiness::is_readable);
        waker.drain();
        seen.store(published.load(Ordering::Acquire), Ordering::Release);
    }
    thread.join().unwrap();
}

pub(crate) fn a_signal_ends_the_wait_without_an_event(f: &mut Fixture) {
    let (near, _far) = pair();
    f.register(&near, 1, Interest::READABLE);
    let mut signals = SignalSet::new(Waker::new().unwrap());
    signals.add(libc::SIGUSR1).unwrap();
    // SAFETY: asks for this thread's own id.
    let waiter = unsafe { libc::pthread_self() };
    let over = Arc::new(AtomicBool::new(false));
    let sender = thread::spawn({
        let over = Arc::clone(&over);
        move || {
            // Again and again, for a signal before the wait ends nothing.
            while !over.load(Ordering::Acquire) {
                // SAFETY: the waiting thread joins this one before it ends.
                unsafe { libc::pthread_kill(waiter, libc::SIGUSR1) };
                thread::sleep(Duration::from_millis(2));
            }
        }
    });
    let start = Instant::now();
    let events = f.wait(Some(SOON));
    over.store(true, Ordering::Release);
    sender.join().unwrap();
    assert_eq!(events, []);
    assert!(start.elapsed() < SOON / 2);
    assert_eq!(signals.take_pending(), [libc::SIGUSR1]);
}

pub(crate) fn a_signal_handler_can_wake(f: &mut Fixture) {
    let waker = watched(f);
    let mut signals = SignalSet::new(waker.clone());
    signals.add(libc::SIGUSR2).unwrap();
    // SAFETY: raises a signal that has a handler.
    unsafe { libc::raise(libc::SIGUSR2) };
    assert_eq!(f.wait(None).len(), 1);
    waker.drain();
    assert_eq!(signals.take_pending(), [libc::SIGUSR2]);
    assert!(signals.remove(libc::SIGUSR2));
    // SAFETY: the handler is gone, its place is not: the signal is ignored.
    unsafe { libc::raise(libc::SIGUSR2) };
    assert_eq!(f.now(), []);
}

/// Two signals from two threads; each thread raises the next when the loop has noticed the last.
pub(crate) fn a_storm_of_signals_is_noticed(f: &mut Fixture) {
    const ROUNDS: u32 = 1000;
    let waker = watched(f);
    let mut signals = SignalSet::new(waker.clone());
    let noticed: [Arc<AtomicU32>; 2] = Default::default();
    let kinds = [libc::SIGUSR1, libc::SIGUSR2];
    let threads = [0, 1].map(|which| {
        signals.add(kinds[which]).unwrap();
        let (signal, noticed) = (kinds[which], Arc::clone(&noticed[which]));
        thread::spawn(move || {
            for round in 0..ROUNDS {
                // SAFETY: raises a signal that has a handler.
                unsafe { libc::raise(signal) };
                while noticed.load(Ordering::Acquire) <= round {
                    thread::yield_now();
                }
            }
        })
    });
    while noticed
        .iter()
        .any(|count| count.load(Ordering::Acquire) < ROUNDS)
    {
        f.until(1, Readiness::is_readable);
        waker.drain();
        for signal in signals.take_pending() {
            let which = usize::from(signal == libc::SIGUSR2);
            noticed[which].fetch_add(1, Ordering::AcqRel);
        }
    }
    for thread in threads {
        thread.join().unwrap();
    }
}
