//! Signals, groups and sessions of a child.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;
use std::time::Duration;

use ropewalk_os::process::{ChildFd, Ended, Group, Spawned};

use crate::Fixture;
use crate::fixture::{read_to_end, wait_until_readable};

/// A signal's disposition, put back at the end.
pub(crate) struct Disposition(libc::c_int, libc::sighandler_t);

impl Disposition {
    pub(crate) fn set(signal: libc::c_int, handler: libc::sighandler_t) -> Self {
        // SAFETY: sets what is put back at the end; a handler given here is async-signal-safe.
        Self(signal, unsafe { libc::signal(signal, handler) })
    }
}

impl Drop for Disposition {
    fn drop(&mut self) {
        // SAFETY: the disposition is the one there was before.
        unsafe { libc::signal(self.0, self.1) };
    }
}

/// The sets that a child has, as the kernel tells them: blocked, ignored, caught.
fn sets_of(fixture: &Fixture) -> String {
    let mut spawn = fixture.spawn_of("cat");
    let status = fixture.text(spawn.arguments(["cat", "/proc/self/status"]));
    let is_set = |line: &&str| ["SigBlk", "SigIgn", "SigCgt"].contains(&&line[..6]);
    let lines = status.lines().filter(|line| line.len() > 6);
    lines.filter(is_set).collect::<Vec<_>>().join("\n")
}

const NO_SETS: &str = "SigBlk:	0000000000000000
SigIgn:	0000000000000000
\
                       SigCgt:	0000000000000000";

pub(crate) fn what_the_parent_ignores_is_default_in_the_child(fixture: &Fixture) {
    let ignored = [
        libc::SIGPIPE,
        libc::SIGINT,
        libc::SIGUSR1,
        libc::SIGHUP,
        libc::SIGRTMIN() + 3,
    ];
    let _ignored = ignored.map(|signal| Disposition::set(signal, libc::SIG_IGN));
    assert_eq!(sets_of(fixture), NO_SETS);
}

pub(crate) fn nothing_is_blocked_in_the_child(fixture: &Fixture) {
    // SAFETY: a set made by the calls, for this thread, put back below.
    let before = unsafe {
        let mut set = std::mem::zeroed();
        let mut before = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGTERM);
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, &mut before);
        before
    };
    let sets = sets_of(fixture);
    // SAFETY: asks for the mask, and puts the old one back.
    let still_blocked = unsafe {
        let mut now = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, &mut now);
        libc::sigismember(&now, libc::SIGTERM)
    };
    assert_eq!((sets.as_str(), still_blocked), (NO_SETS, 1));
}

static FOREIGN_RUNS: AtomicI32 = AtomicI32::new(0);
static OWN_ID: AtomicI32 = AtomicI32::new(0);

extern "C" fn count_runs_elsewhere(_signal: libc::c_int) {
    // SAFETY: the call takes nothing.
    if unsafe { libc::getpid() } != OWN_ID.load(Ordering::SeqCst) {
        FOREIGN_RUNS.fetch_add(1, Ordering::SeqCst);
    }
}

/// A storm of signals to the group while children are born: a child that shares its parent's memory
/// would count, in that memory, the handlers that run in it.
pub(crate) fn a_handler_of_the_parent_never_runs_in_the_child(fixture: &Fixture) {
    OWN_ID.store(std::process::id() as i32, Ordering::SeqCst);
    FOREIGN_RUNS.store(0, Ordering::SeqCst);
    let handler = count_runs_elsewhere as extern "C" fn(libc::c_int);
    // WINCH: harmless by default, so that no child is ended by it.
    let _handled = Disposition::set(libc::SIGWINCH, handler as libc::sighandler_t);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                // SAFETY: the call takes numbers; 0 is this process's group.
                unsafe { libc::kill(0, libc::SIGWINCH) };
                thread::sleep(Duration::from_micros(50));
            }
        });
        for _ in 0..60 {
            assert_eq!(
                fixture.run(&fixture.spawn_of("/bin/true")),
                Ended::Exited(0)
            );
            assert!(fixture.spawn_of("/nowhere").spawn().is_err());
        }
        over.store(true, Ordering::SeqCst);
    });
    assert_eq!(FOREIGN_RUNS.load(Ordering::SeqCst), 0);
}

pub(crate) fn a_group_gets_a_signal(fixture: &Fixture) {
    for group in [Group::Process(0), Group::Session] {
        let mut spawn = fixture.shell("sleep 1000 & echo; sleep 1000");
        spawn.process_group(group).descriptor(1, ChildFd::Writes);
        let Spawned {
            mut child,
            mut pipes,
        } = spawn.spawn().unwrap();
        wait_until_readable(std::os::fd::AsFd::as_fd(&pipes[&1]));
        assert!(child.send_signal_to_group(libc::SIGTERM).unwrap());
        let signal = libc::SIGTERM;
        let ended = fixture.finish(&mut child);
        assert_eq!(
            ended,
            Ended::Killed {
                signal,
                core_dumped: false
            }
        );
        // The end comes only when nobody of the group has the pipe any more.
        assert_eq!(read_to_end(pipes.remove(&1).unwrap()), b"\n");
        assert!(!child.send_signal_to_group(libc::SIGTERM).unwrap());
    }
}

pub(crate) fn a_session_is_led_by_the_child(fixture: &Fixture) {
    // Fields 1, 5 and 6 of stat: process, group, session.
    let script = "read pid name state parent group session rest < /proc/self/stat; \
                  echo $((pid == group)) $((pid == session))";
    let groups = |group| fixture.text(fixture.shell(script).process_group(group));
    assert_eq!(groups(Group::Inherited), "0 0\n");
    assert_eq!(groups(Group::Process(0)), "1 0\n");
    assert_eq!(groups(Group::Session), "1 1\n");
}

pub(crate) fn a_child_joins_the_group_of_another(fixture: &Fixture) {
    let mut sleep = fixture.spawn_of("sleep");
    sleep.arguments(["sleep", "1000"]);
    let mut leader = sleep
        .process_group(Group::Process(0))
        .spawn()
        .unwrap()
        .child;
    let group = Group::Process(leader.id());
    let mut member = sleep.process_group(group).spawn().unwrap().child;
    // Who leads none is no group, whatever its number.
    assert!(!member.send_signal_to_group(libc::SIGTERM).unwrap());
    assert!(leader.send_signal_to_group(libc::SIGTERM).unwrap());
    for child in [&mut leader, &mut member] {
        let signal = libc::SIGTERM;
        let killed = Ended::Killed {
            signal,
            core_dumped: false,
        };
        assert_eq!(fixture.finish(child), killed);
    }
}

pub(crate) fn each_signal_that_ends_is_told(fixture: &Fixture) {
    let signals = [
        libc::SIGTERM,
        libc::SIGKILL,
        libc::SIGHUP,
        libc::SIGSEGV,
        libc::SIGPIPE,
        libc::SIGRTMIN() + 1,
    ];
    for signal in signals {
        let mut spawn = fixture.spawn_of("sleep");
        let mut child = spawn.arguments(["sleep", "1000"]).spawn().unwrap().child;
        assert!(child.send_signal(signal).unwrap());
        let ended = fixture.finish(&mut child);
        let Ended::Killed {
            signal: told,
            core_dumped,
        } = ended
        else {
            panic!("{ended:?}");
        };
        assert_eq!(told, signal);
        let status = ended.wait_status().unwrap();
        assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == signal);
        assert_eq!(libc::WCOREDUMP(status), core_dumped);
    }
}
