//! Wakers and signals.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ropewalk_os::{SignalSet, Token, Waker};

use crate::fixture::{Fixture, PATIENCE};

fn watched_waker(fixture: &mut Fixture) -> Waker {
    let waker = Waker::new().unwrap();
    fixture.registry.watch_waker(&waker);
    waker
}

pub(crate) fn a_wake_from_another_thread_ends_the_wait(fixture: &mut Fixture) {
    let waker = watched_waker(fixture);
    let remote = waker.clone();
    let thread = thread::spawn(move || remote.wake());
    assert!(fixture.turn_until(Token::WAKER).is_readable());
    thread.join().unwrap();
    waker.drain();
    assert_eq!(fixture.turn(Duration::ZERO), []);
}

pub(crate) fn a_wake_before_the_wait_is_not_lost(fixture: &mut Fixture) {
    let waker = watched_waker(fixture);
    waker.wake();
    fixture.turn_until(Token::WAKER);
    waker.drain();
    waker.wake();
    fixture.turn_until(Token::WAKER);
}

pub(crate) fn many_wakes_are_one_event(fixture: &mut Fixture) {
    let waker = watched_waker(fixture);
    // More than a pipe holds, if each wrote.
    (0..100_000).for_each(|_| waker.wake());
    assert_eq!(fixture.turn(Duration::ZERO).len(), 1);
    waker.drain();
    assert_eq!(fixture.turn(Duration::ZERO), []);
    // Foreign code writes to the pipe itself, as Python's set_wakeup_fd does.
    let mut pipe = std::fs::File::from(waker.wake_fd().try_clone_to_owned().unwrap());
    pipe.write_all(&[0; 3]).unwrap();
    assert_eq!(fixture.turn(Duration::ZERO).len(), 1);
    waker.drain();
    assert_eq!(fixture.turn(Duration::ZERO), []);
}

pub(crate) fn no_wake_is_lost_under_a_storm(fixture: &mut Fixture) {
    // Long enough for a wake to fall between the two steps of a drain, many times.
    const WAKES: u32 = 200_000;
    let waker = watched_waker(fixture);
    let count = Arc::new(AtomicU32::new(0));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (waker, count) = (waker.clone(), Arc::clone(&count));
            thread::spawn(move || {
                for number in 0..WAKES {
                    count.fetch_add(1, Ordering::Relaxed);
                    waker.wake();
                    (0..number % 61).for_each(|_| std::hint::spin_loop());
                }
            })
        })
        .collect();
    // A lost wake leaves the last increments unseen while the loop waits for ever.
    while count.load(Ordering::Relaxed) < 2 * WAKES {
        let events = fixture.turn(PATIENCE);
        assert!(
            !events.is_empty(),
            "a wake was lost: {}",
            count.load(Ordering::Relaxed)
        );
        waker.drain();
    }
    threads.into_iter().for_each(|t| t.join().unwrap());
}

/// Each wake publishes a number, and every few of them the waking thread waits until the loop has
/// seen it: a lost wake leaves both waiting.
pub(crate) fn a_wake_is_not_lost_between_two_looks(fixture: &mut Fixture) {
    const WAKES: u32 = 10_000;
    let waker = watched_waker(fixture);
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
        fixture.turn_until(Token::WAKER);
        waker.drain();
        seen.store(published.load(Ordering::Acquire), Ordering::Release);
    }
    thread.join().unwrap();
}

/// Two signals, one thread each, which raises the next when the loop has noticed the last.
pub(crate) fn no_signal_of_a_storm_goes_unnoticed(fixture: &mut Fixture) {
    const ROUNDS: u32 = 1_000;
    const SIGNALS: [i32; 2] = [libc::SIGUSR1, libc::SIGUSR2];
    let waker = watched_waker(fixture);
    let mut signals = SignalSet::new(waker.clone());
    let noticed: [Arc<AtomicU32>; 2] = Default::default();
    let threads = [0, 1].map(|which| {
        signals.add(SIGNALS[which]).unwrap();
        let noticed = Arc::clone(&noticed[which]);
        thread::spawn(move || {
            for round in 0..ROUNDS {
                // SAFETY: raises a signal that has a handler.
                unsafe { libc::raise(SIGNALS[which]) };
                while noticed.load(Ordering::Acquire) <= round {
                    thread::yield_now();
                }
            }
        })
    });
    while noticed.iter().any(|n| n.load(Ordering::Acquire) < ROUNDS) {
        fixture.turn_until(Token::WAKER);
        waker.drain();
        for signal in signals.take_pending() {
            let which = usize::from(signal == SIGNALS[1]);
            noticed[which].fetch_add(1, Ordering::AcqRel);
        }
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

pub(crate) fn a_signal_handler_can_wake(fixture: &mut Fixture) {
    let waker = watched_waker(fixture);
    let mut signals = SignalSet::new(waker.clone());
    signals.add(libc::SIGUSR2).unwrap();
    assert_eq!(fixture.turn(Duration::ZERO), []);
    let nagger = Nagger::start(libc::SIGUSR2);
    fixture.turn_until(Token::WAKER);
    nagger.stop();
    waker.drain();
    assert_eq!(signals.take_pending(), [libc::SIGUSR2]);
}

pub(crate) fn a_signal_ends_the_wait_without_an_error(fixture: &mut Fixture) {
    // Somebody else's waker: here the signal does nothing but interrupt.
    let elsewhere = Waker::new().unwrap();
    let mut signals = SignalSet::new(elsewhere);
    signals.add(libc::SIGUSR1).unwrap();
    let nagger = Nagger::start(libc::SIGUSR1);
    let start = Instant::now();
    for _ in 0..20 {
        assert_eq!(fixture.wait(PATIENCE), []);
        // Fractions of a millisecond take another system call where there is one.
        assert_eq!(fixture.wait(PATIENCE + Duration::from_nanos(1)), []);
        fixture.poller.wait(&mut fixture.events, None).unwrap();
        assert!(fixture.events.is_empty());
    }
    assert!(start.elapsed() < PATIENCE, "the waits were not interrupted");
    nagger.stop();
    assert_eq!(signals.take_pending(), [libc::SIGUSR1]);
}

/// Sends a signal to the thread that made it, every millisecond until told to stop: whether the
/// signal comes before or during the wait cannot be seen from outside.
struct Nagger {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Nagger {
    fn start(signal: i32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        // SAFETY: the call takes nothing and always succeeds.
        let target = unsafe { libc::pthread_self() } as usize;
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // SAFETY: the target thread joins this one in `stop` before it ends.
                unsafe { libc::pthread_kill(target as libc::pthread_t, signal) };
                thread::sleep(Duration::from_millis(1));
            }
        });
        Self { stop, thread }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}
