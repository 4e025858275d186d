//! Ends a wait from another thread or from a signal handler.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::descriptors;

/// A non-blocking pipe whose read end the loop watches. Cheap to clone; all clones are one waker.
///
/// A pipe and not an eventfd: one byte written to it wakes the loop, which is what Python's
/// `signal.set_wakeup_fd` and Twisted's `reactor.waker.o` rely on.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Pipe>);

#[derive(Debug)]
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    /// Whether a byte of ours is in the pipe, so that a second wake need not write another.
    pending: AtomicBool,
}

impl Waker {
    /// Opens the pipe, close-on-exec and non-blocking at both ends.
    ///
    /// # Errors
    ///
    /// What `pipe2(2)` failed with, `EMFILE` mostly.
    pub fn new() -> io::Result<Self> {
        let [read, write] = descriptors::pipe()?;
        Ok(Self(Arc::new(Pipe {
            read,
            write,
            pending: AtomicBool::new(false),
        })))
    }

    /// Goes on with a pipe of its own after a fork, under the same descriptor numbers: for all
    /// clones, handlers and foreign code that know the numbers.
    ///
    /// A child shares its parent's pipe. Until this is called in the child, a wake there wakes the
    /// parent; and a child that drained the pipe would take the parent's wakes, which makes no
    /// others while it believes one to be there. So it is called in the child, by the thread that
    /// forked, before the loop goes on. Afterwards a poller that watches [`read_fd`](Self::read_fd)
    /// has to watch it anew, and not through an `epoll` instance of the parent's, which is shared
    /// as well.
    ///
    /// A wake that the loop had not noticed at the fork stays one, in both processes. Bytes that
    /// foreign code wrote are left to the parent.
    ///
    /// Makes system calls only: it may be called in a child that has nothing but the one thread of
    /// a program with several. Needs two free descriptors while it runs.
    ///
    /// # Errors
    ///
    /// What `pipe2(2)` or `dup3(2)` failed with, `EMFILE` mostly. The waker is then still the
    /// parent's, in part or in whole; the call can be made again.
    ///
    /// # References
    ///
    /// [fork(2)](https://man7.org/linux/man-pages/man2/fork.2.html): "The child inherits copies of
    /// the parent's set of open file descriptors."
    pub fn renew(&self) -> io::Result<()> {
        let [read, write] = descriptors::pipe()?;
        // The write end first: from here on no wake of ours reaches the parent.
        descriptors::replace(&self.0.write, write.as_fd())?;
        descriptors::replace(&self.0.read, read.as_fd())?;
        // Whoever woke the loop before may have found `pending` set, or written to the old pipe: a
        // signal handler at any point of the above.
        if self.0.pending.swap(false, Ordering::AcqRel) {
            self.wake();
        }
        Ok(())
    }

    /// Ends the wait in progress, or the next one. Any thread, and async-signal-safe. Wakes that
    /// come before the loop noticed the first are one.
    pub fn wake(&self) {
        if self.0.pending.swap(true, Ordering::AcqRel) {
            return;
        }
        // SAFETY: the descriptor is ours, and the byte lives through the call.
        unsafe { libc::write(self.0.write.as_raw_fd(), [1_u8].as_ptr().cast(), 1) };
        // The one failure a live pipe has is EAGAIN: it is full, so the loop wakes up anyway.
    }

    /// The end to write a byte to, for a signal handler or foreign code.
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.0.write.as_fd()
    }

    /// The end to watch for readability.
    pub fn read_fd(&self) -> BorrowedFd<'_> {
        self.0.read.as_fd()
    }

    /// Empties the pipe, so that the next wait waits. The loop calls it before it looks at what it
    /// may have been woken for.
    pub fn drain(&self) {
        let mut buffer = [0_u8; 256];
        loop {
            let room = buffer.len();
            // SAFETY: the call writes at most `room` bytes into the buffer.
            let length =
                unsafe { libc::read(self.0.read.as_raw_fd(), buffer.as_mut_ptr().cast(), room) };
            if usize::try_from(length) != Ok(room) {
                break;
            }
        }
        // In this order: cleared before the read, the byte of a wake in between would be read here
        // and leave `pending` set on an empty pipe, and no later wake would write.
        // A swap and not a store, to acquire what a wake that found `pending` set published before.
        self.0.pending.swap(false, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_waiting(waker: &Waker) -> i32 {
        let mut count = 0;
        // SAFETY: the call writes one int.
        unsafe { libc::ioctl(waker.read_fd().as_raw_fd(), libc::FIONREAD, &mut count) };
        count
    }

    #[test]
    fn wakes_before_the_drain_are_one() {
        let waker = Waker::new().unwrap();
        (0..10).for_each(|_| waker.wake());
        assert_eq!(bytes_waiting(&waker), 1);
        waker.drain();
        assert_eq!(bytes_waiting(&waker), 0);
        waker.wake();
        assert_eq!(bytes_waiting(&waker), 1);
    }

    #[test]
    fn a_foreign_byte_is_drained_too() {
        let waker = Waker::new().unwrap();
        let fd = waker.wake_fd().as_raw_fd();
        // SAFETY: the bytes live through the call.
        unsafe { libc::write(fd, [0_u8; 300].as_ptr().cast(), 300) };
        waker.drain();
        assert_eq!(bytes_waiting(&waker), 0);
    }
}
