//! How the end of a child is noticed, and which way a system has.

use std::io;

use super::kernel_queue::KernelQueue;
#[cfg(target_os = "linux")]
use super::pidfd;
use crate::kqueue::Kqueue;

/// How the end of a child is noticed.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum ExitNotice {
    /// By a pidfd, with which the child is born. Linux 5.4.
    #[cfg(target_os = "linux")]
    Pidfd,
    /// By a kernel queue per child, that this function makes. The BSDs and macOS.
    KernelQueue(fn() -> io::Result<Box<dyn Kqueue>>),
    /// By `SIGCHLD`, which does not say whose end it tells. Everywhere.
    ///
    /// Where the host ignores `SIGCHLD` no signal comes, and ids of children that are gone are used
    /// again before anybody looks: the other ways have no such hole.
    ChildSignal,
}

impl ExitNotice {
    /// The best that this system grants. On Linux it takes a descriptor, for a moment, to find out;
    /// so ask when the loop is made, and keep the answer.
    ///
    /// # Errors
    ///
    /// What is wrong at the moment: `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn choose() -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        if pidfd::is_available()? {
            return Ok(Self::Pidfd);
        }
        #[cfg(kqueue)]
        return Ok(Self::KernelQueue(|| {
            Ok(Box::new(crate::kqueue::SysKqueue::new()?))
        }));
        #[cfg(not(kqueue))]
        Ok(Self::ChildSignal)
    }

    /// The queue of a child that is to be born, if that is the way.
    pub(super) fn queue(self) -> io::Result<Option<KernelQueue>> {
        match self {
            Self::KernelQueue(make) => Ok(Some(KernelQueue::new(make()?)?)),
            _ => Ok(None),
        }
    }
}
