//! The handle of a call that is made later.

use std::fmt;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use super::core::{Core, later};
use crate::engine::TimerId;

/// A call that the reactor makes once, when its deadline has come.
///
/// Dropping the handle changes nothing: the call is made all the same. Each method answers whether
/// the call was still pending; from the moment the call begins it is not.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ropewalk::Reactor;
///
/// # fn main() -> ropewalk::Result<()> {
/// let reactor = Reactor::new()?;
/// let timeout = reactor.call_later(Duration::from_secs(30), |reactor| reactor.crash());
/// reactor.call_later(Duration::from_millis(1), move |reactor| {
///     assert!(timeout.cancel());
///     assert!(!timeout.is_active());
///     reactor.stop().expect("running");
/// });
/// reactor.run()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DelayedCall {
    core: Weak<Core>,
    id: TimerId,
}

impl DelayedCall {
    pub(crate) fn new(core: &Rc<Core>, id: TimerId) -> Self {
        Self {
            core: Rc::downgrade(core),
            id,
        }
    }

    /// Takes the call back. It is dropped at once, with what it holds.
    pub fn cancel(&self) -> bool {
        self.core
            .upgrade()
            .is_some_and(|core| core.cancel_call(self.id))
    }

    /// Makes the call due `delay` from now, earlier or later than it was, as the last among equal
    /// deadlines.
    pub fn reset(&self, delay: Duration) -> bool {
        self.core.upgrade().is_some_and(|core| {
            let deadline = core.deadline_after(delay);
            core.reset_call(self.id, deadline)
        })
    }

    /// Puts the deadline off by `extra`.
    pub fn delay(&self, extra: Duration) -> bool {
        let Some((core, deadline)) = self.core.upgrade().zip(self.deadline()) else {
            return false;
        };
        core.reset_call(self.id, later(deadline, extra))
    }

    /// Whether the call is still to be made.
    pub fn is_active(&self) -> bool {
        self.deadline().is_some()
    }

    /// When the call is due, or nothing when it was made or taken back.
    pub fn deadline(&self) -> Option<Instant> {
        self.core
            .upgrade()
            .and_then(|core| core.timers.borrow().deadline(self.id))
    }
}

impl fmt::Debug for DelayedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DelayedCall")
            .field("deadline", &self.deadline())
            .finish()
    }
}
