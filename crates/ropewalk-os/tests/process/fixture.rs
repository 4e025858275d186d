//! What each case is given, and what is checked around it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ropewalk_os::process::{Child, ChildFd, Ended, ExitNotice, Spawn, Spawned, Watch};
use ropewalk_os::{SignalSet, Waker};
use ropewalk_testkit::{DescriptorCount, assert_no_children};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;

/// How long a case may take before the run is given up.
const LIMIT: Duration = Duration::from_secs(120);

/// Descriptors, children and signals are the process's: one case at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A way of noticing the end of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Pidfd,
    KernelQueue,
    ChildSignal,
}

impl Way {
    pub(crate) fn notice(self) -> ExitNotice {
        match self {
            Self::Pidfd => ExitNotice::Pidfd,
            Self::KernelQueue => ExitNotice::KernelQueue(|| {
                Ok(Box::new(
                    ropewalk_os::kqueue::InProcessKqueue::for_processes()?,
                ))
            }),
            Self::ChildSignal => ExitNotice::ChildSignal,
        }
    }
}

/// Runs `case` with its fixture, [`alone`].
pub(crate) fn run(way: Way, case: fn(&Fixture)) {
    alone(|| case(&Fixture::new(way)));
}

/// Runs `case`, and no other beside it; fails if it hangs or leaves a descriptor or a child.
pub(crate) fn alone(case: impl FnOnce()) {
    let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (finished, watched) = mpsc::channel::<()>();
    let name = thread::current().name().unwrap_or_default().to_owned();
    let guard = thread::spawn(move || {
        if watched.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
            eprintln!("{name} took longer than {LIMIT:?}");
            process::abort();
        }
    });
    let count = DescriptorCount::new();
    case();
    drop(count);
    assert_no_children();
    drop(finished);
    guard.join().unwrap();
    drop(turn);
}

/// Makes children and hears of their ends.
pub(crate) struct Fixture {
    pub(crate) way: Way,
    waker: Waker,
    signals: SignalSet,
}

impl Fixture {
    fn new(way: Way) -> Self {
        let waker = Waker::new().unwrap();
        let mut signals = SignalSet::new(waker.clone());
        if way == Way::ChildSignal {
            signals.add(libc::SIGCHLD).unwrap();
        }
        Self {
            way,
            waker,
            signals,
        }
    }

    pub(crate) fn spawn_of<'fd>(&self, program: &str) -> Spawn<'fd> {
        Spawn::new(program, self.way.notice())
    }

    /// A shell that runs `script`.
    pub(crate) fn shell<'fd>(&self, script: impl Into<Vec<u8>>) -> Spawn<'fd> {
        let mut spawn = self.spawn_of("/bin/sh");
        spawn.arguments([b"sh".to_vec(), b"-c".to_vec(), script.into()]);
        spawn
    }

    /// What the child writes to its descriptor 1, and how it ends.
    pub(crate) fn output(&self, spawn: &mut Spawn<'_>) -> (Vec<u8>, Ended) {
        let mut spawned = spawn.descriptor(1, ChildFd::Writes).spawn().unwrap();
        let output = read_to_end(spawned.pipes.remove(&1).unwrap());
        (output, self.finish(&mut spawned.child))
    }

    /// As [`output`](Self::output) of a child that must exit with zero, as text.
    pub(crate) fn text(&self, spawn: &mut Spawn<'_>) -> String {
        let (output, ended) = self.output(spawn);
        assert_eq!(ended, Ended::Exited(0));
        String::from_utf8(output).unwrap()
    }

    /// Runs a child to its end.
    pub(crate) fn run(&self, spawn: &Spawn<'_>) -> Ended {
        let Spawned { mut child, pipes } = spawn.spawn().unwrap();
        drop(pipes);
        self.finish(&mut child)
    }

    /// Waits for a child as a loop does: once at first, then when its watch reports.
    pub(crate) fn finish(&self, child: &mut Child) -> Ended {
        loop {
            if let Some(ended) = child.try_wait().unwrap() {
                return ended;
            }
            match child.watch() {
                Watch::Descriptor(fd) => {
                    wait_until_readable(fd.as_fd());
                    let ended = child.try_wait().unwrap();
                    return ended.expect("an end that was reported");
                }
                Watch::ChildSignal => self.wait_for_child_signal(),
                _ => unreachable!("no such watch in these tests"),
            }
        }
    }

    /// Waits for a `SIGCHLD`.
    pub(crate) fn wait_for_child_signal(&self) {
        while self.signals.take_pending().is_empty() {
            wait_until_readable(self.waker.read_fd());
            self.waker.drain();
        }
    }
}

/// Blocks until there is something to read, or the end of it.
pub(crate) fn wait_until_readable(fd: BorrowedFd<'_>) {
    let mut watched = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    retry_on_intr(|| poll(&mut watched, None)).unwrap();
}

/// Whether there is something to read now.
pub(crate) fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let mut watched = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    retry_on_intr(|| poll(&mut watched, Some(&Timespec::default()))).unwrap() > 0
}

/// Reads a pipe that does not block, to its end.
pub(crate) fn read_to_end(pipe: OwnedFd) -> Vec<u8> {
    let mut pipe = File::from(pipe);
    let mut all = Vec::new();
    loop {
        match pipe.read_to_end(&mut all) {
            Ok(_) => return all,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait_until_readable(pipe.as_fd());
            }
            Err(error) => panic!("reading a pipe: {error}"),
        }
    }
}

/// Says what this system keeps from being tested, past the capture of what tests print.
pub(crate) fn not_tested(what: &str) {
    let text = format!("NOT TESTED: {what}\n");
    io::stderr().write_all(text.as_bytes()).unwrap();
}
