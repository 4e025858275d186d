//! Terminals in raw mode when their process ends: this test program run again with an ignored test.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use ropewalk_os::RawMode;
use ropewalk_os::process::Pty;
use rustix::termios::{LocalModes, tcgetattr};

fn is_raw(terminal: impl AsFd) -> bool {
    let modes = tcgetattr(terminal).unwrap().local_modes;
    !modes.intersects(LocalModes::ICANON | LocalModes::ECHO)
}

/// Runs the ignored test `case` with two terminals, as its input and its output.
fn run(case: &str, terminals: &[Pty; 2]) -> Option<i32> {
    let [input, output] = terminals
        .each_ref()
        .map(|pty| pty.slave.try_clone().unwrap());
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "--ignored",
        "--exact",
        "--nocapture",
        "--test-threads=1",
        case,
    ]);
    let command = command.stdin(input).stdout(output).stderr(Stdio::null());
    command.status().unwrap().code()
}

#[test]
fn the_end_of_one_mode_leaves_the_other_to_the_end_of_the_process() {
    let terminals = [(); 2].map(|()| Pty::open().unwrap());
    assert_eq!(run("child_with_two_terminals", &terminals), Some(7));
    assert!(terminals.iter().all(|pty| !is_raw(&pty.slave)));
}

#[test]
#[ignore = "run in a process of its own by another test"]
fn child_with_two_terminals() {
    let first = RawMode::enter(std::io::stdin()).unwrap();
    let _second = RawMode::enter(std::io::stdout()).unwrap();
    assert!(is_raw(std::io::stdin()) && is_raw(std::io::stdout()));
    drop(first);
    assert!(!is_raw(std::io::stdin()) && is_raw(std::io::stdout()));
    std::process::exit(7);
}

/// A child of a fork that ends as a program does, and not by `_exit`.
#[test]
fn the_end_of_a_forked_child_leaves_the_mode_alone() {
    let terminals = [(); 2].map(|()| Pty::open().unwrap());
    assert_eq!(run("child_that_forks", &terminals), Some(8));
    assert!(terminals.iter().all(|pty| !is_raw(&pty.slave)));
}

#[test]
#[ignore = "run in a process of its own by another test"]
fn child_that_forks() {
    let mode = RawMode::enter(std::io::stdin()).unwrap();
    // SAFETY: the child runs what the process has registered for its end, which locks nothing that
    // another thread could have locked: the others wait.
    let fork = unsafe { libc::fork() };
    if fork == 0 {
        // SAFETY: as above.
        unsafe { libc::exit(0) };
    }
    let mut status = -1;
    // SAFETY: the call writes one number.
    assert_eq!(unsafe { libc::waitpid(fork, &raw mut status, 0) }, fork);
    assert_eq!(status, 0);
    assert!(is_raw(std::io::stdin()));
    drop(mode);
    std::process::exit(8);
}
