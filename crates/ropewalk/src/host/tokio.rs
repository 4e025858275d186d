//! A reactor inside tokio.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::yield_now;
use tokio::time::sleep_until;

use crate::error::{Error, Result};
use crate::reactor::Reactor;

/// Runs `reactor` as [`Reactor::run`] does, as a task among tokio's own: the two share the thread,
/// and after each turn tokio's tasks have theirs.
///
/// A reactor stays on its thread, so this future is not `Send`: run it by a current-thread runtime,
/// or in a `LocalSet`. The runtime needs its I/O and time drivers (`enable_all`). tokio's timer
/// counts milliseconds and rounds up, so a delayed call may be made up to a millisecond late.
/// A reactor with a [clock](crate::Builder::clock) of its own cannot be run so.
///
/// Dropping the future leaves the reactor as it is after its last turn; it may be run on by a host
/// of another kind, but counts as running.
///
/// # Errors
///
/// As [`Reactor::run`], [`Reactor::as_fd`]; [`Error::Os`] when tokio cannot watch the descriptor.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ropewalk::Reactor;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// let reactor = Reactor::new()?;
/// reactor.call_later(Duration::from_millis(5), |reactor| reactor.stop().expect("running"));
/// runtime.block_on(ropewalk::host::tokio::run(&reactor))?;
/// # Ok(())
/// # }
/// ```
pub async fn run(reactor: &Reactor) -> Result<()> {
    #[allow(
        deprecated,
        reason = "sound for a `BorrowedFd`, which is open as long as it lives and is always the \
                  same; the replacement is unsafe, and younger than the tokio we ask for"
    )]
    let fd = AsyncFd::with_interest(reactor.as_fd()?, Interest::READABLE);
    let fd = fd.map_err(Error::os("have tokio watch the reactor"))?;
    reactor.start()?;
    loop {
        reactor.turn(Duration::ZERO)?;
        if !reactor.state().keeps_looping() {
            return Ok(());
        }
        // Also when the reactor is busy, tokio's own tasks have their turn.
        yield_now().await;
        wait(reactor, &fd).await?;
    }
}

/// Waits until the reactor has something to do.
async fn wait(reactor: &Reactor, fd: &AsyncFd<BorrowedFd<'_>>) -> Result<()> {
    let Some(deadline) = reactor.next_deadline() else {
        return readable(fd).await;
    };
    if deadline <= Instant::now() {
        return Ok(());
    }
    tokio::select! {
        result = readable(fd) => result,
        () = sleep_until(deadline.into()) => Ok(()),
    }
}

/// Waits until the descriptor is readable.
async fn readable(fd: &AsyncFd<BorrowedFd<'_>>) -> Result<()> {
    loop {
        let guard = fd.readable().await;
        let mut guard = guard.map_err(Error::os("wait for events"))?;
        // tokio tells edges, and what it told once it takes for true until it is told otherwise.
        if is_readable(fd)? {
            return Ok(());
        }
        guard.clear_ready();
    }
}

fn is_readable(fd: &AsyncFd<BorrowedFd<'_>>) -> Result<bool> {
    let mut watched = [PollFd::new(fd.get_ref(), PollFlags::IN)];
    loop {
        match rustix::event::poll(&mut watched, Some(&Timespec::default())) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Error::os("wait for events")(error.into())),
        }
    }
}
