//! What the binaries share.

use std::time::Duration;

use ropewalk::os::Poller;
use ropewalk::os::kqueue::{InProcessKqueue, KqueuePoller};
use ropewalk::{PollerKind, Reactor};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// The errors of a program that just ends with them.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A reactor on the poller that the first argument names.
pub fn reactor_from_arguments() -> Result<Reactor> {
    let name = std::env::args()
        .nth(1)
        .ok_or("the first argument is a poller, as epoll")?;
    let kind: PollerKind = name.parse()?;
    if kind == PollerKind::KQueue {
        // Linux has none: what is measured is the poller's share and that of its stand-in.
        let make = || Ok(Box::new(KqueuePoller::new(InProcessKqueue::new()?)) as Box<dyn Poller>);
        return Ok(Reactor::builder().poller_maker(make).build()?);
    }
    Ok(Reactor::with_poller(kind)?)
}

/// Raises the limit of open files to what is allowed.
pub fn allow_many_files() -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )?;
    Ok(())
}

/// CPU time of all threads of this process so far.
pub fn process_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        now.tv_sec.unsigned_abs(),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}

/// CPU time spent since `begun`, in nanoseconds for each of `count`.
pub fn nanoseconds_each(begun: Duration, count: u32) -> f64 {
    (process_time() - begun).as_nanos() as f64 / f64::from(count)
}
