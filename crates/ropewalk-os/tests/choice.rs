//! The choice of a poller where the program makes none. The environment and what the system grants
//! are the process's, so that each case is a child process: this test program run again with one of
//! its ignored tests.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod seccomp;

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::process::Command;

use ropewalk_os::{POLLER_VARIABLE, PollerKind};

/// Runs the ignored test `case` in a child, with a value for the variable or without it.
fn in_child(case: &str, value: Option<impl AsRef<OsStr>>) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--ignored", "--exact", "--test-threads=1", case]);
    child.env_remove(POLLER_VARIABLE);
    child.envs(value.map(|value| (POLLER_VARIABLE, value)));
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{case} was not run: {said}");
}

/// [`in_child`] with the variable unset.
fn in_child_without(case: &str) {
    in_child(case, None::<&str>);
}

const CREATE: &[libc::c_long] = &[libc::SYS_epoll_create1];
// Newer architectures do without the first forms of these calls.
const EPOLL_WAIT: &[libc::c_long] = &[
    #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
];
const POLL: &[libc::c_long] = &[
    #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
    libc::SYS_poll,
    libc::SYS_ppoll,
];

#[test]
fn the_best_poller_is_chosen_where_nothing_is_refused() {
    in_child_without("child_chooses_the_best");
}

#[test]
fn an_empty_variable_is_an_unset_one() {
    in_child("child_chooses_the_best", Some(""));
}

#[test]
#[ignore = "run in a child by the other tests"]
fn child_chooses_the_best() {
    assert_eq!(PollerKind::choose().unwrap(), PollerKind::preferred());
    assert_eq!(PollerKind::from_environment(), Ok(None));
}

#[test]
fn the_variable_overrides_the_choice() {
    for kind in PollerKind::available() {
        in_child("child_chooses_what_is_named", Some(kind.name()));
    }
}

#[test]
#[ignore = "run in a child by the other tests"]
fn child_chooses_what_is_named() {
    let named = std::env::var(POLLER_VARIABLE).unwrap().parse().unwrap();
    assert_eq!(PollerKind::choose().unwrap(), named);
    assert_eq!(PollerKind::from_environment(), Ok(Some(named)));
}

#[test]
fn a_name_no_poller_here_has_is_an_error_that_lists_those_that_are() {
    for name in ["devpoll", "kqueue", "EPOLL"] {
        in_child("child_is_told_the_names", Some(name));
    }
}

#[test]
#[ignore = "run in a child by the other tests"]
fn child_is_told_the_names() {
    let error = PollerKind::choose().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let text = error.to_string();
    assert!(text.contains(POLLER_VARIABLE), "{text}");
    assert!(text.contains("epoll, poll, select"), "{text}");
    let unknown = PollerKind::from_environment().unwrap_err();
    assert_eq!(unknown.to_string(), text);
}

#[test]
fn a_poller_that_cannot_be_made_is_passed_over() {
    in_child_without("child_has_no_epoll");
}

#[test]
#[ignore = "run in a child by the other tests"]
fn child_has_no_epoll() {
    seccomp::refuse(CREATE, libc::ENOSYS);
    assert_eq!(PollerKind::choose().unwrap(), PollerKind::Poll);
}

#[test]
fn a_poller_that_cannot_be_waited_in_is_passed_over() {
    in_child_without("child_may_not_wait_in_epoll");
}

#[test]
#[ignore = "run in a child by the other tests"]
fn child_may_not_wait_in_epoll() {
    seccomp::refuse(EPOLL_WAIT, libc::EPERM);
    assert_eq!(PollerKind::choose().unwrap(), PollerKind::Poll);
}

#[test]
fn the_last_resort_is_select() {
    in_child_without("child_has_neither_epoll_nor_poll");
}

#[test]
#[ignore = "run in a child by the other tests"]
fn child_has_neither_epoll_nor_poll() {
    seccomp::refuse(CREATE, libc::EPERM);
    seccomp::refuse(POLL, libc::EPERM);
    assert_eq!(PollerKind::choose().unwrap(), PollerKind::Select);
}

#[test]
fn what_is_wrong_at_the_moment_is_no_reason_for_another_poller() {
    in_child_without("child_has_no_descriptor_left");
}

#[test]
#[ignore = "run in a child by the other tests"]
fn child_has_no_descriptor_left() {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the call reads the structure.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &none) }, 0);
    let error = PollerKind::choose().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
}

#[test]
fn a_refused_poller_that_was_named_has_no_successor() {
    in_child("child_insists_on_epoll", Some("epoll"));
}

#[test]
#[ignore = "run in a child by the other tests"]
fn child_insists_on_epoll() {
    seccomp::refuse(CREATE, libc::EPERM);
    let error = PollerKind::choose().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let text = error.to_string();
    assert!(text.contains("refuses ROPEWALK_POLLER=epoll"), "{text}");
}
