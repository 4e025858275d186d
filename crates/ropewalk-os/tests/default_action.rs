//! What a signal does when no set watches it any more, in child processes: this test program run
//! again with one of its ignored tests.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use ropewalk_os::{SignalSet, Waker};

fn run_child(case: &str) -> ExitStatus {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--test-threads=1", case])
        .status()
        .unwrap()
}

fn raise(signal: i32) {
    // SAFETY: raises a signal, whose effect is what is tested.
    unsafe { libc::raise(signal) };
}

#[test]
fn a_signal_nobody_watches_any_more_ends_the_process_again() {
    assert_eq!(
        run_child("child_watches_and_stops").signal(),
        Some(libc::SIGTERM)
    );
}

#[test]
#[ignore = "run in a child by the other tests"]
fn child_watches_and_stops() {
    let mut set = SignalSet::new(Waker::new().unwrap());
    set.add(libc::SIGTERM).unwrap();
    raise(libc::SIGTERM);
    assert_eq!(set.take_pending(), [libc::SIGTERM]);
    drop(set);
    raise(libc::SIGTERM);
}

#[test]
fn a_signal_another_set_watches_ends_nothing() {
    assert!(run_child("child_keeps_one_of_two_sets").success());
}

#[test]
#[ignore = "run in a child by the other tests"]
fn child_keeps_one_of_two_sets() {
    let waker = Waker::new().unwrap();
    let (mut one, mut other) = (SignalSet::new(waker.clone()), SignalSet::new(waker));
    one.add(libc::SIGTERM).unwrap();
    other.add(libc::SIGTERM).unwrap();
    assert!(one.remove(libc::SIGTERM));
    raise(libc::SIGTERM);
    assert_eq!(other.take_pending(), [libc::SIGTERM]);
}

#[test]
fn a_handler_the_program_had_before_stays_all_there_is() {
    assert!(run_child("child_ignored_the_signal_before").success());
}

#[test]
#[ignore = "run in a child by the other tests"]
fn child_ignored_the_signal_before() {
    // SAFETY: sets a disposition of this process.
    unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
    let mut set = SignalSet::new(Waker::new().unwrap());
    set.add(libc::SIGTERM).unwrap();
    drop(set);
    raise(libc::SIGTERM);
}
