//! What a reactor leaves of the signal handlers that its program has. Handlers are the process's:
//! each case in a process of its own, this test program run again with one of its ignored tests.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::cell::Cell;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use ropewalk::{Reactor, Signal};

/// How often the program's handler ran.
static RUNS: AtomicI32 = AtomicI32::new(0);
/// Who sent the last signal, for a handler that is told.
static SENDER: AtomicI32 = AtomicI32::new(0);

extern "C" fn plain(_signal: libc::c_int) {
    RUNS.fetch_add(1, Ordering::SeqCst);
}

extern "C" fn told(_: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    assert!(!context.is_null());
    // SAFETY: the system gives a handler of this kind what it knows.
    SENDER.store(unsafe { (*info).si_pid() }, Ordering::SeqCst);
    RUNS.fetch_add(1, Ordering::SeqCst);
}

/// What the program does with a signal.
enum Action {
    Plain,
    Told,
    Ignore,
}

fn set(signal: Signal, action: &Action) {
    let (handler, flags) = match action {
        Action::Plain => (plain as extern "C" fn(libc::c_int) as libc::sighandler_t, 0),
        Action::Told => {
            let told: extern "C" fn(_, _, _) = told;
            (told as libc::sighandler_t, libc::SA_SIGINFO)
        }
        Action::Ignore => (libc::SIG_IGN, 0),
    };
    // SAFETY: all zeros is a `sigaction`; the handler is async-signal-safe and of the kind that the
    // flags say.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        let result = libc::sigaction(signal.number(), &action, ptr::null_mut());
        assert_eq!(result, 0);
    }
}

/// Sends a signal to this thread, which has handled it when this returns. Answers how often the
/// program's handler ran for it.
fn send(signal: Signal) -> i32 {
    let before = RUNS.load(Ordering::SeqCst);
    // SAFETY: the call takes a number.
    assert_eq!(unsafe { libc::raise(signal.number()) }, 0);
    RUNS.load(Ordering::SeqCst) - before
}

/// Whether the last signal was known to be this process's own.
fn was_told() -> bool {
    SENDER.swap(0, Ordering::SeqCst) == std::process::id() as i32
}

fn run(case: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--test-threads=1", case])
        .output()
        .unwrap()
}

fn check(case: &str) {
    let output = run(case);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{case}: {output:?}"
    );
}

/// A reactor that counts what it hears.
fn listening(signal: Signal) -> (Reactor, Rc<Cell<usize>>) {
    let reactor = Reactor::builder().signals(false).build().unwrap();
    let heard = Rc::<Cell<usize>>::default();
    let count = Rc::clone(&heard);
    let handler = reactor.on_signal(signal, move |_| count.set(count.get() + 1));
    drop(handler.unwrap());
    (reactor, heard)
}

#[test]
fn a_handler_that_was_there_runs_beside_the_reactors_and_after_them() {
    check("child_with_a_plain_handler");
    check("child_with_a_handler_that_is_told");
}

#[test]
#[ignore = "run in a process of its own by another test"]
fn child_with_a_plain_handler() {
    with_a_handler(&Action::Plain);
}

#[test]
#[ignore = "run in a process of its own by another test"]
fn child_with_a_handler_that_is_told() {
    with_a_handler(&Action::Told);
    assert!(was_told());
}

fn with_a_handler(action: &Action) {
    set(Signal::USR1, action);
    let (reactor, heard) = listening(Signal::USR1);
    let (other, heard_too) = listening(Signal::USR1);
    assert_eq!(send(Signal::USR1), 1);
    for reactor in [&reactor, &other] {
        reactor.turn(Duration::ZERO).unwrap();
    }
    assert_eq!((heard.get(), heard_too.get()), (1, 1));
    drop(reactor);
    assert_eq!(send(Signal::USR1), 1);
    drop(other);
    assert_eq!(send(Signal::USR1), 1);
    // The next reactor finds it as the first did.
    let (reactor, heard) = listening(Signal::USR1);
    assert_eq!(send(Signal::USR1), 1);
    reactor.turn(Duration::ZERO).unwrap();
    assert_eq!(heard.get(), 1);
}

#[test]
fn what_a_program_ignores_is_ignored_again() {
    check("child_that_ignores");
}

#[test]
#[ignore = "run in a process of its own by another test"]
fn child_that_ignores() {
    set(Signal::USR1, &Action::Ignore);
    let (reactor, heard) = listening(Signal::USR1);
    send(Signal::USR1);
    reactor.turn(Duration::ZERO).unwrap();
    assert_eq!(heard.get(), 1);
    drop(reactor);
    send(Signal::USR1);
}

#[test]
fn the_default_action_is_back_when_the_reactor_is_gone() {
    let ended = run("child_whose_reactor_is_gone");
    assert_eq!(ended.status.signal(), Some(Signal::USR1.number()));
}

#[test]
#[ignore = "run in a process of its own by another test"]
fn child_whose_reactor_is_gone() {
    let (reactor, heard) = listening(Signal::USR1);
    send(Signal::USR1);
    reactor.turn(Duration::ZERO).unwrap();
    assert_eq!(heard.get(), 1);
    drop(reactor);
    send(Signal::USR1);
}

#[test]
fn a_handler_that_came_later_is_left_in_place() {
    check("child_with_a_late_handler");
}

#[test]
#[ignore = "run in a process of its own by another test"]
fn child_with_a_late_handler() {
    let (reactor, _heard) = listening(Signal::USR1);
    set(Signal::USR1, &Action::Plain);
    assert_eq!(send(Signal::USR1), 1);
    drop(reactor);
    assert_eq!(send(Signal::USR1), 1);
}

#[test]
fn handlers_of_what_stops_a_reactor_run_before_during_and_after() {
    for case in ["child_stopped_by_sigterm", "child_stopped_by_sigint"] {
        check(case);
    }
}

#[test]
#[ignore = "run in a process of its own by another test"]
fn child_stopped_by_sigterm() {
    stopped_by(Signal::TERM);
}

#[test]
#[ignore = "run in a process of its own by another test"]
fn child_stopped_by_sigint() {
    stopped_by(Signal::INT);
}

fn stopped_by(signal: Signal) {
    set(signal, &Action::Told);
    let reactor = Reactor::new().unwrap();
    assert_eq!(send(signal), 1);
    let ran = Rc::<Cell<i32>>::default();
    let count = Rc::clone(&ran);
    reactor.call_when_running(move |_| count.set(send(signal)));
    reactor.run().unwrap();
    assert_eq!(ran.get(), 1);
    assert_eq!(reactor.exit_signal(), Some(signal.number()));
    assert_eq!(send(signal), 1);
    drop(reactor);
    assert_eq!(send(signal), 1);
    assert!(was_told());
}

#[test]
fn an_ignored_interrupt_stays_ignored_and_an_ignored_request_to_end_stops_the_reactor() {
    check("child_that_ignored_what_stops_it");
}

#[test]
#[ignore = "run in a process of its own by another test"]
fn child_that_ignored_what_stops_it() {
    set(Signal::INT, &Action::Ignore);
    set(Signal::TERM, &Action::Ignore);
    assert!(Signal::INT.is_ignored());
    let reactor = Reactor::new().unwrap();
    reactor.call_when_running(|reactor| {
        assert_eq!(send(Signal::INT), 0);
        // Had it been taken for a wish to stop, it would be the one that has stopped the reactor.
        reactor.call_later(Duration::ZERO, |_| assert_eq!(send(Signal::TERM), 0));
    });
    reactor.call_later(Duration::from_secs(60), |_| std::process::abort());
    reactor.run().unwrap();
    assert_eq!(reactor.exit_signal(), Some(Signal::TERM.number()));
    assert!(Signal::INT.is_ignored());
    drop(reactor);
    send(Signal::INT);
    send(Signal::TERM);
}
