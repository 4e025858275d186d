//! Hosts that do what a library of theirs would not expect.

use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;

use ropewalk_os::process::{ChildFd, Ended, Spawned};

use crate::Fixture;
use crate::descriptors::{
    inheritable, random_mappings_arrive, the_child_has_what_it_is_given_and_no_other,
};
use crate::end::wait_elsewhere;
use crate::fixture::{Way, is_readable, read_to_end, wait_until_readable};
use crate::seccomp::refuse;
use crate::signals::Disposition;

/// What is known of a child that was waited for elsewhere: Linux keeps a record from 6.15 on.
fn known(fixture: &Fixture, ended: Ended) -> Ended {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let numbers: Vec<u32> = release
        .split(['.', '-', '\n'])
        .map_while(|n| n.parse().ok())
        .collect();
    if fixture.way == Way::Pidfd && numbers[..2] >= *[6, 15].as_slice() {
        return ended;
    }
    Ended::Unknown
}

/// Then the system waits for the children of this process by itself.
pub(crate) fn a_host_may_ignore_child_signals(fixture: &Fixture) {
    let _ignored = Disposition::set(libc::SIGCHLD, libc::SIG_IGN);
    for code in [0, 3, 3, 3, 3, 3, 3, 3, 3, 200] {
        let mut spawn = fixture.shell(format!("read line; exit {code}"));
        let mut spawned = spawn.descriptor(0, ChildFd::Reads).spawn().unwrap();
        assert_eq!(spawned.child.try_wait().unwrap(), None);
        assert!(spawned.child.send_signal(0).unwrap());
        drop(spawned.pipes);
        let ended = end_without_signals(fixture, &mut spawned.child);
        assert_eq!(ended, known(fixture, Ended::Exited(code)));
        assert!(!spawned.child.send_signal(libc::SIGKILL).unwrap());
    }
    let mut child = fixture.shell("kill -9 $$").spawn().unwrap().child;
    let killed = Ended::Killed {
        signal: libc::SIGKILL,
        core_dumped: false,
    };
    assert_eq!(
        end_without_signals(fixture, &mut child),
        known(fixture, killed)
    );
    let error = fixture.spawn_of("/nowhere").spawn().unwrap_err();
    assert_eq!(error.io_error().raw_os_error(), Some(libc::ENOENT));
}

/// Where only signals tell, and none comes, a loop can but look again.
fn end_without_signals(fixture: &Fixture, child: &mut ropewalk_os::process::Child) -> Ended {
    if fixture.way == Way::ChildSignal {
        return child.wait().unwrap();
    }
    fixture.finish(child)
}

/// As a library does that waits for any child.
pub(crate) fn a_host_may_wait_for_children_of_ours(fixture: &Fixture) {
    let mut child = fixture.shell("exit 9").spawn().unwrap().child;
    wait_elsewhere(child.id());
    assert_eq!(fixture.finish(&mut child), known(fixture, Ended::Exited(9)));
    let mut child = fixture.shell("exit 9").spawn().unwrap().child;
    wait_elsewhere(child.id());
    assert_eq!(child.wait().unwrap(), known(fixture, Ended::Exited(9)));
}

/// A child of a fork holds the pidfd of a child that is not its own.
pub(crate) fn after_a_fork_a_running_child_has_not_ended(fixture: &Fixture) {
    if fixture.way != Way::Pidfd {
        // Where the id is all there is, a process that is no parent learns nothing.
        return;
    }
    let mut spawn = fixture.shell("read line; exit 8");
    let Spawned { mut child, pipes } = spawn.descriptor(0, ChildFd::Reads).spawn().unwrap();
    // SAFETY: the child makes system calls only, and ends.
    let fork = unsafe { libc::fork() };
    if fork == 0 {
        let running = matches!(child.try_wait(), Ok(None));
        // SAFETY: ends the child.
        unsafe { libc::_exit(i32::from(running)) };
    }
    assert_eq!(libc::WEXITSTATUS(wait_elsewhere(fork)), 1);
    drop(pipes);
    assert_eq!(fixture.finish(&mut child), Ended::Exited(8));
}

/// Runs in a thread with a filter, which the case's children inherit.
fn with_filter(calls: &[libc::c_long], inside: impl FnOnce() + Send) {
    thread::scope(|scope| {
        scope.spawn(|| {
            refuse(calls, libc::ENOSYS);
            inside();
        });
    });
}

/// Linux before 5.9.
pub(crate) fn without_close_range_nothing_else_is_inherited(fixture: &Fixture) {
    let calls = [libc::SYS_close_range];
    with_filter(&calls, || {
        the_child_has_what_it_is_given_and_no_other(fixture)
    });
    with_filter(&calls, || random_mappings_arrive(fixture));
}

/// And without `/proc`, which the filter plays by having no directories at all.
pub(crate) fn without_a_list_of_them_nothing_else_is_inherited(fixture: &Fixture) {
    let (read, _write) = rustix::pipe::pipe().unwrap();
    let _open: Vec<OwnedFd> = [3, 30, 200].map(|least| inheritable(&read, least)).into();
    let script = "n=3; while [ $n -lt 260 ]; do \
                  [ -e /proc/$$/fd/$n ] && echo $n; n=$((n+1)); done; exit 0";
    with_filter(&[libc::SYS_close_range, libc::SYS_getdents64], || {
        let mut spawn = fixture.shell(script);
        spawn.descriptor(7, ChildFd::Inherits(std::os::fd::AsFd::as_fd(&read)));
        assert_eq!(fixture.text(&mut spawn), "7\n");
    });
}

/// A thread that another has cancelled ends in the next call that is a point for that. The child of
/// such a thread has its memory, but not its end: it becomes its program. In a process of its own,
/// for this end is none that Rust knows.
pub(crate) fn a_cancelled_thread_has_whole_children(fixture: &Fixture) {
    if fixture.way != Way::Pidfd {
        // There the parent reads and closes in between, and the thread ends itself.
        return;
    }
    // Without these the child closes one number after the other.
    let calls = [libc::SYS_close_range, libc::SYS_getdents64];
    let spawn = fixture.shell("exit 6");
    // SAFETY: the child goes on with one thread of a process that has others, none of which holds a
    // lock that matters here: they wait for this one. It ends without an end of the program's.
    let fork = unsafe { libc::fork() };
    if fork == 0 {
        refuse(&calls, libc::ENOSYS);
        // SAFETY: has this thread end at the next such point, before which the process ends.
        unsafe { libc::pthread_cancel(libc::pthread_self()) };
        let Ok(mut spawned) = spawn.spawn() else {
            // SAFETY: ends the process.
            unsafe { libc::_exit(1) }
        };
        let whole = matches!(spawned.child.wait(), Ok(Ended::Exited(6)));
        // SAFETY: ends the process.
        unsafe { libc::_exit(if whole { 0 } else { 2 }) }
    }
    assert_eq!(wait_elsewhere(fork), 0);
}

/// The end of a child is told while its pipes are open in a grandchild.
pub(crate) fn a_grandchild_that_keeps_a_pipe_delays_no_end(fixture: &Fixture) {
    let mut spawn = fixture.shell("(read line; echo late) <&3 & exit 2");
    spawn
        .descriptor(1, ChildFd::Writes)
        .descriptor(3, ChildFd::Reads);
    let Spawned {
        mut child,
        mut pipes,
    } = spawn.spawn().unwrap();
    assert_eq!(fixture.finish(&mut child), Ended::Exited(2));
    let output = pipes.remove(&1).unwrap();
    assert!(!is_readable(std::os::fd::AsFd::as_fd(&output)));
    drop(pipes);
    wait_until_readable(std::os::fd::AsFd::as_fd(&output));
    assert!(output.as_raw_fd() >= 0);
    assert_eq!(read_to_end(output), b"late\n");
}
