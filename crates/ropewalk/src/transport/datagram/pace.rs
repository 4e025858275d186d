//! How many datagrams one call is asked for.

use std::cell::Cell;

/// Adapts the calls to the traffic of one socket.
///
/// One recvmmsg for many datagrams costs three quarters of as many recvfrom per datagram (measured
/// on loopback: 520 ns instead of 700), but 400 ns more than one recvfrom when a single one waits,
/// a third of it. So a socket that has one datagram at a time is asked for one, and now and then
/// for more; once there were more, it is drained in batches up to the bound.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// How often in a row one was asked for and came.
    alone: Cell<u32>,
    /// The longest datagram of the last call, in bytes.
    longest: Cell<usize>,
}

/// The most datagrams of one call: the size of the reactor's batch.
pub(super) const BATCH: usize = 32;

/// The most datagrams that one readiness receives.
const DATAGRAM_BOUND: usize = 128;

/// Where one readiness stops receiving, in bytes: no socket keeps the loop from the others.
pub(super) const BYTE_BOUND: usize = 256 * 1024;

/// How often one datagram alone is received before more are asked for.
const PROBE: u32 = 16;

/// What one readiness has received.
#[derive(Debug, Default)]
pub(super) struct Taken {
    datagrams: usize,
    bytes: usize,
}

impl Pace {
    /// How many to ask for next, or none for this readiness.
    pub(super) fn ask(&self, taken: &Taken) -> Option<usize> {
        if self.alone.get() < PROBE {
            return (taken.datagrams == 0).then_some(1);
        }
        let room = BYTE_BOUND.saturating_sub(taken.bytes);
        if room == 0 {
            return None;
        }
        // As if all were as long as the last: a first long one among short ones is let through.
        let fits = (room / self.longest.get().max(1)).max(1);
        let left = DATAGRAM_BOUND.saturating_sub(taken.datagrams);
        let ask = fits.min(left).min(BATCH);
        (ask > 0).then_some(ask)
    }

    /// Notes that `lengths` came of `asked`. Answers whether more may wait.
    pub(super) fn note(
        &self,
        taken: &mut Taken,
        asked: usize,
        lengths: impl Iterator<Item = usize>,
    ) -> bool {
        let (mut count, mut longest) = (0, 0);
        for length in lengths {
            count += 1;
            longest = longest.max(length);
            taken.bytes += length;
        }
        taken.datagrams += count;
        self.longest.set(longest);
        if asked == 1 && self.alone.get() < PROBE {
            self.alone.set(self.alone.get() + 1);
            return false;
        }
        if taken.datagrams <= 1 && count < asked {
            self.alone.set(0);
        }
        count == asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is asked for in turn, when the socket always has `waiting` datagrams of `length` bytes.
    fn turns(pace: &Pace, waiting: usize, length: usize) -> Vec<usize> {
        let mut taken = Taken::default();
        let (mut asked, mut left) = (Vec::new(), waiting);
        while let Some(ask) = pace.ask(&taken) {
            asked.push(ask);
            let count = ask.min(left);
            left -= count;
            if count == 0 || !pace.note(&mut taken, ask, (0..count).map(|_| length)) {
                break;
            }
        }
        asked
    }

    #[test]
    fn single_datagrams_are_asked_for_singly_and_seldom_for_more() {
        let pace = Pace::default();
        for _ in 0..3 {
            for _ in 0..PROBE {
                assert_eq!(turns(&pace, 1, 64), [1]);
            }
            assert_eq!(turns(&pace, 1, 64), [BATCH]);
        }
    }

    #[test]
    fn a_flood_is_received_in_batches_up_to_the_bound() {
        let pace = Pace::default();
        for _ in 0..PROBE {
            turns(&pace, usize::MAX, 64);
        }
        assert_eq!(turns(&pace, usize::MAX, 64), [BATCH; 4]);
        assert_eq!(turns(&pace, 40, 64), [BATCH, BATCH]);
        assert_eq!(turns(&pace, usize::MAX, 64), [BATCH; 4]);
    }

    #[test]
    fn long_datagrams_stop_at_the_bound_in_bytes() {
        let pace = Pace::default();
        for _ in 0..PROBE {
            turns(&pace, usize::MAX, 65_507);
        }
        let asked: usize = turns(&pace, usize::MAX, 65_507).iter().sum();
        assert!(asked * 65_507 < BYTE_BOUND + 65_507, "{asked}");
    }
}
