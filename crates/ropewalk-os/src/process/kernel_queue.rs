//! A child by `EVFILT_PROC`, in a kernel queue of its own: readable when the child has ended, for
//! every poller there is.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use super::child::{Ended, wait_for};
use crate::kqueue::{EventFlags, Filter, KernelEvent, Kqueue, note};

pub(super) struct KernelQueue {
    queue: Box<dyn Kqueue>,
    /// A duplicate of the queue's descriptor, for whoever watches it.
    watch: Arc<OwnedFd>,
    /// Whether the child is known to be ending.
    over: bool,
}

impl KernelQueue {
    /// Before there is a child, so that one is not made in vain.
    pub(super) fn new(queue: Box<dyn Kqueue>) -> io::Result<Self> {
        let fd = queue.as_fd().ok_or(io::ErrorKind::Unsupported)?;
        let watch = Arc::new(fd.try_clone_to_owned()?);
        let over = false;
        Ok(Self { queue, watch, over })
    }

    pub(super) const fn watch(&self) -> &Arc<OwnedFd> {
        &self.watch
    }

    /// Has the queue report the end of `pid`.
    pub(super) fn register(&mut self, pid: i32) -> io::Result<()> {
        let change = KernelEvent {
            ident: pid as usize,
            filter: Filter::Process,
            flags: EventFlags::ADD | EventFlags::ONESHOT,
            fflags: note::EXIT,
            ..KernelEvent::default()
        };
        match self.queue.kevent(&[change], &mut [], Some(Duration::ZERO)) {
            // macOS knows no process any more that has ended, waited for or not.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => self.over = true,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => drop(result?),
        }
        Ok(())
    }

    /// Waits for the child if it has ended.
    pub(super) fn wait(&mut self, pid: i32) -> io::Result<Option<Ended>> {
        if !self.over {
            let mut events = [KernelEvent::default()];
            match self.queue.kevent(&[], &mut events, Some(Duration::ZERO)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => self.over = result? > 0,
            }
        }
        if !self.over {
            return Ok(None);
        }
        // macOS tells of the end a moment before there is something to wait for: hence a wait that
        // blocks, for that moment.
        wait_for(pid, true)
    }
}

impl fmt::Debug for KernelQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KernelQueue")
            .field("watch", &self.watch)
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}
