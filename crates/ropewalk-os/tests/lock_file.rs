//! Lock files: held by one, recovered from the dead, never taken from the living.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use ropewalk_os::lock_file::{self, LockFile};

/// A directory of its own, removed with what is in it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ropewalk-lock-{}-{number}", process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn lock(&self) -> PathBuf {
        lock_file::lock_path(self.0.join("socket"))
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(&self.0).unwrap();
        names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// The number of a process that is no more.
fn dead() -> u32 {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

fn taken(path: &Path) -> LockFile {
    LockFile::try_acquire(path).unwrap().unwrap()
}

fn refused(path: &Path) -> io::Error {
    LockFile::try_acquire(path).unwrap_err()
}

#[test]
fn a_lock_is_a_link_to_the_number_of_its_holder() {
    let directory = Directory::new();
    let path = directory.lock();
    assert!(!lock_file::is_locked(&path).unwrap());
    let lock = taken(&path);
    assert!(lock.is_clean());
    assert_eq!(lock.path(), path);
    assert_eq!(directory.names(), ["socket.lock"]);
    assert_eq!(
        fs::read_link(&path).unwrap(),
        Path::new(&process::id().to_string())
    );
    assert_eq!(lock_file::holder(&path).unwrap(), Some(process::id()));
    assert!(lock_file::is_locked(&path).unwrap());
    lock.release().unwrap();
    assert!(directory.names().is_empty());
    assert_eq!(lock_file::holder(&path).unwrap(), None);
}

#[test]
fn a_lock_that_is_held_is_not_given_again() {
    let directory = Directory::new();
    let lock = taken(&directory.lock());
    assert!(LockFile::try_acquire(directory.lock()).unwrap().is_none());
    drop(lock);
    assert!(directory.names().is_empty());
    assert!(taken(&directory.lock()).is_clean());
}

#[test]
fn the_lock_of_another_living_process_is_left_alone() {
    let directory = Directory::new();
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    for holder in [child.id(), 1] {
        symlink(holder.to_string(), directory.lock()).unwrap();
        assert!(LockFile::try_acquire(directory.lock()).unwrap().is_none());
        assert!(lock_file::is_locked(&directory.lock()).unwrap());
        assert_eq!(lock_file::holder(&directory.lock()).unwrap(), Some(holder));
        fs::remove_file(directory.lock()).unwrap();
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_lock_of_a_dead_process_is_taken_over_and_told_to_be_unclean() {
    let directory = Directory::new();
    symlink(dead().to_string(), directory.lock()).unwrap();
    assert!(!lock_file::is_locked(&directory.lock()).unwrap());
    let lock = taken(&directory.lock());
    assert!(!lock.is_clean());
    assert_eq!(directory.names(), ["socket.lock"]);
    lock.release().unwrap();
    assert!(taken(&directory.lock()).is_clean());
}

#[test]
fn one_of_many_recovers_a_lock() {
    let (directory, dead) = (Directory::new(), dead());
    for _ in 0..100 {
        symlink(dead.to_string(), directory.lock()).unwrap();
        let barrier = Barrier::new(4);
        let locks: Vec<_> = thread::scope(|scope| {
            let attempt = || {
                barrier.wait();
                LockFile::try_acquire(directory.lock()).unwrap()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(attempt)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(locks.iter().flatten().count() <= 1);
        // All may have stepped back before one that had just finished: the next one gets it.
        if locks.iter().flatten().count() == 0 {
            taken(&directory.lock());
        }
        drop(locks);
        assert!(directory.names().is_empty());
    }
}

#[test]
fn a_recovery_that_was_broken_off_does_not_stop_the_next() {
    let directory = Directory::new();
    let guard = directory.0.join("socket.lock.recovery");
    fs::write(&guard, "").unwrap();
    symlink(dead().to_string(), directory.lock()).unwrap();
    let lock = taken(&directory.lock());
    assert_eq!(directory.names(), ["socket.lock"]);
    drop(lock);
}

#[test]
fn a_lock_that_somebody_took_away_is_not_released() {
    let directory = Directory::new();
    let lock = taken(&directory.lock());
    fs::remove_file(directory.lock()).unwrap();
    symlink("1", directory.lock()).unwrap();
    assert_eq!(
        lock.release().unwrap_err().kind(),
        ErrorKind::PermissionDenied
    );
    assert_eq!(lock_file::holder(&directory.lock()).unwrap(), Some(1));
}

#[test]
fn what_is_no_lock_is_left_alone() {
    let directory = Directory::new();
    for target in ["0", "-1", "99999999999", "4711x", "elsewhere"] {
        symlink(target, directory.lock()).unwrap();
        assert_eq!(
            refused(&directory.lock()).kind(),
            ErrorKind::InvalidData,
            "{target}"
        );
        fs::remove_file(directory.lock()).unwrap();
    }
    fs::write(directory.lock(), "4711").unwrap();
    assert_eq!(
        refused(&directory.lock()).raw_os_error(),
        Some(libc::EINVAL)
    );
    assert_eq!(fs::read(directory.lock()).unwrap(), b"4711");
    let error = refused(&directory.0.join("missing/socket.lock"));
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
}
