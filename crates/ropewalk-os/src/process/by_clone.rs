//! The birth of a child with clone(2), on Linux.
//!
//! The child runs on a stack of its own, while the thread that made it waits until it is another
//! program (`CLONE_VFORK`). Until then it shares the memory of its parent (`CLONE_VM`), as those of
//! `posix_spawn(3)` do: nothing is copied. A parent of 1 GiB spends 0.04 ms on it, where fork(2)
//! costs 12 ms, and the child 15 ms more to let go of the copy. What a child must not do meanwhile
//! is said in `between.rs`.
//!
//! One that is to be another user's shares no memory with its parent: that user's processes could
//! trace it. So it costs what a fork does.
//!
//! The descriptor that tells of its end is born with it (`CLONE_PIDFD`): there is no moment in
//! which it could have ended and its id have been used again, and no descriptor left to open.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::error::{Failure, SpawnError, Step};
use super::prepared::Prepared;
use super::{between, by_fork, signals};

/// Makes the child, and waits until it is the program. Answers its id and its pidfd.
pub(super) fn spawn(prepared: &Prepared) -> Result<(i32, OwnedFd), SpawnError> {
    let at_birth = SpawnError::at(Step::Fork);
    let memory = if prepared.credentials.change_nothing() {
        Memory::Shared
    } else {
        Memory::Copied
    };
    let room = Room::take(memory).map_err(&at_birth)?;
    let birth = Birth {
        prepared,
        memory,
        failure: room.failure(),
    };
    let (pid, pidfd) = clone(&birth, &room).map_err(&at_birth)?;
    let failure = room.failure().swap(0, Ordering::AcqRel);
    room.give_back(memory);
    match Failure::from_bits(failure) {
        None => Ok((pid, pidfd)),
        Some(failure) => {
            reap(&pidfd);
            Err(failure.into())
        }
    }
}

/// Whether a child has the memory of its parent, or a copy.
#[derive(Clone, Copy)]
enum Memory {
    Shared,
    Copied,
}

struct Birth<'a> {
    prepared: &'a Prepared,
    memory: Memory,
    /// Where the child leaves what it failed at: zero if it did not.
    failure: &'a AtomicU64,
}

fn clone(birth: &Birth<'_>, room: &Room) -> io::Result<(i32, OwnedFd)> {
    let memory = match birth.memory {
        Memory::Shared => libc::CLONE_VM,
        Memory::Copied => 0,
    };
    let flags = libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD | memory;
    let argument = ptr::from_ref(birth).cast_mut().cast();
    let mut pidfd = -1;
    let blocked = signals::Blocked::all();
    // SAFETY: the stack is nobody else's and outlives the child's use of it, for this thread
    // waits until the child is another program or none. The child reads the birth, which lives as
    // long, and writes to its stack, its failure and `errno`, which this thread does not read
    // before. The kernel writes one number to `pidfd`.
    let pid = unsafe { libc::clone(child, room.top(), flags, argument, &raw mut pidfd) };
    let error = io::Error::last_os_error();
    drop(blocked);
    if pid < 0 {
        return Err(error);
    }
    if pidfd < 0 {
        // Linux before 5.2 does not know the flag, and passes over it.
        by_fork::end(pid);
        return Err(io::ErrorKind::Unsupported.into());
    }
    // SAFETY: the kernel made it for this call.
    Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// The child.
extern "C" fn child(birth: *mut libc::c_void) -> libc::c_int {
    // SAFETY: it is the argument that `clone` gave.
    let birth = unsafe { &*birth.cast::<Birth<'_>>() };
    let failure = between::run(birth.prepared);
    birth.failure.store(failure.to_bits(), Ordering::Release);
    // SAFETY: ends the child, without anything that the parent wanted done at its exit.
    unsafe { libc::_exit(127) }
}

/// Waits for a child that has ended or is about to.
fn reap(pidfd: &OwnedFd) {
    // That somebody else waited for it, or that the host ignores SIGCHLD, comes to the same.
    let _gone =
        rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED));
}

/// Memory that parent and child share, whether or not they share the rest: the child's stack, and
/// above it where the child leaves its failure.
struct Room(*mut libc::c_void);

thread_local! {
    /// What the last child of this thread has left. To map it anew costs 6 µs.
    static LEFT: Cell<Option<Room>> = const { Cell::new(None) };
}

/// For the calls that a child makes, and what signals need that come before it has gone.
const STACK: usize = 128 * 1024;
/// Below the stack, to end a child that needs more. At least a page, however large these are.
const GUARD: usize = 64 * 1024;
/// Above the stack; keeps it aligned.
const FAILURE: usize = 64;

impl Room {
    /// One that nobody uses, whose failure is zero.
    fn take(rest: Memory) -> io::Result<Self> {
        let left = match rest {
            // A thread that is about to end keeps nothing.
            Memory::Shared => LEFT.try_with(Cell::take).ok().flatten(),
            Memory::Copied => None,
        };
        left.map_or_else(|| Self::new(rest), Ok)
    }

    /// Keeps it for the next child; not one of the kind that is shared after a copy, for that is
    /// shared after every later fork of this process too.
    fn give_back(self, rest: Memory) {
        if let Memory::Shared = rest {
            let _kept = LEFT.try_with(|left| left.set(Some(self)));
        }
    }

    fn new(rest: Memory) -> io::Result<Self> {
        // Memory that outlives a copy of the rest is a file to the kernel: 10 µs more.
        let kind = libc::MAP_ANONYMOUS
            | match rest {
                Memory::Shared => libc::MAP_PRIVATE,
                Memory::Copied => libc::MAP_SHARED,
            };
        // SAFETY: new memory, at an address of the system's choice.
        let memory =
            unsafe { libc::mmap(ptr::null_mut(), GUARD + STACK, libc::PROT_NONE, kind, -1, 0) };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let room = Self(memory);
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the part of the new memory that is above the guard.
        let result = unsafe { libc::mprotect(room.at(GUARD), STACK, access) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(room)
    }

    fn at(&self, offset: usize) -> *mut libc::c_void {
        self.0.cast::<u8>().wrapping_add(offset).cast()
    }

    /// Where the stack begins, which grows downwards.
    fn top(&self) -> *mut libc::c_void {
        self.at(GUARD + STACK - FAILURE)
    }

    fn failure(&self) -> &AtomicU64 {
        // SAFETY: the memory is the room's, aligned, zero at first, and nothing else is there.
        unsafe { &*self.top().cast::<AtomicU64>() }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // SAFETY: the memory is the room's, and the child that used it is another program or none.
        unsafe { libc::munmap(self.0, GUARD + STACK) };
    }
}
