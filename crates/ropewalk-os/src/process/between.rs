//! What a child does between its birth and exec(2).
//!
//! It may be the one thread of a program that had many, with locks held for ever, and it may share
//! the memory of its parent: so nothing here allocates, locks, panics or writes to what another
//! could read; system calls only, on memory prepared before.

use std::convert::Infallible;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};

use rustix::io::Errno;
use rustix::process::{ioctl_tiocsctty, setsid};

use super::close::{close, close_all_others};
use super::error::{Failure, Step};
use super::moves::Move;
use super::prepared::Prepared;
use super::signals;
use super::spawn::Group;

/// Becomes the program. Answers only if that failed.
pub(super) fn run(prepared: &Prepared) -> Failure {
    match become_program(prepared) {
        Ok(never) => match never {},
        Err(failure) => failure,
    }
}

fn become_program(prepared: &Prepared) -> Result<Infallible, Failure> {
    signals::set_default_actions();
    set_group(prepared.group)?;
    if let Some(terminal) = prepared.terminal {
        set_controlling_terminal(terminal).map_err(at(Step::Terminal))?;
    }
    move_descriptors(&prepared.moves).map_err(at(Step::Descriptors))?;
    // Before the user changes, who may not be allowed to look into /proc.
    close_all_others(prepared);
    if let Some(mask) = prepared.file_mode_mask {
        // SAFETY: the call takes a number.
        unsafe { libc::umask(mask as libc::mode_t) };
    }
    if let Some(directory) = &prepared.directory {
        // SAFETY: the path lives through the call and ends with a zero byte.
        check(unsafe { libc::chdir(directory.as_ptr()) }).map_err(at(Step::Directory))?;
    }
    prepared.credentials.set()?;
    signals::unblock();
    Err(at(Step::Exec)(exec(prepared)))
}

const fn at(step: Step) -> impl Fn(i32) -> Failure {
    move |errno| Failure { step, errno }
}

/// The answer of a call of the C library.
pub(super) fn check(result: libc::c_int) -> Result<(), i32> {
    if result < 0 { Err(errno()) } else { Ok(()) }
}

fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn set_group(group: Group) -> Result<(), Failure> {
    match group {
        Group::Inherited => Ok(()),
        Group::Session => {
            let result = setsid().map_err(Errno::raw_os_error);
            result.map_err(at(Step::Session)).map(drop)
        }
        Group::Process(id) => {
            // SAFETY: the call takes numbers.
            check(unsafe { libc::setpgid(0, id) }).map_err(at(Step::ProcessGroup))
        }
    }
}

fn set_controlling_terminal(terminal: RawFd) -> Result<(), i32> {
    // SAFETY: the child has it open, as its parent had, and closes it later.
    let terminal = unsafe { BorrowedFd::borrow_raw(terminal) };
    ioctl_tiocsctty(terminal).map_err(Errno::raw_os_error)
}

fn move_descriptors(moves: &[Move]) -> Result<(), i32> {
    let mut spare = -1;
    for step in moves {
        // SAFETY: numbers of the child's own table, which it gives a meaning from here on; every
        // owner of a descriptor behind them is left behind in the parent.
        unsafe {
            match *step {
                Move::Keep(fd) => check(libc::fcntl(fd, libc::F_SETFD, 0))?,
                Move::Copy { from, to } => check(libc::dup2(from, to))?,
                Move::Save(fd) => {
                    spare = libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0);
                    check(spare)?;
                }
                Move::Restore(to) => {
                    check(libc::dup2(spare, to))?;
                    close(spare as u32);
                }
            }
        }
    }
    Ok(())
}

/// Tries one path after the other. Of the errors, the first counts that says more than that there
/// is no such file, as with `os.execvpe` of Python.
///
/// A file in no format that the kernel knows is `ENOEXEC`. `execvp(3)` would hand it to a shell;
/// neither Python nor `posix_spawnp(3)` does.
fn exec(prepared: &Prepared) -> i32 {
    let (mut telling, mut last) = (None, libc::ENOENT);
    let (arguments, environment) = (prepared.arguments.as_ptr(), prepared.environment.as_ptr());
    for path in &prepared.candidates {
        // SAFETY: path, arguments and environment are texts with a zero byte at their end, the
        // arrays have a null pointer at theirs, and all live longer than this process.
        unsafe { libc::execve(path.as_ptr(), arguments, environment) };
        last = errno();
        if telling.is_none() && !matches!(last, libc::ENOENT | libc::ENOTDIR) {
            telling = Some(last);
        }
    }
    telling.unwrap_or(last)
}
