//! A child by its pidfd: no other process ever has it.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr;
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{
    PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus, getpid, pidfd_open, waitid,
};

use super::child::Ended;

/// Whether this system can wait for a pidfd: Linux 5.4, and no filter against it.
///
/// # Errors
///
/// `EMFILE` and such: a descriptor is needed to find out.
pub(super) fn is_available() -> io::Result<bool> {
    let wait = |pidfd: OwnedFd| waitid(WaitId::PidFd(pidfd.as_fd()), wait_options(false));
    match pidfd_open(getpid(), PidfdFlags::empty()).and_then(wait) {
        // We are no child of our own.
        Ok(_) | Err(Errno::CHILD) => Ok(true),
        Err(Errno::NOSYS | Errno::PERM | Errno::ACCESS | Errno::INVAL) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Waits for the child if it has ended, or until it has.
pub(super) fn wait(pidfd: &OwnedFd, block: bool) -> io::Result<Option<Ended>> {
    match retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), wait_options(block))) {
        Ok(status) => Ok(status.map(|status| ended(&status))),
        // The child of a fork of ours learns of no other child's end by waiting, but still runs
        // beside those that do; a blocking wait has nothing else to wait for then.
        Err(Errno::CHILD) if block || has_ended(pidfd)? => Ok(Some(record(pidfd))),
        Err(Errno::CHILD) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

const fn wait_options(block: bool) -> WaitIdOptions {
    if block {
        WaitIdOptions::EXITED
    } else {
        WaitIdOptions::EXITED.union(WaitIdOptions::NOHANG)
    }
}

fn ended(status: &WaitIdStatus) -> Ended {
    if let Some(code) = status.exit_status() {
        return Ended::Exited(code & 0xFF);
    }
    match status.terminating_signal() {
        Some(signal) => Ended::Killed {
            signal,
            core_dumped: status.dumped(),
        },
        None => Ended::Unknown,
    }
}

fn has_ended(pidfd: &OwnedFd) -> io::Result<bool> {
    let at_once = Timespec::default();
    let mut watched = [PollFd::new(pidfd, PollFlags::IN)];
    Ok(retry_on_intr(|| poll(&mut watched, Some(&at_once)))? > 0)
}

/// How a child ended that is gone, by the record that Linux keeps from 6.15 on.
fn record(pidfd: &OwnedFd) -> Ended {
    // The record is written a moment after the end can be seen, by the child itself.
    const TRIES: u32 = 1000;
    for _ in 0..TRIES {
        // SAFETY: all zeros is a value of the struct, which is made of integers.
        let mut info: libc::pidfd_info = unsafe { mem::zeroed() };
        info.mask = u64::from(libc::PIDFD_INFO_EXIT);
        let request = libc::PIDFD_GET_INFO;
        // SAFETY: the request holds the size of the struct, and no more is written.
        let result = unsafe { libc::ioctl(pidfd.as_raw_fd(), request, ptr::from_mut(&mut info)) };
        if result < 0 {
            break;
        }
        if info.mask & u64::from(libc::PIDFD_INFO_EXIT) != 0 {
            return Ended::from_wait_status(info.exit_code);
        }
        thread::yield_now();
    }
    Ended::Unknown
}

pub(super) fn send_signal(pidfd: &OwnedFd, signal: i32) -> io::Result<()> {
    let (fd, information) = (pidfd.as_raw_fd(), ptr::null::<libc::siginfo_t>());
    // SAFETY: the call takes numbers, and a null pointer for what kill(2) would fill in.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, information, 0) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
