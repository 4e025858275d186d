//! Numbers for random histories.

use std::cell::Cell;
use std::rc::Rc;

/// A generator of repeatable numbers (Marsaglia's xorshift): the same for the same seed. Clones go on
/// with the same sequence.
#[derive(Clone, Debug)]
pub struct Random(Rc<Cell<u64>>);

impl Random {
    /// Starts the sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        // Neighbours differ from their first numbers on, and none is zero, which would stay so.
        let spread = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self(Rc::new(Cell::new(spread)))
    }

    /// The next number, below `limit`.
    ///
    /// # Panics
    ///
    /// When `limit` is zero.
    pub fn below(&self, limit: usize) -> usize {
        let mut state = self.0.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.0.set(state);
        ((state >> 16) % limit as u64) as usize
    }

    /// One of `choices`.
    ///
    /// # Panics
    ///
    /// When there are none.
    pub fn pick<T: Copy>(&self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}
