//! What every case runs over: each poller, and each that can live in another loop hosted as well.
#![allow(
    dead_code,
    unused_macros,
    reason = "each test program uses its own part of this"
)]

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

use ropewalk::os::Poller;
#[cfg(target_os = "linux")]
use ropewalk::os::kqueue::{InProcessKqueue, KqueuePoller};
use ropewalk::{Builder, PollerKind, Reactor};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A poller, and who waits in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Variant {
    pub(crate) kind: PollerKind,
    /// Whether another loop waits on the reactor's descriptor.
    pub(crate) hosted: bool,
}

/// Makes one test of each case and variant; `$run` takes a variant and a case.
macro_rules! on_every_variant {
    ($run:path: $($case:ident),+ $(,)?) => {
        on_every_variant!(@each $run, [$($case)+],
            poll (Poll, false), select (Select, false), epoll (Epoll, false),
            kqueue (KQueue, false), hosted_epoll (Epoll, true), hosted_kqueue (KQueue, true));
    };
    (@each $run:path, $cases:tt, $($name:ident ($kind:ident, $hosted:literal)),+) => {
        $(on_every_variant!(@one $run, $cases, $name, $kind, $hosted);)+
    };
    (@one $run:path, [$($case:ident)+], $name:ident, $kind:ident, $hosted:literal) => {
        mod $name {
            $(
                #[test]
                fn $case() {
                    let variant = crate::variant::Variant {
                        kind: ropewalk::PollerKind::$kind,
                        hosted: $hosted,
                    };
                    $run(variant, crate::$case);
                }
            )+
        }
    };
}

thread_local! {
    /// Whether this test's loop is a host.
    static HOSTED: Cell<bool> = const { Cell::new(false) };
}

impl Variant {
    /// For what does not depend on it.
    pub(crate) const ANY: Self = Self::alone(PollerKind::Poll);

    /// Makes the poller; kqueue's over the in-process queue where the system has none.
    pub(crate) fn poller(self) -> io::Result<Box<dyn Poller>> {
        #[cfg(target_os = "linux")]
        if self.kind == PollerKind::KQueue {
            return Ok(Box::new(KqueuePoller::new(InProcessKqueue::new()?)));
        }
        self.kind.new_poller()
    }

    /// Of the same kind, with a loop of its own.
    pub(crate) const fn alone(kind: PollerKind) -> Self {
        Self {
            kind,
            hosted: false,
        }
    }

    /// What makes a reactor of this variant.
    pub(crate) fn builder(self) -> Builder {
        Reactor::builder().poller_maker(move || self.poller())
    }

    /// A reactor that leaves signals alone, to be driven by [`run`] and [`turn`].
    pub(crate) fn reactor(self) -> Reactor {
        self.prepare(self.builder().signals(false))
    }

    /// A reactor, to be driven by [`run`] and [`turn`].
    pub(crate) fn prepare(self, builder: Builder) -> Reactor {
        let reactor = builder.build().unwrap();
        assert_eq!(reactor.poller_kind(), self.kind);
        HOSTED.set(self.hosted);
        if self.hosted {
            reactor.as_fd().unwrap();
            // From its first turn on a host is woken for what it is to do.
            reactor.turn(Duration::ZERO).unwrap();
        }
        reactor
    }
}

/// Runs until somebody stops or crashes the reactor: by its own loop, or as a host does.
pub(crate) fn run(reactor: &Reactor) -> ropewalk::Result<()> {
    if !HOSTED.get() {
        return reactor.run();
    }
    reactor.start()?;
    loop {
        reactor.turn(Duration::ZERO)?;
        if !reactor.state().keeps_looping() {
            return Ok(());
        }
        wait(reactor, None);
    }
}

/// A turn that waits at most for `limit`.
pub(crate) fn turn(reactor: &Reactor, limit: Duration) {
    if HOSTED.get() {
        wait(reactor, Some(limit));
    }
    let limit = if HOSTED.get() { Duration::ZERO } else { limit };
    reactor.turn(limit).unwrap();
}

/// The wait of a host that has nothing else to do: believes the reactor, and nothing but it.
fn wait(reactor: &Reactor, limit: Option<Duration>) {
    let deadline = reactor.next_deadline();
    let until = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    let wait = [until, limit].into_iter().flatten().min();
    let wait = wait.map(|wait| Timespec::try_from(wait).unwrap());
    let fd = reactor.as_fd().unwrap();
    match poll(&mut [PollFd::new(&fd, PollFlags::IN)], wait.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => panic!("poll: {error}"),
    }
}
