//! The handle to one child process.

use std::fmt;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use ropewalk_os::Signal;
use ropewalk_os::process::{self, Ended, WindowSize};

use super::child::Child;
use crate::error::Misuse;
use crate::transport::handle::append;
use crate::transport::{Producer, ProducerKind};

/// One child process: a cheap handle of one thread, to be cloned and kept at will.
///
/// A descriptor is called by its number in the child. All methods may be called from any callback
/// and at any time; about a descriptor that is closed, was never a pipe, or goes the other way,
/// they do nothing. Nothing is written or closed before the current callback returns: writes of one
/// callback, and of all callbacks of one turn, go out together.
///
/// Handles do not keep a child's pipes open, nor does dropping them end the child.
///
/// The same as Twisted's `IProcessTransport`.
#[derive(Clone)]
pub struct Process {
    child: Rc<Child>,
}

impl Process {
    /// The mark above which a push producer is paused, in bytes.
    pub const HIGH_WATER: usize = 65_536;

    pub(super) fn new(child: Rc<Child>) -> Self {
        Self { child }
    }

    /// Its process id; nothing once it was waited for, for then the number may be another's.
    pub fn pid(&self) -> Option<i32> {
        self.child.pid()
    }

    /// Whether it was not waited for.
    pub fn is_running(&self) -> bool {
        self.pid().is_some()
    }

    /// How it ended, if it was waited for.
    pub fn exit(&self) -> Option<Ended> {
        self.child.exit()
    }

    /// Queues a copy of `data` for the child's descriptor `fd`.
    ///
    /// What is written after [`close`](Self::close), but before the pipe is closed, is still sent.
    pub fn write(&self, fd: i32, data: &[u8]) {
        self.child.write(fd, |queue| queue.push_copy(data));
    }

    /// Queues `data` without a copy.
    pub fn write_bytes(&self, fd: i32, data: impl Into<Bytes>) {
        let mut data = data.into();
        self.child.write(fd, |queue| append(queue, &mut data));
    }

    /// How much is queued for the child's descriptor `fd`, in bytes.
    pub fn buffered_len(&self, fd: i32) -> usize {
        let pipe = self.child.pipe(fd);
        pipe.map_or(0, |pipe| pipe.queue().borrow().len())
    }

    /// Closes the pipe of the child's descriptor `fd`: one to the child when all that is queued is
    /// sent (a pull producer, or a push producer that is paused, is waited for until it is
    /// unregistered), one from the child in the next step, whatever is left in it.
    pub fn close(&self, fd: i32) {
        self.child.close(fd);
    }

    /// Closes every pipe, as [`close`](Self::close) does. In a terminal this is a hang-up.
    pub fn lose_connection(&self) {
        self.child.close_all();
    }

    /// Stops reading from the child's descriptor `fd`: it waits when the pipe is full. The pipe's
    /// end is not heard of until it is [resumed](Self::resume).
    pub fn pause(&self, fd: i32) {
        self.child.set_paused(|pipe| pipe.number() == fd, true);
    }

    /// Reads again from the child's descriptor `fd`.
    pub fn resume(&self, fd: i32) {
        self.child.set_paused(|pipe| pipe.number() == fd, false);
    }

    /// Stops reading from all of the child's descriptors.
    pub fn pause_producing(&self) {
        self.child.set_paused(|_| true, true);
    }

    /// Reads again from all of the child's descriptors.
    pub fn resume_producing(&self) {
        self.child.set_paused(|_| true, false);
    }

    /// Lets `producer` supply what is written to the child's descriptor `fd`, at the pace of the
    /// child. A pull producer is resumed before this returns; where nothing can be written any
    /// more, any producer is stopped instead.
    ///
    /// # Errors
    ///
    /// [`Misuse::ProducerInUse`] when another one is registered there.
    pub fn register_producer(
        &self,
        fd: i32,
        producer: impl Producer<Self>,
        kind: ProducerKind,
    ) -> Result<(), Misuse> {
        match self.child.pipe(fd) {
            Some(pipe) => pipe.register_producer(Rc::new(producer), kind, self),
            None => {
                producer.stop_producing();
                Ok(())
            }
        }
    }

    /// Lets the producer of the child's descriptor `fd` go; a close that waited for it goes on.
    pub fn unregister_producer(&self, fd: i32) {
        self.child.unregister_producer(fd);
    }

    /// Sends it a signal. False if it is gone, and the signal sent to nobody: never to another
    /// process that has its id now.
    ///
    /// # Errors
    ///
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): the system has no such signal.
    /// - [`PermissionDenied`](io::ErrorKind::PermissionDenied): it runs as another user.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        self.child.signal(signal, false)
    }

    /// Sends a signal to the process group it leads; see
    /// [`Command::process_group`](super::Command::process_group). False if it is gone or leads none.
    ///
    /// # Errors
    ///
    /// As [`signal`](Self::signal).
    pub fn signal_group(&self, signal: Signal) -> io::Result<bool> {
        self.child.signal(signal, true)
    }

    /// The size of its terminal's window.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](io::ErrorKind::Unsupported): it has no terminal, or that is closed.
    pub fn window_size(&self) -> io::Result<WindowSize> {
        self.child
            .with_terminal(|terminal| process::window_size(terminal))
    }

    /// Sets the size of its terminal's window; the programs in the foreground there hear of a new
    /// one by `SIGWINCH`.
    ///
    /// # Errors
    ///
    /// As [`window_size`](Self::window_size).
    pub fn set_window_size(&self, size: WindowSize) -> io::Result<()> {
        self.child
            .with_terminal(|terminal| process::set_window_size(terminal, size))
    }

    /// Whether both are handles to the same child.
    pub fn same_process(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.child, &other.child)
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("program", &self.child.program())
            .field("pid", &self.pid())
            .field("exit", &self.exit())
            .finish()
    }
}
