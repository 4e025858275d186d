//! Turns inside another loop (asyncio's), and the reactor around a fork.

use std::os::fd::AsRawFd;
use std::time::Duration;

use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::intern;
use pyo3::prelude::*;

use crate::core::Core;
use crate::host::PyHost;
use crate::turn::current_thread;
use crate::twisted;

/// What [`Core::hosted_turn`] answers when the next turn is due at once. No clock shows it.
const AT_ONCE: f64 = f64::NEG_INFINITY;

#[pymethods]
impl Core {
    /// The descriptor that another loop watches for readability, and then calls `hosted_turn`. The
    /// same for the life of the core. From now on what is asked for between turns makes it readable.
    fn host_descriptor(slf: &Bound<'_, Self>) -> PyResult<i32> {
        let py = slf.py();
        let engine = &slf.get().state(py).engine;
        let number = engine.host_fd()?.as_raw_fd();
        engine.settle(&PyHost::new(slf.clone().unbind()))?;
        Ok(number)
    }

    /// One turn that does not wait. Answers when the next one is due by the reactor's clock, minus
    /// infinity for at once, or None when nothing but the descriptor can tell.
    fn hosted_turn(slf: &Bound<'_, Self>) -> PyResult<Option<f64>> {
        let py = slf.py();
        let this = slf.get();
        let state = this.state(py);
        state.engine.begin_turn();
        let outer = state.loop_thread.replace(current_thread());
        let outcome = Self::turn_without_waiting(slf);
        state.loop_thread.set(outer);
        // Also after a failed turn the descriptor tells the truth.
        let settled = state.engine.settle(&PyHost::new(slf.clone().unbind()));
        match outcome {
            Err(error) if error.is_instance_of::<PyKeyboardInterrupt>(py) => return Err(error),
            Err(error) => twisted::report(py, "main_loop", &error),
            Ok(()) => {}
        }
        settled?;
        let stopping = this.attribute(py, intern!(py, "_justStopped"))?;
        if state.engine.is_due() || this.has_thread_calls(py) || stopping.is_truthy()? {
            return Ok(Some(AT_ONCE));
        }
        Ok(state.timers.borrow().peek())
    }

    /// Closes the poller, before a fork; see `IReactorDaemonize`.
    fn release_poller(&self, py: Python<'_>) -> PyResult<()> {
        Ok(self.state(py).engine.release_poller()?)
    }

    /// Makes a new poller and parts the waker from the other process's, after a fork.
    fn restore_poller(&self, py: Python<'_>) -> PyResult<()> {
        Ok(self.state(py).engine.restore_poller()?)
    }
}

impl Core {
    fn turn_without_waiting(slf: &Bound<'_, Self>) -> PyResult<()> {
        // Through the reactor, for a program may have wrapped it.
        let py = slf.py();
        let reactor = slf.get().reactor(py)?;
        reactor.call_method0(intern!(py, "runUntilCurrent"))?;
        Self::poll(slf, Some(Duration::ZERO))
    }
}
