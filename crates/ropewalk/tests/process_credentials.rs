//! Children that are somebody else's: user, group and groups. For the most part it takes root.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod process_support;

use std::io::Write;
use std::rc::Rc;
use std::thread;

use process_support::{Recorder, alone, finish, shell, ways};
use ropewalk::process::{Command, Ended, Step};
use ropewalk::{Error, Reactor};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};
use variant::Variant;

const USER: u32 = 12_345;
const GROUP: u32 = 12_346;

/// Real, effective and saved ids, and the groups, as the kernel tells them of the child.
const WHO: &str = "grep -E '^(Uid|Gid|Groups)' /proc/self/status";

fn with_every_way(case: impl Fn(&Reactor)) {
    for notice in ways(Variant::ANY) {
        println!("with {notice:?}");
        alone(|| {
            let builder = Variant::ANY.builder().signals(false).exit_notice(notice);
            case(&Variant::ANY.prepare(builder));
        });
    }
}

/// Whether this process may change users; says so, past what the harness captures, if not.
fn is_privileged(what: &str) -> bool {
    let privileged = geteuid().is_root();
    if !privileged {
        let text = format!("NOT TESTED: {what}, which needs root\n");
        std::io::stderr().write_all(text.as_bytes()).unwrap();
    }
    privileged
}

fn identity(
    reactor: &Reactor,
    change: impl FnOnce(Command<'static>) -> Command<'static>,
) -> String {
    let heard = finish(reactor, &change(shell(WHO)));
    assert_eq!(heard.ended.get(), Some(Ended::Exited(0)));
    let words: Vec<_> = heard
        .text(1)
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    words.join(" ")
}

fn ids(user: u32, group: u32, groups: &str) -> String {
    let four = |id: u32| {
        [
            id.to_string(),
            id.to_string(),
            id.to_string(),
            id.to_string(),
        ]
        .join(" ")
    };
    let all = format!("Uid: {} Gid: {} Groups: {groups}", four(user), four(group));
    all.trim_end().to_owned()
}

#[test]
fn a_child_is_who_it_is_told_to_be() {
    if !is_privileged("a change of users") {
        return;
    }
    with_every_way(|reactor| {
        let who = identity(reactor, |child| child.uid(USER).gid(GROUP).groups([7, 8]));
        assert_eq!(who, ids(USER, GROUP, "7 8"));
        // The groups of a privileged parent stay behind.
        let who = identity(reactor, |child| child.uid(USER).gid(GROUP));
        assert_eq!(who, ids(USER, GROUP, ""));
        let who = identity(reactor, |child| child.gid(GROUP).groups([]));
        assert_eq!(who, ids(0, GROUP, ""));
    });
}

#[test]
fn this_process_stays_who_it_is() {
    if !is_privileged("a change of users") {
        return;
    }
    let own = || std::fs::read_to_string("/proc/self/status").unwrap();
    let who = |status: String| {
        let is_one = |line: &&str| ["Uid", "Gid", "Gro"].contains(&&line[..3]);
        let lines = status.lines().filter(|line| line.len() > 3);
        lines.filter(is_one).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = who(own());
    with_every_way(|reactor| {
        identity(reactor, |child| child.uid(USER).gid(GROUP).groups([7]));
    });
    assert_eq!(who(own()), before);
}

/// What a spawn fails at, and with what; the text names both.
fn refused(reactor: &Reactor, command: &Command<'_>) -> (Step, Option<Errno>) {
    let heard = Rc::default();
    let error = reactor
        .spawn_process(command, Recorder(Rc::clone(&heard)))
        .unwrap_err();
    assert!(heard.take().is_empty());
    let text = error.to_string();
    let Error::Spawn { step, source, .. } = error else {
        panic!("{error}");
    };
    assert!(text.contains(&step.to_string()), "{text}");
    (step, Errno::from_io_error(&source))
}

/// In a thread that has laid its privilege aside for good, or in a process that never had it.
#[test]
fn without_privilege_each_change_fails_by_its_name() {
    for notice in ways(Variant::ANY) {
        let without_privilege = || {
            if geteuid().is_root() {
                let (group, user) = (Gid::from_raw(GROUP), Uid::from_raw(USER));
                set_thread_res_gid(group, group, group).unwrap();
                set_thread_res_uid(user, user, user).unwrap();
            }
            let builder = Variant::ANY.builder().signals(false).exit_notice(notice);
            each_change_fails(&Variant::ANY.prepare(builder));
        };
        alone(|| {
            thread::scope(|scope| scope.spawn(without_privilege).join().unwrap());
        });
    }
}

fn each_change_fails(reactor: &Reactor) {
    let child = || Command::new("true");
    let denied = |step| (step, Some(Errno::PERM));
    assert_eq!(refused(reactor, &child().uid(0)), denied(Step::User));
    assert_eq!(refused(reactor, &child().gid(0)), denied(Step::Group));
    assert_eq!(refused(reactor, &child().groups([0])), denied(Step::Groups));
    // What is tried first is what is told.
    let all = child().uid(0).gid(0).groups([0]);
    assert_eq!(refused(reactor, &all), denied(Step::Groups));
    // What it is already, it may be.
    let same = child().uid(geteuid().as_raw());
    assert!(finish(reactor, &same).ended.get().unwrap().is_success());
}

/// Where only one user is there, others are no users at all, and groups must not be set.
#[test]
fn in_a_user_namespace_each_change_fails_by_its_name() {
    let mut command = std::process::Command::new("unshare");
    command.args(["--user", "--map-root-user"]);
    let may = command.arg("true").output();
    if !may.is_ok_and(|output| output.status.success()) {
        std::io::stderr()
            .write_all(b"NOT TESTED: user namespaces, which this system refuses\n")
            .unwrap();
        return;
    }
    alone(|| {
        let mut command = std::process::Command::new("unshare");
        command.args(["--user", "--map-root-user"]);
        command.arg(std::env::current_exe().unwrap());
        command.args([
            "--exact",
            "--ignored",
            "--nocapture",
            "child_in_a_namespace",
        ]);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{output:?}"
        );
    });
}

#[test]
#[ignore = "run in a process of its own by another test"]
fn child_in_a_namespace() {
    with_every_way(|reactor| {
        let child = || Command::new("true");
        // Real user root: so the groups are to be left behind, which they cannot be.
        let refusal = refused(reactor, &child().uid(USER));
        assert_eq!(refusal, (Step::Groups, Some(Errno::PERM)));
        let refusal = refused(reactor, &child().gid(GROUP));
        assert_eq!(refusal, (Step::Group, Some(Errno::INVAL)));
    });
}
