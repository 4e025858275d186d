//! The birth of a child with fork(2), where there is no better way.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::ptr;

use super::error::{Failure, SpawnError, Step};
use super::prepared::Prepared;
use super::{between, signals};
use crate::descriptors;

/// The pipe through which a child tells that it failed. Its end, without a word, tells that the
/// child is another program: it is close-on-exec.
pub(super) struct Report {
    read: OwnedFd,
    write: OwnedFd,
}

impl Report {
    /// Opens it, with a write end that is in nobody's way.
    pub(super) fn open(wanted: &BTreeMap<RawFd, RawFd>) -> io::Result<Self> {
        let [read, mut write] = descriptors::blocking_pipe()?;
        while wanted.contains_key(&write.as_raw_fd()) {
            let above = write.as_raw_fd() + 1;
            write = rustix::io::fcntl_dupfd_cloexec(write.as_fd(), above)?;
        }
        Ok(Self { read, write })
    }

    /// The number that the child is to keep.
    pub(super) fn number(&self) -> RawFd {
        self.write.as_raw_fd()
    }
}

/// Makes the child, and waits until it is the program. Answers its id.
pub(super) fn spawn(prepared: &Prepared, report: Report) -> Result<i32, SpawnError> {
    let pid = fork(prepared, &report).map_err(SpawnError::at(Step::Fork))?;
    let Report { read, write } = report;
    drop(write);
    let mut bits = [0; 8];
    match File::from(read).read_exact(&mut bits) {
        // The end; or the child was killed while it wrote, which its status will tell.
        Err(_) => Ok(pid),
        Ok(()) => {
            wait(pid);
            match Failure::from_bits(u64::from_ne_bytes(bits)) {
                Some(failure) => Err(failure.into()),
                None => Err(SpawnError::at(Step::Fork)(
                    io::ErrorKind::InvalidData.into(),
                )),
            }
        }
    }
}

fn fork(prepared: &Prepared, report: &Report) -> io::Result<i32> {
    let _blocked = signals::Blocked::all();
    // SAFETY: the child does what `between.rs` allows, writes once, and ends.
    match unsafe { libc::fork() } {
        0 => {
            let bits = between::run(prepared).to_bits().to_ne_bytes();
            // A pipe takes them at once, or the parent is gone.
            let _told = rustix::io::write(&report.write, &bits);
            // SAFETY: the end is the child's, without anything the parent wanted done at its own.
            unsafe { libc::_exit(127) }
        }
        pid if pid < 0 => Err(io::Error::last_os_error()),
        pid => Ok(pid),
    }
}

/// Ends a child that nobody has heard of, and waits for it.
pub(super) fn end(pid: i32) {
    // SAFETY: the call takes numbers; the child has not been waited for, so that the id is its own.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    wait(pid);
}

/// Waits for a child that is about to end. That somebody else waited for it comes to the same.
fn wait(pid: i32) {
    // SAFETY: the call is given a number, and no memory.
    while unsafe { libc::waitpid(pid, ptr::null_mut(), 0) } < 0
        && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
    {}
}
