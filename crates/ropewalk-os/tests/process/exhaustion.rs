//! A table of descriptors that has no room left.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use ropewalk_os::process::{ChildFd, Ended, Spawn, Step};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Fixture;
use crate::descriptors::inheritable;
use crate::fixture::Way;

/// How many descriptors this process may have, put back at the end.
pub(crate) struct Limit(Rlimit);

impl Limit {
    pub(crate) fn lower_to(current: u64) -> Self {
        let before = getrlimit(Resource::Nofile);
        let limit = Rlimit {
            current: Some(current),
            ..before
        };
        setrlimit(Resource::Nofile, limit).unwrap();
        Self(before)
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.0).unwrap();
    }
}

pub(crate) fn a_full_table_is_told_and_leaves_nothing(fixture: &Fixture) {
    let mut spawn = fixture.spawn_of("/bin/true");
    spawn
        .descriptor(0, ChildFd::Reads)
        .descriptor(1, ChildFd::Writes);
    let expected: &[Step] = match fixture.way {
        Way::Pidfd => &[Step::Pipe, Step::Fork],
        Way::KernelQueue => &[Step::Pipe, Step::Watch, Step::Pipe],
        Way::ChildSignal => &[Step::Pipe],
    };
    assert_eq!(steps_of(fixture, &spawn), expected);
}

/// To swap two numbers takes a third, in the child.
pub(crate) fn a_swap_in_a_full_table_is_told_and_leaves_nothing(fixture: &Fixture) {
    let [first, second] = [58, 59].map(|least| inheritable(&std::io::stderr(), least));
    let mut spawn = fixture.spawn_of("/bin/true");
    spawn
        .descriptor(first.as_raw_fd(), ChildFd::Inherits(second.as_fd()))
        .descriptor(second.as_raw_fd(), ChildFd::Inherits(first.as_fd()));
    let expected: &[Step] = match fixture.way {
        // Its pidfd is no descriptor of the child, who has that number.
        Way::Pidfd => &[Step::Fork],
        Way::KernelQueue => &[Step::Watch, Step::Pipe, Step::Descriptors],
        Way::ChildSignal => &[Step::Pipe, Step::Descriptors],
    };
    assert_eq!(steps_of(fixture, &spawn), expected);
}

/// At which steps a spawn fails, with one descriptor more each time, from none on, until there are
/// enough.
fn steps_of(fixture: &Fixture, spawn: &Spawn<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    for room in 0.. {
        let limit = Limit::lower_to(64);
        let mut fill: Vec<OwnedFd> = Vec::new();
        while let Ok(fd) = rustix::io::fcntl_dupfd_cloexec(std::io::stderr(), 3) {
            assert!(fd.as_raw_fd() < 64);
            fill.push(fd);
        }
        fill.truncate(fill.len() - room);
        let before = count_of_open();
        let outcome = spawn.spawn();
        let after = count_of_open();
        drop((limit, fill));
        match outcome {
            Ok(mut spawned) => {
                assert_eq!(fixture.finish(&mut spawned.child), Ended::Exited(0));
                break;
            }
            Err(error) => {
                assert_eq!(
                    error.io_error().raw_os_error(),
                    Some(libc::EMFILE),
                    "{error}"
                );
                assert_eq!(before, after);
                steps.push(error.step());
            }
        }
        ropewalk_testkit::assert_no_children();
    }
    steps.dedup();
    steps
}

/// Numbers up to the limit are the child's, and those beyond are none.
pub(crate) fn the_highest_number_is_the_last_below_the_limit(fixture: &Fixture) {
    let limit = Limit::lower_to(300);
    let mut spawn = fixture.shell("[ -e /proc/$$/fd/299 ]");
    spawn.descriptor(299, ChildFd::Reads);
    assert_eq!(fixture.run(&spawn), Ended::Exited(0));
    let error = spawn.descriptor(300, ChildFd::Reads).spawn().unwrap_err();
    let errno = error.io_error().raw_os_error();
    assert_eq!(
        (error.step(), errno),
        (Step::Descriptors, Some(libc::EBADF))
    );
    drop(limit);
}

/// A limit that is lowered closes nothing: what is open beyond it is nothing for the child either.
pub(crate) fn nothing_beyond_a_lowered_limit_is_inherited(fixture: &Fixture) {
    let open = inheritable(&std::io::stderr(), 400);
    let number = open.as_raw_fd();
    let limit = Limit::lower_to(100);
    let script = format!("[ -e /proc/$$/fd/{number} ] && exit 1; exit 0");
    let ended = fixture.run(&fixture.shell(script));
    drop(limit);
    assert_eq!(ended, Ended::Exited(0));
}

fn count_of_open() -> usize {
    let is_open = |number: &i32| {
        // SAFETY: the call takes a number.
        unsafe { libc::fcntl(*number, libc::F_GETFD) >= 0 }
    };
    (0..64).filter(is_open).count()
}
