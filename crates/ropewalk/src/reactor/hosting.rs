//! A reactor inside another loop, and around a fork.

use std::os::fd::BorrowedFd;

use super::Reactor;
use crate::error::{Error, Result};

/// Life inside another loop; the contract is in [`host`](crate::host).
impl Reactor {
    /// A descriptor that is readable while a [`turn`](Self::turn) has something to do, for another
    /// loop to watch. Level-triggered; the same for the life of the reactor.
    ///
    /// From the first call on, each turn ends with everything told to the system, and what is asked
    /// of the reactor between two turns (a write, a call later, a stop) makes the descriptor
    /// readable. Nobody may read from it or close it.
    ///
    /// # Errors
    ///
    /// [`Error::Os`]: the poller has no descriptor
    /// ([`Unsupported`](std::io::ErrorKind::Unsupported); `epoll` and `kqueue` have one), or
    /// descriptors have run out.
    pub fn as_fd(&self) -> Result<BorrowedFd<'_>> {
        let host_fd = self.core.engine.host_fd();
        host_fd.map_err(Error::os("make a descriptor for another loop"))
    }

    /// Begins what [`run`](Self::run) does, for a host that makes the turns: fires "startup" and
    /// returns. From then on the host calls [`turn`](Self::turn) while
    /// [`state`](Self::state)`().`[`keeps_looping`](super::State::keeps_looping)`()`; the last turn
    /// ends the run as `run` does.
    ///
    /// # Errors
    ///
    /// [`Misuse::AlreadyRunning`](crate::Misuse::AlreadyRunning),
    /// [`Misuse::NotRestartable`](crate::Misuse::NotRestartable).
    pub fn start(&self) -> Result<()> {
        self.core.start()
    }
}

/// Forking.
impl Reactor {
    /// Prepares for a fork whose child goes on with the reactor (a daemon): closes the poller, so
    /// that parent and child share none. Until [`after_fork`](Self::after_fork) nothing may be asked
    /// of the reactor.
    ///
    /// Threads do not survive a fork: fork before anything is run in the thread pool.
    ///
    /// # Errors
    ///
    /// [`Error::Os`]: another thread waits in the reactor, or descriptors have run out.
    pub fn before_fork(&self) -> Result<()> {
        let released = self.core.engine.release_poller();
        released.map_err(Error::os("close the poller"))
    }

    /// Goes on after a fork, in the process that keeps the reactor (in both, if both do): makes a
    /// new poller and a waker that is not the other process's, and watches everything again. A host
    /// has to add [`as_fd`](Self::as_fd) to its loop anew.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] when descriptors have run out; it may be tried again.
    pub fn after_fork(&self) -> Result<()> {
        let restored = self.core.engine.restore_poller();
        restored.map_err(Error::os("create the poller"))
    }
}
