//! A clock that stands still until it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A clock whose time moves only by [`advance`](Self::advance). Clones show the same time.
#[derive(Clone, Debug)]
pub struct ManualClock {
    start: Instant,
    /// Nanoseconds since `start`.
    elapsed: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that shows the time of its making.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            elapsed: Arc::default(),
        }
    }

    /// What the clock shows; `move || clock.now()` is a reactor's clock.
    pub fn now(&self) -> Instant {
        self.start + self.elapsed()
    }

    /// How far it was moved since it was made.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.elapsed.load(Ordering::SeqCst))
    }

    /// Moves the time on.
    ///
    /// # Panics
    ///
    /// For steps of more than 584 years.
    pub fn advance(&self, step: Duration) {
        let step = u64::try_from(step.as_nanos()).expect("a step of less than 584 years");
        self.elapsed.fetch_add(step, Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_moves_only_by_hand_and_for_all_clones() {
        let clock = ManualClock::new();
        let other = clock.clone();
        let start = clock.now();
        clock.advance(Duration::from_micros(3));
        assert_eq!(other.elapsed(), Duration::from_micros(3));
        assert_eq!(other.now() - start, Duration::from_micros(3));
    }
}
