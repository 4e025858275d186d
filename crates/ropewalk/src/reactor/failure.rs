//! Failures of callbacks: caught at the loop, reported in one place.

use std::any::Any;
use std::fmt;

use crate::deferred::panicked;
use crate::error::Error;

/// What the program's hook for failures looks like.
pub(crate) type FailureHook = dyn Fn(&Failure);

/// A callback that failed. The loop goes on; a hook set by
/// [`Reactor::on_failure`](crate::Reactor::on_failure) hears of it.
pub struct Failure {
    during: &'static str,
    error: Error,
    payload: Option<Box<dyn Any + Send>>,
}

impl Failure {
    /// A panic that was caught.
    pub(crate) fn from_panic(during: &'static str, payload: Box<dyn Any + Send>) -> Self {
        Self {
            during,
            error: panicked(&*payload),
            payload: Some(payload),
        }
    }

    /// An error that no caller is left to hear of.
    pub(crate) fn from_error(during: &'static str, error: Error) -> Self {
        Self {
            during,
            error,
            payload: None,
        }
    }

    /// What was being done, in words: "a delayed call", "a call from a thread", …
    pub fn during(&self) -> &'static str {
        self.during
    }

    /// The error; [`Error::Panicked`] for a panic.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// What the panic carried, if it was one, for example to resume it elsewhere.
    pub fn panic_payload(&self) -> Option<&(dyn Any + Send)> {
        self.payload.as_deref()
    }

    /// The default report: the log, or standard error when nobody listens to the log.
    pub(crate) fn log(&self) {
        if tracing::dispatcher::has_been_set() {
            tracing::error!(during = self.during, error = %self.error, "a callback failed");
        } else if self.payload.is_none() {
            // A panic has been printed by the panic hook already.
            eprintln!("ropewalk: {self}");
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.during, self.error)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("during", &self.during)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}
