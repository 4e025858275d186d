//! Which poller a reactor gets that asks for none. The environment is the process's, so each look
//! at it is a process of its own: this program again, told to run `the_child` alone.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::process::Command;

use ropewalk::{PollerKind, Reactor};

/// What a new reactor is in a process with `ROPEWALK_POLLER` set so: its poller, or the error.
fn chosen(variable: Option<&str>) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "the_child", "--ignored", "--nocapture"]);
    child.env_remove("ROPEWALK_POLLER");
    child.envs(variable.map(|value| ("ROPEWALK_POLLER", value)));
    let output = String::from_utf8(child.output().unwrap().stdout).unwrap();
    let line = output.lines().find_map(|line| line.split_once("chosen: "));
    line.unwrap_or_else(|| panic!("no answer in {output}"))
        .1
        .to_owned()
}

#[test]
#[ignore = "what the other tests start"]
fn the_child() {
    match Reactor::new() {
        Ok(reactor) => println!("chosen: {}", reactor.poller_kind()),
        Err(error) => println!("chosen: {error}: {}", source(&error)),
    }
}

fn source(error: &dyn std::error::Error) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}

#[test]
fn the_platforms_best_poller_is_the_usual_one() {
    assert_eq!(chosen(None), PollerKind::preferred().name());
    assert_eq!(chosen(Some("")), PollerKind::preferred().name());
}

#[test]
fn the_environment_chooses_among_those_that_are_there() {
    for kind in PollerKind::available() {
        assert_eq!(chosen(Some(kind.name())), kind.name());
    }
}

#[test]
fn an_unknown_poller_in_the_environment_is_an_error_that_lists_the_known() {
    let error = chosen(Some("devpoll"));
    assert!(error.contains("devpoll"), "{error}");
    for kind in PollerKind::available() {
        assert!(error.contains(kind.name()), "{error}");
    }
}
