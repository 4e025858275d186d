//! Signals, in child processes: this test program run again with one of its ignored tests.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ropewalk::{Phase, Reactor};
use rustix::process::{Pid, Signal, kill_process};
use variant::Variant;

/// The line with which a child says that its reactor runs.
const READY: &str = "child is ready";

/// The variables that tell a child its poller, and whether it is a host.
const POLLER: &str = "ROPEWALK_TEST_POLLER";
const HOSTED: &str = "ROPEWALK_TEST_HOSTED";

/// Runs the ignored test `case` in a child and sends it `signal` when it is ready; returns what it
/// wrote after that.
fn signal_child(
    case: &str,
    variant: Variant,
    signal: Signal,
) -> (std::process::ExitStatus, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "--nocapture",
            "--test-threads=1",
            case,
        ])
        .env(POLLER, variant.kind.name())
        .envs(variant.hosted.then_some((HOSTED, "1")))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains(READY) {
        line.clear();
        assert_ne!(
            lines.read_line(&mut line).unwrap(),
            0,
            "the child ended early"
        );
    }
    send(&child, signal);
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    (child.wait().unwrap(), rest)
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Runs until a signal stops the reactor, on the poller that the environment names.
#[test]
#[ignore = "run in a child by the other tests"]
fn child_with_handlers() {
    let variant = Variant {
        kind: std::env::var(POLLER).unwrap().parse().unwrap(),
        hosted: std::env::var(HOSTED).is_ok(),
    };
    let reactor = variant.prepare(variant.builder());
    reactor.call_when_running(|_| println!("{READY}"));
    reactor.add_system_event_trigger(Phase::Before, "shutdown", |_| println!("shutting down"));
    variant::run(&reactor).unwrap();
    println!("ended by {:?}", reactor.exit_signal());
}

#[test]
#[ignore = "run in a child by the other tests"]
fn child_without_handlers() {
    let reactor = Reactor::builder().signals(false).build().unwrap();
    reactor.call_when_running(|_| println!("{READY}"));
    reactor.call_later(Duration::from_secs(60), |_| std::process::abort());
    reactor.run().unwrap();
}

on_every_variant!(crate::run_case: sigterm_stops_in_order, sigint_stops_in_order);

fn run_case(variant: Variant, case: fn(Variant)) {
    case(variant);
}

fn sigterm_stops_in_order(variant: Variant) {
    stops_in_order(variant, Signal::TERM);
}

fn sigint_stops_in_order(variant: Variant) {
    stops_in_order(variant, Signal::INT);
}

fn stops_in_order(variant: Variant, signal: Signal) {
    let (status, output) = signal_child("child_with_handlers", variant, signal);
    assert!(status.success(), "{status}: {output}");
    let expected = format!("shutting down\nended by Some({})", signal.as_raw());
    assert!(output.contains(&expected), "{output}");
}

#[test]
fn signals_keep_their_meaning_when_the_reactor_leaves_them_alone() {
    use std::os::unix::process::ExitStatusExt;
    let (status, _) = signal_child("child_without_handlers", Variant::ANY, Signal::TERM);
    assert_eq!(status.signal(), Some(Signal::TERM.as_raw()));
}

#[test]
fn a_new_reactor_touches_no_signal() {
    let blocked = || std::fs::read_to_string("/proc/self/status").unwrap();
    let caught = |status: String| {
        let line = status
            .lines()
            .find(|line| line.starts_with("SigCgt:"))
            .map(str::to_owned);
        line.unwrap()
    };
    let before = caught(blocked());
    let reactor = Reactor::new().unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(caught(blocked()), before);
}
