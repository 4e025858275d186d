//! A child process, from its birth to the one wait(2) for it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::kernel_queue::KernelQueue;
#[cfg(target_os = "linux")]
use super::pidfd;

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ended {
    /// It exited with this code, 0 to 255.
    Exited(i32),
    /// A signal ended it.
    Killed {
        /// The signal's number.
        signal: i32,
        /// Whether it left a core.
        core_dumped: bool,
    },
    /// It is gone and nobody can tell how: the host ignores `SIGCHLD` or has waited for it, and
    /// the system keeps no record (Linux does from 6.15 on).
    Unknown,
}

impl Ended {
    /// Of a status as wait(2) writes it.
    pub(super) const fn from_wait_status(status: i32) -> Self {
        if libc::WIFEXITED(status) {
            return Self::Exited(libc::WEXITSTATUS(status));
        }
        Self::Killed {
            signal: libc::WTERMSIG(status),
            core_dumped: libc::WCOREDUMP(status),
        }
    }

    /// The status as wait(2) writes it, for `WIFEXITED`, `WTERMSIG` and the like; nothing if it is
    /// unknown.
    pub const fn wait_status(self) -> Option<i32> {
        match self {
            Self::Exited(code) => Some((code & 0xFF) << 8),
            Self::Killed {
                signal,
                core_dumped,
            } => Some(signal | if core_dumped { 0x80 } else { 0 }),
            Self::Unknown => None,
        }
    }

    /// Whether it exited with zero.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Exited(0))
    }
}

/// What tells that a child may have ended.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Watch<'a> {
    /// This descriptor becomes readable, and stays so until the child was waited for.
    Descriptor(&'a Arc<OwnedFd>),
    /// `SIGCHLD` comes; see [`Reaper`](super::Reaper).
    ChildSignal,
}

/// A child process of our own.
///
/// It is waited for once, by [`try_wait`](Self::try_wait) or [`wait`](Self::wait), and by its own
/// identity: no other child's end is ever taken, and nothing is asked of whoever handles `SIGCHLD`.
/// Dropped before, it goes on running, and stays a zombie when it has ended.
#[derive(Debug)]
pub struct Child {
    pid: i32,
    exit: Exit,
    ended: Option<Ended>,
}

#[derive(Debug)]
pub(super) enum Exit {
    #[cfg(target_os = "linux")]
    Pidfd(Arc<OwnedFd>),
    Queue(KernelQueue),
    Signal,
}

impl Child {
    pub(super) const fn new(pid: i32, exit: Exit) -> Self {
        let ended = None;
        Self { pid, exit, ended }
    }

    /// Its process id. After the child was waited for, the number may be somebody else's.
    pub const fn id(&self) -> i32 {
        self.pid
    }

    /// How it ended, if it was waited for.
    pub const fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// What to watch. Of each kind: call [`try_wait`](Self::try_wait) once after the spawn, then
    /// whenever it reports.
    pub fn watch(&self) -> Watch<'_> {
        match &self.exit {
            #[cfg(target_os = "linux")]
            Exit::Pidfd(pidfd) => Watch::Descriptor(pidfd),
            Exit::Queue(queue) => Watch::Descriptor(queue.watch()),
            Exit::Signal => Watch::ChildSignal,
        }
    }

    /// Waits for it if it has ended; nothing if it has not. The answer stays.
    ///
    /// # Errors
    ///
    /// None that a system is known to answer: a child that is gone is [`Ended::Unknown`].
    pub fn try_wait(&mut self) -> io::Result<Option<Ended>> {
        if self.ended.is_none() {
            self.ended = match &mut self.exit {
                #[cfg(target_os = "linux")]
                Exit::Pidfd(pidfd) => pidfd::wait(pidfd, false)?,
                Exit::Queue(queue) => queue.wait(self.pid)?,
                Exit::Signal => wait_for(self.pid, false)?,
            };
        }
        Ok(self.ended)
    }

    /// Blocks this thread until it has ended. For the end of a program, not for a loop.
    ///
    /// # Errors
    ///
    /// As [`try_wait`](Self::try_wait).
    pub fn wait(&mut self) -> io::Result<Ended> {
        loop {
            if let Some(ended) = self.ended {
                return Ok(ended);
            }
            self.ended = match &self.exit {
                #[cfg(target_os = "linux")]
                Exit::Pidfd(pidfd) => pidfd::wait(pidfd, true)?,
                Exit::Queue(_) | Exit::Signal => wait_for(self.pid, true)?,
            };
        }
    }

    /// Sends it a signal, by its number; 0 sends none. False if it is gone: it never reaches
    /// another process that has its id now.
    ///
    /// A child that has ended and was not waited for takes signals as one that runs.
    ///
    /// # Errors
    ///
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): no signal has the number.
    /// - [`PermissionDenied`](io::ErrorKind::PermissionDenied): it runs as another user.
    pub fn send_signal(&mut self, signal: i32) -> io::Result<bool> {
        #[cfg(target_os = "linux")]
        if let Exit::Pidfd(pidfd) = &self.exit {
            return unless_gone(pidfd::send_signal(pidfd, signal));
        }
        if self.is_gone()? {
            return Ok(false);
        }
        unless_gone(kill(self.pid, signal))
    }

    /// Sends a signal to its process group, if it leads one: see [`Group`](super::Group). False if
    /// the child was waited for or leads none: its id may then be somebody else's group.
    ///
    /// # Errors
    ///
    /// As [`send_signal`](Self::send_signal).
    pub fn send_signal_to_group(&mut self, signal: i32) -> io::Result<bool> {
        if self.is_gone()? {
            return Ok(false);
        }
        unless_gone(kill(-self.pid, signal))
    }

    /// Whether it was waited for, by us or by somebody else. While it was not, its id is its own.
    fn is_gone(&mut self) -> io::Result<bool> {
        if self.ended.is_some() {
            return Ok(true);
        }
        match &self.exit {
            #[cfg(target_os = "linux")]
            Exit::Pidfd(pidfd) => Ok(!unless_gone(pidfd::send_signal(pidfd, 0))?),
            Exit::Queue(_) | Exit::Signal if is_child(self.pid) => Ok(false),
            Exit::Queue(_) | Exit::Signal => self.try_wait().map(|ended| ended.is_some()),
        }
    }
}

/// Whether a child of ours has this id, running or not yet waited for.
fn is_child(pid: i32) -> bool {
    // SAFETY: all zeros is a valid `siginfo_t`, which the call writes to. It changes nothing.
    let result = unsafe {
        let mut found: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        libc::waitid(libc::P_PID, pid as _, &raw mut found, flags)
    };
    result == 0
}

fn unless_gone(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
        Err(error) => Err(error),
    }
}

fn kill(id: i32, signal: i32) -> io::Result<()> {
    // SAFETY: the call takes numbers.
    if unsafe { libc::kill(id, signal) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// waitpid(2) of one child, by its id.
pub(super) fn wait_for(pid: i32, block: bool) -> io::Result<Option<Ended>> {
    let flags = if block { 0 } else { libc::WNOHANG };
    let mut status = 0;
    loop {
        // SAFETY: the call writes one number.
        let result = unsafe { libc::waitpid(pid, &raw mut status, flags) };
        if result > 0 {
            return Ok(Some(Ended::from_wait_status(status)));
        }
        if result == 0 {
            return Ok(None);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::ECHILD) => return Ok(Some(Ended::Unknown)),
            _ => return Err(error),
        }
    }
}
