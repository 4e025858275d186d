//! The end of a child.

use std::os::fd::AsFd;
use std::time::Duration;

use ropewalk_os::process::{ChildFd, Ended, Watch};
use ropewalk_os::{Events, Interest, Registry};

use crate::Fixture;
use crate::fixture::{is_readable, read_to_end};

const KILLED: Ended = Ended::Killed {
    signal: libc::SIGKILL,
    core_dumped: false,
};

pub(crate) fn each_exit_code_is_told(fixture: &Fixture) {
    for code in [0, 1, 2, 127, 128, 255] {
        let ended = fixture.run(&fixture.shell(format!("exit {code}")));
        assert_eq!(ended, Ended::Exited(code));
        assert_eq!(ended.is_success(), code == 0);
        let status = ended.wait_status().unwrap();
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == code);
    }
}

pub(crate) fn the_end_is_told_once_and_stays(fixture: &Fixture) {
    let mut child = fixture.shell("exit 3").spawn().unwrap().child;
    assert_eq!(fixture.finish(&mut child), Ended::Exited(3));
    assert_eq!(child.ended(), Some(Ended::Exited(3)));
    assert_eq!(child.try_wait().unwrap(), Some(Ended::Exited(3)));
    assert_eq!(child.wait().unwrap(), Ended::Exited(3));
}

pub(crate) fn no_signal_reaches_a_child_that_is_gone(fixture: &Fixture) {
    let mut child = fixture.shell("exit 3").spawn().unwrap().child;
    assert_eq!(fixture.finish(&mut child), Ended::Exited(3));
    assert!(!child.send_signal(libc::SIGKILL).unwrap());
    // One that somebody else has waited for, whose id may be anybody's.
    let mut child = fixture.spawn_of("/bin/true").spawn().unwrap().child;
    wait_elsewhere(child.id());
    assert!(!child.send_signal(libc::SIGKILL).unwrap());
    assert!(child.try_wait().unwrap().is_some());
}

/// As a foreign library does that waits for whatever it finds.
pub(crate) fn wait_elsewhere(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: the call writes one number.
    let result = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(result, pid);
    status
}

pub(crate) fn an_ended_child_takes_signals_until_it_was_waited_for(fixture: &Fixture) {
    let mut spawn = fixture.shell("exit 4");
    let mut spawned = spawn.descriptor(1, ChildFd::Writes).spawn().unwrap();
    read_to_end(spawned.pipes.remove(&1).unwrap());
    assert!(spawned.child.send_signal(0).unwrap());
    assert_eq!(fixture.finish(&mut spawned.child), Ended::Exited(4));
    assert!(!spawned.child.send_signal(0).unwrap());
}

pub(crate) fn a_watch_reports_nothing_before_the_end(fixture: &Fixture) {
    let mut spawn = fixture.shell("read line; exit 7");
    spawn.descriptor(0, ChildFd::Reads);
    let mut spawned = spawn.spawn().unwrap();
    assert_eq!(spawned.child.try_wait().unwrap(), None);
    if let Watch::Descriptor(fd) = spawned.child.watch() {
        assert!(!is_readable(fd.as_fd()));
    }
    // A child that is stopped, or goes on, has not ended.
    assert!(spawned.child.send_signal(libc::SIGSTOP).unwrap());
    assert!(spawned.child.send_signal(libc::SIGCONT).unwrap());
    assert_eq!(spawned.child.try_wait().unwrap(), None);
    drop(spawned.pipes);
    assert_eq!(fixture.finish(&mut spawned.child), Ended::Exited(7));
}

/// As a loop has it: the registry shares the descriptor with the child's handle.
pub(crate) fn every_poller_reports_the_end(fixture: &Fixture) {
    for kind in ropewalk_testkit::poller_kinds() {
        let mut poller = kind.new_poller().unwrap();
        let (mut registry, mut events) = (Registry::new(), Events::new());
        let mut spawn = fixture.shell("read line; exit 7");
        let mut spawned = spawn.descriptor(0, ChildFd::Reads).spawn().unwrap();
        let Watch::Descriptor(fd) = spawned.child.watch() else {
            // Nothing to watch: the signal tells.
            drop(spawned.pipes);
            assert_eq!(fixture.finish(&mut spawned.child), Ended::Exited(7));
            continue;
        };
        let token = registry.insert(fd.clone().into(), ());
        registry.set_interest(token, Interest::READABLE);
        let mut refused = Vec::new();
        registry.apply(&mut *poller, &mut refused);
        assert!(refused.is_empty(), "{kind}: {refused:?}");
        poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.is_empty(), "{kind}");
        drop(spawned.pipes);
        // Reported until it was waited for.
        for _ in 0..2 {
            poller.wait(&mut events, None).unwrap();
            assert_eq!(events.as_slice()[0].token, token, "{kind}");
        }
        assert_eq!(spawned.child.try_wait().unwrap(), Some(Ended::Exited(7)));
        drop(spawned.child);
        drop(registry.remove(token, Some(&mut *poller)));
    }
}

pub(crate) fn a_child_outlives_its_handle(fixture: &Fixture) {
    let mut spawn = fixture.shell("read line; exit 5");
    let mut spawned = spawn.descriptor(0, ChildFd::Reads).spawn().unwrap();
    let pid = spawned.child.id();
    assert_eq!(spawned.child.try_wait().unwrap(), None);
    drop(spawned.child);
    drop(spawned.pipes);
    assert_eq!(libc::WEXITSTATUS(wait_elsewhere(pid)), 5);
    // A child that is killed while nobody looks.
    let mut spawn = fixture.shell("read line; exit 5");
    let mut spawned = spawn.descriptor(0, ChildFd::Reads).spawn().unwrap();
    spawned.child.send_signal(libc::SIGKILL).unwrap();
    assert_eq!(spawned.child.wait().unwrap(), KILLED);
}
