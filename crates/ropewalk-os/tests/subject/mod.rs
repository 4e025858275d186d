//! What the suites run over: each poller, and each that has a descriptor inside another loop as
//! well.
#![allow(dead_code, reason = "each test program uses its own part of this")]

mod hosted;

use std::fmt;

use ropewalk_os::{Poller, PollerKind};

use self::hosted::Hosted;

/// A poller by its name and how it is made.
#[derive(Clone, Copy)]
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    make: fn() -> Box<dyn Poller>,
}

impl Subject {
    pub(crate) const EPOLL: Self = Self::new("epoll", || of_kind(PollerKind::Epoll));
    pub(crate) const POLL: Self = Self::new("poll", || of_kind(PollerKind::Poll));
    pub(crate) const SELECT: Self = Self::new("select", || of_kind(PollerKind::Select));
    pub(crate) const HOSTED_EPOLL: Self =
        Self::new("hosted epoll", || hosted(of_kind(PollerKind::Epoll)));
    /// The poller of the BSDs and macOS, over their kernel queue there and over the in-process one
    /// on Linux.
    pub(crate) const KQUEUE: Self = Self::new("kqueue", kqueue);
    pub(crate) const HOSTED_KQUEUE: Self = Self::new("hosted kqueue", || hosted(kqueue()));

    const fn new(name: &'static str, make: fn() -> Box<dyn Poller>) -> Self {
        Self { name, make }
    }

    /// All there are here; the first tells hang-ups and errors from readiness.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![Self::POLL, Self::SELECT, Self::KQUEUE, Self::HOSTED_KQUEUE];
        if cfg!(target_os = "linux") {
            all.extend([Self::EPOLL, Self::HOSTED_EPOLL]);
        }
        all
    }

    /// Makes the poller.
    pub(crate) fn poller(self) -> Box<dyn Poller> {
        (self.make)()
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

fn of_kind(kind: PollerKind) -> Box<dyn Poller> {
    kind.new_poller().unwrap()
}

fn kqueue() -> Box<dyn Poller> {
    #[cfg(target_os = "linux")]
    {
        use ropewalk_os::kqueue::{InProcessKqueue, KqueuePoller};
        Box::new(KqueuePoller::new(InProcessKqueue::new().unwrap()))
    }
    #[cfg(not(target_os = "linux"))]
    of_kind(PollerKind::KQueue)
}

fn hosted(inner: Box<dyn Poller>) -> Box<dyn Poller> {
    Box::new(Hosted(inner))
}
