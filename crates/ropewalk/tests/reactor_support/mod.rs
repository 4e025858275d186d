//! What the reactor's tests share.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(
    unused_macros,
    dead_code,
    reason = "each test program uses its own part of this"
)]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use ropewalk::{PollerKind, Reactor};

/// Makes one test of each case and poller; a poller the platform lacks shows as ignored.
macro_rules! on_every_poller {
    ($($case:ident),+ $(,)?) => {
        mod epoll {
            $(
                #[test]
                #[cfg_attr(not(target_os = "linux"), ignore = "needs Linux")]
                fn $case() {
                    super::$case(ropewalk::PollerKind::Epoll);
                }
            )+
        }
        mod poll {
            $(
                #[test]
                fn $case() {
                    super::$case(ropewalk::PollerKind::Poll);
                }
            )+
        }
    };
}

/// A reactor on this poller that leaves signals alone and, as a time limit, crashes after a minute.
pub(crate) fn reactor(kind: PollerKind) -> Reactor {
    let reactor = Reactor::builder()
        .poller(kind)
        .signals(false)
        .build()
        .unwrap();
    assert_eq!(reactor.poller_kind(), kind);
    reactor
}

/// Runs until somebody stops or crashes the reactor; fails when nobody does.
pub(crate) fn run(reactor: &Reactor) {
    let limit = reactor.call_later(Duration::from_secs(60), |_| {
        eprintln!("a test took longer than a minute");
        std::process::abort();
    });
    reactor.run().unwrap();
    limit.cancel();
}

/// Turns until `done`, at most a minute.
pub(crate) fn turn_until(reactor: &Reactor, mut done: impl FnMut() -> bool) {
    let limit = reactor.now() + Duration::from_secs(60);
    while !done() {
        assert!(reactor.now() < limit, "not done after a minute");
        reactor.turn(Some(Duration::from_millis(100))).unwrap();
    }
}

/// Stops a reactor from one of its callbacks.
pub(crate) fn stop(reactor: &Reactor) {
    reactor.stop().unwrap();
}

/// A list that callbacks append to.
#[derive(Clone, Default)]
pub(crate) struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    pub(crate) fn add(&self, entry: impl Into<String>) {
        self.0.borrow_mut().push(entry.into());
    }

    /// What was added since the last look.
    pub(crate) fn take(&self) -> Vec<String> {
        self.0.take()
    }

    /// Appends every failure the reactor reports.
    pub(crate) fn record_failures(&self, reactor: &Reactor) {
        let log = self.clone();
        reactor.on_failure(move |failure| log.add(failure.to_string()));
    }
}

/// How many descriptors this process has open.
pub(crate) fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
