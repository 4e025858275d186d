//! State that only a thread attached to the interpreter may touch.

use pyo3::Python;

/// A value of one interpreter: reachable only with proof of attachment, so one thread at a time.
///
/// The module declares that it uses the interpreter's lock (`gil_used = true`), which makes every
/// attached thread the only one.
pub(crate) struct Attached<T>(T);

// SAFETY: `get` asks for a `Python` token and lends the value no longer than the token lives, and
// the lock lets one thread at a time hold one. Classes that own an `Attached` are deallocated by
// the interpreter, that is, by an attached thread.
unsafe impl<T> Send for Attached<T> {}
// SAFETY: as for `Send`: no two threads can hold the reference at once.
unsafe impl<T> Sync for Attached<T> {}

impl<T> Attached<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(value)
    }

    pub(crate) fn get<'py>(&'py self, _py: Python<'py>) -> &'py T {
        &self.0
    }

    /// The value, for a collector's traversal, which runs attached but is given no token.
    ///
    /// # Safety
    ///
    /// Only from `__traverse__`.
    pub(crate) unsafe fn get_in_traverse(&self) -> &T {
        &self.0
    }
}

/// Proof of attachment inside a callback of the engine.
///
/// The engine runs only inside methods that Python called (see [`crate::core`]), and lets the
/// interpreter go nowhere but in `Host::park`.
pub(crate) fn attached<'py>() -> Python<'py> {
    // SAFETY: by the sentence above, the caller's caller holds a token for longer than the callback
    // runs; nothing outside `crate::host` and `crate::sources` calls this.
    unsafe { Python::assume_attached() }
}

/// Runs `wait` with the interpreter let go: the one place that does.
pub(crate) fn detached(py: Python<'_>, wait: &mut dyn FnMut()) {
    struct SameThread<'a>(&'a mut dyn FnMut());
    impl SameThread<'_> {
        fn run(self) {
            (self.0)();
        }
    }
    // SAFETY: `detach` runs the closure on this very thread. `wait` touches the poller alone, which
    // no other thread reaches while it is borrowed.
    unsafe impl Send for SameThread<'_> {}
    let wait = SameThread(wait);
    py.detach(move || wait.run());
}
