//! Signals as something the loop can look at: a handler notes the signal and wakes the loop.

use std::io;
use std::os::raw::c_int;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook_registry::SigId;

use crate::{Waker, default_action};

/// The signals one loop hears of.
///
/// Handlers that were there before run as well, and those of other sets. A signal that comes
/// several times before the loop looks is reported once, as the kernel does with blocked signals.
#[derive(Debug)]
pub struct SignalSet {
    waker: Waker,
    watched: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    signal: c_int,
    pending: Arc<AtomicBool>,
    registration: SigId,
}

impl SignalSet {
    /// Creates an empty set whose signals wake `waker`'s loop.
    pub const fn new(waker: Waker) -> Self {
        Self {
            waker,
            watched: Vec::new(),
        }
    }

    /// Adds a signal; again, changes nothing. Its default action no longer happens, in the whole
    /// process, until no set watches it any more: then a signal that ends a process by default does
    /// so again, unless the program had a handler of its own before.
    ///
    /// # Errors
    ///
    /// What sigaction(2) failed with; [`InvalidInput`](io::ErrorKind::InvalidInput) for `SIGKILL`,
    /// `SIGSTOP` and the signals of crashes, which cannot be handled so.
    pub fn add(&mut self, signal: c_int) -> io::Result<()> {
        if signal_hook_registry::FORBIDDEN.contains(&signal) {
            let text = format!("signal {signal} cannot be delivered to a loop");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        if self.watched.iter().any(|watched| watched.signal == signal) {
            return Ok(());
        }
        default_action::watch(signal)?;
        let pending = Arc::new(AtomicBool::new(false));
        let (noted, waker) = (Arc::clone(&pending), self.waker.clone());
        let handler = move || {
            noted.store(true, Ordering::Release);
            waker.wake();
        };
        // SAFETY: the handler stores to an atomic and makes one write(2): async-signal-safe, no
        // lock, no allocation. `write` may change errno, which the registry saves and restores.
        let registration = unsafe { signal_hook_registry::register(signal, handler) }
            .inspect_err(|_| default_action::unwatch(signal))?;
        self.watched.push(Watched {
            signal,
            pending,
            registration,
        });
        Ok(())
    }

    /// Stops hearing of a signal; answers whether it was in the set.
    pub fn remove(&mut self, signal: c_int) -> bool {
        let before = self.watched.len();
        self.watched.retain(|watched| {
            let stays = watched.signal != signal;
            if !stays {
                watched.end();
            }
            stays
        });
        self.watched.len() < before
    }

    /// The signals that came since the last look, in the order they were added.
    pub fn take_pending(&self) -> Vec<c_int> {
        let came = |watched: &&Watched| watched.pending.swap(false, Ordering::AcqRel);
        self.watched
            .iter()
            .filter(came)
            .map(|watched| watched.signal)
            .collect()
    }
}

impl Watched {
    fn end(&self) {
        signal_hook_registry::unregister(self.registration);
        default_action::unwatch(self.signal);
    }
}

impl Drop for SignalSet {
    fn drop(&mut self) {
        for watched in &self.watched {
            watched.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test, for signals are the process's.
    #[test]
    fn a_signal_is_noted_once_per_look_and_no_more_after_removal() {
        let waker = Waker::new().unwrap();
        let mut set = SignalSet::new(waker.clone());
        let mut other = SignalSet::new(waker);
        set.add(libc::SIGUSR1).unwrap();
        set.add(libc::SIGUSR1).unwrap();
        other.add(libc::SIGUSR1).unwrap();
        for _ in 0..1000 {
            // SAFETY: raises a signal that has a handler.
            unsafe { libc::raise(libc::SIGUSR1) };
        }
        assert_eq!(set.take_pending(), [libc::SIGUSR1]);
        assert_eq!(set.take_pending(), []);
        assert_eq!(other.take_pending(), [libc::SIGUSR1]);
        assert!(set.remove(libc::SIGUSR1) && !set.remove(libc::SIGUSR1));
        // SAFETY: as above: the other set still handles it.
        unsafe { libc::raise(libc::SIGUSR1) };
        assert_eq!(
            (set.take_pending(), other.take_pending()),
            (vec![], vec![libc::SIGUSR1])
        );
        assert_eq!(
            set.add(libc::SIGKILL).unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
    }
}
