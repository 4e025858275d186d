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

use ropewalk::Reactor;

use crate::variant::{self, Variant};

/// Makes one test of each case and variant.
macro_rules! on_every_poller {
    ($($case:ident),+ $(,)?) => {
        on_every_variant!(crate::reactor_support::run_case: $($case),+);
    };
}

pub(crate) fn run_case(variant: Variant, case: fn(Variant)) {
    case(variant);
}

/// A reactor of this variant that leaves signals alone.
pub(crate) fn reactor(variant: Variant) -> Reactor {
    variant.reactor()
}

/// Runs until somebody stops or crashes the reactor; fails when nobody does.
pub(crate) fn run(reactor: &Reactor) {
    let limit = reactor.call_later(Duration::from_secs(60), |_| {
        eprintln!("a test took longer than a minute");
        std::process::abort();
    });
    variant::run(reactor).unwrap();
    limit.cancel();
}

/// Turns until `done`, at most a minute.
pub(crate) fn turn_until(reactor: &Reactor, mut done: impl FnMut() -> bool) {
    let limit = reactor.now() + Duration::from_secs(60);
    while !done() {
        assert!(reactor.now() < limit, "not done after a minute");
        variant::turn(reactor, Duration::from_millis(100));
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
