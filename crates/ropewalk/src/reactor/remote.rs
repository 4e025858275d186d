//! The handle of a reactor that other threads hold.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ropewalk_os::Waker;

use super::Reactor;
use crate::engine::ThreadCalls;

/// A call that another thread asks the loop to make.
pub(crate) type ThreadCall = Box<dyn FnOnce(&Reactor) + Send>;

/// The `Send + Sync` counterpart of a [`Reactor`]: asks the loop to make calls on its thread.
///
/// Cheap to clone. It does not keep the reactor alive.
///
/// # Examples
///
/// ```
/// use ropewalk::Reactor;
///
/// # fn main() -> ropewalk::Result<()> {
/// let reactor = Reactor::new()?;
/// let remote = reactor.remote();
/// let worker = std::thread::spawn(move || {
///     let sum: u64 = (1..=10).sum();
///     remote.call_from_thread(move |reactor| {
///         println!("the worker says {sum}");
///         reactor.stop().expect("running: it makes this call");
///     })
/// });
/// reactor.run()?;
/// assert!(worker.join().unwrap());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Remote {
    calls: ThreadCalls<ThreadCall>,
    closed: Arc<AtomicBool>,
}

impl Remote {
    pub(crate) fn new(waker: Waker) -> Self {
        Self {
            calls: ThreadCalls::new(waker),
            closed: Arc::default(),
        }
    }

    /// Has the loop make `call` on its own thread, in one of its next turns, and wakes it.
    ///
    /// Calls of one thread are made in the order of their asking; calls asked for before
    /// [`run`](Reactor::run) are made in its first turn. Any thread may call this, the loop's
    /// included: the call is then made in the next turn, never at once. Not for signal handlers.
    ///
    /// The call travels, so it can hold nothing that belongs to the loop's thread. What it needs
    /// from there it finds in a `thread_local!`; or send it through any async channel to a
    /// [task](Reactor::spawn_local) that owns the rest, for tasks may be woken from every thread.
    ///
    /// Answers false, and drops the call, when the reactor is gone.
    pub fn call_from_thread(&self, call: impl FnOnce(&Reactor) + Send + 'static) -> bool {
        if self.closed.load(Ordering::Acquire) {
            return false;
        }
        self.calls.push(Box::new(call));
        true
    }

    /// Has the loop stop, unless it is stopping already. As
    /// [`call_from_thread`](Self::call_from_thread) in all else.
    pub fn stop(&self) -> bool {
        self.call_from_thread(|reactor| {
            if let Err(misuse) = reactor.stop() {
                tracing::debug!(%misuse, "a stop asked for by another thread came late");
            }
        })
    }

    /// The calls queued until now.
    pub(crate) fn take_calls(&self) -> Vec<ThreadCall> {
        self.calls.take()
    }

    /// Whether a call is queued.
    pub(crate) fn has_calls(&self) -> bool {
        !self.calls.is_empty()
    }

    /// The reactor is gone: nothing queued is ever called.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        drop(self.calls.take());
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = !self.closed.load(Ordering::Acquire);
        f.debug_struct("Remote")
            .field("reactor_lives", &open)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handle_for_other_threads_may_go_there_and_errors_may_come_back() {
        fn travels<T: Send + Sync + 'static>() {}
        travels::<Remote>();
        travels::<crate::Error>();
        travels::<crate::Disconnect>();
    }
}
