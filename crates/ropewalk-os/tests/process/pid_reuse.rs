//! Ids that are used again: in a namespace of their own with room for few.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use ropewalk_os::process::{ChildFd, Ended, ExitNotice, Group, Spawn};

use crate::fixture::{alone, not_tested};

/// One more than the highest id. The kernel gives those below 300 once, and not again.
const LIMIT: &str = "320";
const FIRST_USED_AGAIN: i32 = 301;

/// Why the test cannot run, for a person to read.
fn obstacle() -> Option<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let numbers: Vec<u32> = release
        .split(['.', '-', '\n'])
        .map_while(|n| n.parse().ok())
        .collect();
    if numbers[..2] < *[6, 14].as_slice() {
        return Some(format!(
            "in Linux {} `pid_max` is the whole system's",
            release.trim_end()
        ));
    }
    let try_it = "echo 320 > /proc/sys/kernel/pid_max";
    let output = unshare().args(["sh", "-c", try_it]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    (!output.status.success()).then(|| format!("no namespace with few ids: {}", error.trim_end()))
}

fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
    command
}

#[test]
fn a_child_is_never_taken_for_another_that_has_its_id_now() {
    alone(in_a_namespace);
}

fn in_a_namespace() {
    if let Some(obstacle) = obstacle() {
        not_tested(&format!("the reuse of process ids: {obstacle}"));
        return;
    }
    let before = fs::read_to_string("/proc/sys/kernel/pid_max").unwrap();
    let mut command = unshare();
    command.arg(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--test-threads=1", "--nocapture"]);
    let output = command
        .arg("pid_reuse::inside_the_namespace")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("1 passed"), "{text}");
    assert_eq!(
        fs::read_to_string("/proc/sys/kernel/pid_max").unwrap(),
        before
    );
}

#[test]
#[ignore = "run in a namespace by the other test"]
fn inside_the_namespace() {
    fs::write("/proc/sys/kernel/pid_max", LIMIT).unwrap();
    let notice = ExitNotice::Pidfd;
    loop {
        let mut child = Spawn::new("/bin/true", notice).spawn().unwrap().child;
        assert_eq!(child.wait().unwrap(), Ended::Exited(0));
        if child.id() >= FIRST_USED_AGAIN {
            break;
        }
    }
    // Two that are gone: one waited for here, one elsewhere, so that its handle does not know.
    let mut told = Spawn::new("/bin/true", notice).spawn().unwrap().child;
    assert_eq!(told.wait().unwrap(), Ended::Exited(0));
    let mut untold = Spawn::new("/bin/false", notice).spawn().unwrap().child;
    let mut status = 0;
    // SAFETY: the call writes one number.
    assert!(unsafe { libc::waitpid(untold.id(), &raw mut status, 0) } > 0);
    // Children until both ids are in use again, and a few times more.
    let stale = BTreeSet::from([told.id(), untold.id()]);
    let mut again = BTreeSet::new();
    let mut children = Vec::new();
    while again != stale {
        let mut spawn = Spawn::new("/bin/sh", notice);
        spawn.arguments(["sh", "-c", "read line; exit 5"]);
        // Each leads a group, which a signal to a group of the same id would reach.
        spawn.process_group(Group::Process(0));
        let spawned = spawn.descriptor(0, ChildFd::Reads).spawn().unwrap();
        if stale.contains(&spawned.child.id()) {
            again.insert(spawned.child.id());
            children.push(spawned);
            continue;
        }
        let mut child = spawned.child;
        drop(spawned.pipes);
        assert_eq!(child.wait().unwrap(), Ended::Exited(5));
    }
    for child in [&mut told, &mut untold] {
        assert!(!child.send_signal(libc::SIGKILL).unwrap());
        assert!(!child.send_signal_to_group(libc::SIGKILL).unwrap());
        assert!(matches!(child.try_wait(), Ok(Some(_))));
    }
    // The new ones live, and end as they are told.
    for mut spawned in children {
        assert_eq!(spawned.child.try_wait().unwrap(), None);
        drop(spawned.pipes);
        assert_eq!(spawned.child.wait().unwrap(), Ended::Exited(5));
    }
}
