//! Lock files: a symbolic link whose target is the number of the process that holds the lock.
//!
//! The form is that of Twisted's `FilesystemLock`, so that programs of both kinds exclude each
//! other. Making a link is atomic and fails where one is; nothing here waits.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// A lock that this process holds. Dropped, it is released, unless the process is a child that
/// inherited it by a fork.
#[derive(Debug)]
pub struct LockFile {
    path: PathBuf,
    clean: bool,
    held: bool,
}

impl LockFile {
    /// Takes the lock at `path`, which is the link's own; see [`lock_path`]. `None` when a living
    /// process holds it, this one included. A lock whose holder is gone is taken over, by one
    /// process only however many try; those that share this function never take a lock that was
    /// just taken over.
    ///
    /// A holder's number may be another process's by now: the lock is held then, until that ends.
    ///
    /// # Errors
    ///
    /// What [symlink(2)](https://man7.org/linux/man-pages/man2/symlink.2.html) or readlink(2)
    /// failed with: `EINVAL` when something else than a link is there.
    /// [`InvalidData`](ErrorKind::InvalidData) for a link that names no process.
    pub fn try_acquire(path: impl Into<PathBuf>) -> io::Result<Option<Self>> {
        let (path, own) = (path.into(), process::id().to_string());
        let mut clean = true;
        // Each round but the last means that another process changed the lock meanwhile.
        for _ in 0..ROUNDS {
            match symlink(&own, &path) {
                Ok(()) => {
                    let held = true;
                    return Ok(Some(Self { path, clean, held }));
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            match holder(&path)? {
                None => {}
                Some(pid) if is_alive(pid)? => return Ok(None),
                Some(pid) => match recover(&path, pid)? {
                    Recovery::Removed => clean = false,
                    Recovery::Changed => {}
                    Recovery::ByAnother => return Ok(None),
                },
            }
        }
        Ok(None)
    }

    /// Whether the lock was free: `false` when its last holder was gone without releasing it, and
    /// may have left other things behind too.
    pub fn is_clean(&self) -> bool {
        self.clean
    }

    /// Where the link is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Releases the lock.
    ///
    /// # Errors
    ///
    /// What readlink(2) or unlink(2) failed with;
    /// [`PermissionDenied`](ErrorKind::PermissionDenied) without an `errno` when the link names
    /// another process, which is left alone.
    pub fn release(mut self) -> io::Result<()> {
        self.held = false;
        remove_own(&self.path)
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        if self.held {
            // Nobody is there to be told. What stays is recovered when this process is gone.
            remove_own(&self.path).ok();
        }
    }
}

/// Where the lock of a socket's path is: `.lock` follows the name.
pub fn lock_path(path: impl AsRef<Path>) -> PathBuf {
    with_suffix(path.as_ref(), ".lock")
}

/// The process that holds the lock at `path`, or did when it ended; `None` when there is no lock.
///
/// # Errors
///
/// As [`LockFile::try_acquire`].
pub fn holder(path: &Path) -> io::Result<Option<u32>> {
    let target = match fs::read_link(path) {
        Ok(target) => target,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Numbers that are not a process's mean groups to kill(2).
    let number = target.to_str().and_then(|text| text.parse::<i32>().ok());
    match number.and_then(|number| u32::try_from(number).ok()) {
        Some(pid) if pid > 0 => Ok(Some(pid)),
        _ => {
            let text = format!("the lock {} names no process", path.display());
            Err(io::Error::new(ErrorKind::InvalidData, text))
        }
    }
}

/// Whether a living process holds the lock at `path`. Changes nothing.
///
/// # Errors
///
/// As [`LockFile::try_acquire`].
pub fn is_locked(path: &Path) -> io::Result<bool> {
    holder(path)?.map_or(Ok(false), is_alive)
}

fn is_alive(pid: u32) -> io::Result<bool> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    match pid.map(test_kill_process) {
        // Another user's process may not be sent a signal. It lives.
        Some(Ok(()) | Err(Errno::PERM)) => Ok(true),
        Some(Err(Errno::SRCH)) | None => Ok(false),
        Some(Err(error)) => Err(error.into()),
    }
}

fn remove_own(path: &Path) -> io::Result<()> {
    if holder(path)? == Some(process::id()) {
        return fs::remove_file(path);
    }
    let text = format!("the lock {} is not this process's", path.display());
    Err(io::Error::new(ErrorKind::PermissionDenied, text))
}

/// What an attempt to remove the lock of a process that is gone came to.
enum Recovery {
    Removed,
    /// Somebody else removed or took it: to be looked at again.
    Changed,
    /// Somebody else is about it.
    ByAnother,
}

/// Removes the lock of the process `stale`, which is gone. Without a lock around it, two that saw
/// the same stale lock would both remove one: the second that of the first.
fn recover(path: &Path, stale: u32) -> io::Result<Recovery> {
    let guard = with_suffix(path, ".recovery");
    let Some(_locked) = lock_guard(&guard)? else {
        return Ok(Recovery::ByAnother);
    };
    let result = remove_stale(path, stale);
    // The last step under the guard's lock: who makes a new guard finds the work done.
    match fs::remove_file(&guard) {
        Err(error) if error.kind() != ErrorKind::NotFound => result.and(Err(error)),
        _ => result,
    }
}

fn remove_stale(path: &Path, stale: u32) -> io::Result<Recovery> {
    if holder(path)? != Some(stale) {
        return Ok(Recovery::Changed);
    }
    match fs::remove_file(path) {
        Ok(()) => Ok(Recovery::Removed),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Recovery::Changed),
        Err(error) => Err(error),
    }
}

/// Makes or opens the guard and locks it until it is closed; `None` when another process has it, or
/// had it when this one opened it.
fn lock_guard(guard: &Path) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(guard, flags, Mode::RUSR | Mode::WUSR)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    // The one who had it removed it, and a third may have made it anew.
    let inode = fstat(&file)?.st_ino;
    match fs::symlink_metadata(guard) {
        Ok(there) if there.ino() == inode as u64 => Ok(Some(file)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// How often a lock may change under the eyes of one that tries.
const ROUNDS: usize = 16;
