//! Reading and writing what is no socket: pipes, terminals, files.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::{mem, ptr};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};
use rustix::io::{read as read_once, retry_on_intr, writev};
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::default_action;

/// Reads what is there. Zero is the end.
///
/// # Errors
///
/// What read(2) failed with, [`WouldBlock`](io::ErrorKind::WouldBlock) mostly.
pub fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(retry_on_intr(|| read_once(fd, &mut *buffer))?)
}

/// Writes, in one call, what there is room for. It raises no `SIGPIPE`, whatever the process does
/// with that; a process in which the signal has its default action pays four system calls more.
///
/// # Errors
///
/// What writev(2) failed with: [`WouldBlock`](io::ErrorKind::WouldBlock) mostly,
/// [`BrokenPipe`](io::ErrorKind::BrokenPipe) if nobody is left to read.
pub fn write_vectored(fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let _held = hold_sigpipe()?;
    Ok(retry_on_intr(|| writev(fd, slices))?)
}

/// Reads what is there, without waiting, whether or not the descriptor does that. For one that is
/// shared with other processes, whose flags are not ours to change.
///
/// A socket is told not to wait. Anything else is read once it says that it is ready: if another
/// process takes the data in between, the call waits for more.
///
/// # Errors
///
/// As [`read`].
pub fn read_shared(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    if is_socket(fd) {
        let received = retry_on_intr(|| recv(fd, &mut *buffer, RecvFlags::DONTWAIT));
        return Ok(received?.0);
    }
    wait_for_nothing(fd, PollFlags::IN)?;
    read(fd, buffer)
}

/// Writes the beginning of `bytes`, without waiting, whether or not the descriptor does that: to a
/// socket what it takes, to anything else that is ready as much as a pipe then takes at once
/// (`PIPE_BUF`). If another process fills it in between, or a terminal has room for less, the call
/// waits. As [`write_vectored`], it raises no `SIGPIPE`.
///
/// # Errors
///
/// As [`write_vectored`].
pub fn write_shared(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    if is_socket(fd) {
        // The flag against the signal is not on macOS.
        let _held = hold_sigpipe()?;
        return Ok(retry_on_intr(|| send(fd, bytes, SendFlags::DONTWAIT))?);
    }
    wait_for_nothing(fd, PollFlags::OUT)?;
    let some = &bytes[..bytes.len().min(libc::PIPE_BUF)];
    write_vectored(fd, &[IoSlice::new(some)])
}

/// Whether it is an end of a pipe that can only be written to. Such a one becomes readable when
/// nobody reads it any more.
pub fn is_write_end(fd: BorrowedFd<'_>) -> bool {
    let kind = fstat(fd).map(|stat| FileType::from_raw_mode(stat.st_mode));
    let access = fcntl_getfl(fd).map(|flags| flags & OFlags::ACCMODE);
    kind == Ok(FileType::Fifo) && access == Ok(OFlags::WRONLY)
}

fn is_socket(fd: BorrowedFd<'_>) -> bool {
    fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket)
}

fn wait_for_nothing(fd: BorrowedFd<'_>, wanted: PollFlags) -> io::Result<()> {
    let now = Timespec::default();
    let mut entry = [PollFd::from_borrowed_fd(fd, wanted)];
    match retry_on_intr(|| poll(&mut entry, Some(&now)))? {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        _ => Ok(()),
    }
}

/// Whether the other end is closed: nothing will be read from a pipe any more, or nothing is left in
/// a terminal's master and nobody has its slave.
pub fn is_broken(fd: BorrowedFd<'_>) -> bool {
    let now = Timespec::default();
    let mut entry = [PollFd::from_borrowed_fd(fd, PollFlags::empty())];
    let found = retry_on_intr(|| poll(&mut entry, Some(&now)));
    found.is_ok()
        && entry[0]
            .revents()
            .intersects(PollFlags::ERR | PollFlags::HUP)
}

/// Keeps `SIGPIPE` from this thread, where it would end the process.
fn hold_sigpipe() -> io::Result<Option<HeldSignal>> {
    let deadly = default_action::has_default_action(libc::SIGPIPE)?;
    Ok(deadly.then(HeldSignal::sigpipe))
}

/// A signal that this thread does not get meanwhile, and that is forgotten if it was raised
/// meanwhile.
struct HeldSignal {
    set: libc::sigset_t,
    before: libc::sigset_t,
    was_pending: bool,
}

impl HeldSignal {
    fn sigpipe() -> Self {
        // SAFETY: all zeros is a valid `sigset_t`; each set is written by the calls, whose
        // arguments they are, and lives through them. SIGPIPE is a signal, so none can fail.
        unsafe {
            let (mut set, mut before) = (mem::zeroed(), mem::zeroed());
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGPIPE);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut before);
            let was_pending = is_pending(libc::SIGPIPE);
            Self {
                set,
                before,
                was_pending,
            }
        }
    }
}

impl Drop for HeldSignal {
    fn drop(&mut self) {
        // What a write raises is this thread's, and pending before the write returns.
        if !self.was_pending && is_pending(libc::SIGPIPE) {
            let mut taken = 0;
            // SAFETY: the set was made by `sigpipe`; the call writes one number. It does not wait,
            // for the signal is blocked and pending.
            unsafe { libc::sigwait(&raw const self.set, &raw mut taken) };
        }
        // SAFETY: the mask is the one that the thread had.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut())
        };
    }
}

fn is_pending(signal: libc::c_int) -> bool {
    // SAFETY: all zeros is a valid `sigset_t`, which the first call writes to.
    unsafe {
        let mut pending = mem::zeroed();
        libc::sigpending(&raw mut pending) == 0
            && libc::sigismember(&raw const pending, signal) == 1
    }
}
