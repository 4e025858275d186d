//! The turns of the loop, piece by piece as Twisted's reactors have them.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyList, PyTuple};
use ropewalk::engine::Timers;
use ropewalk::os::Readiness;

use crate::core::Core;
use crate::delayed_call::DelayedCall;
use crate::host::PyHost;
use crate::twisted;

impl Core {
    /// How many thread calls wait, and the queue itself.
    pub(crate) fn thread_call_queue<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let queue = self.attribute(py, intern!(py, "threadCallQueue"))?;
        Ok(queue.cast_into::<PyList>()?)
    }

    /// Whether a call from a thread waits to be made.
    pub(crate) fn has_thread_calls(&self, py: Python<'_>) -> bool {
        let queue = self.thread_call_queue(py);
        queue.is_ok_and(|queue| !queue.is_empty())
    }

    /// Makes the thread calls queued on entry; what they queue waits for the next turn.
    fn run_thread_calls(&self, py: Python<'_>) -> PyResult<()> {
        let state = self.state(py);
        let queue = self.thread_call_queue(py)?;
        if !queue.is_empty() {
            // Taken out before they are made, so that a nested turn does not make them again.
            let batch = queue.get_slice(0, queue.len());
            queue.del_slice(0, batch.len())?;
            state
                .taken_calls
                .borrow_mut()
                .extend(batch.iter().map(Bound::unbind));
        }
        let count = state.taken_calls.borrow().len();
        for _ in 0..count {
            let Some(call) = state.taken_calls.borrow_mut().pop_front() else {
                break;
            };
            if let Err(error) = make_thread_call(py, &call) {
                twisted::report(py, "thread_call", &error);
            }
        }
        if count > 0 && !queue.is_empty() {
            state.engine.waker().wake();
        }
        Ok(())
    }

    /// Makes the delayed calls that are due, of those scheduled before this pass.
    fn run_due_calls(&self, py: Python<'_>) -> PyResult<()> {
        let state = self.state(py);
        if state.timers.borrow().is_empty() {
            return Ok(());
        }
        let now = self.seconds(py)?;
        let sequence = state.timers.borrow().sequence();
        while let Some(call) = next_due(py, &state.timers, now, sequence) {
            if let Err(error) = call.get().run(py) {
                twisted::report_timed_call(py, &error, call.get().creator_of(py));
            }
        }
        Ok(())
    }

    /// Fires the shutdown event if a stop was asked for since the last turn.
    fn fire_shutdown_if_stopped(&self, py: Python<'_>) -> PyResult<()> {
        if self
            .attribute(py, intern!(py, "_justStopped"))?
            .is_truthy()?
        {
            let reactor = self.reactor(py)?;
            reactor.setattr(intern!(py, "_justStopped"), false)?;
            reactor.call_method1(intern!(py, "fireSystemEvent"), (intern!(py, "shutdown"),))?;
        }
        Ok(())
    }

    /// The rest of one turn: flush, wait, dispatch.
    pub(crate) fn poll(slf: &Bound<'_, Self>, timeout: Option<Duration>) -> PyResult<()> {
        let state = slf.get().state(slf.py());
        if state.white_box.is_replaced(slf.py())? {
            return Self::poll_through_reactor(slf, timeout);
        }
        Self::with_host(slf, |host| state.engine.poll(host, timeout))
    }

    /// Runs a step of the engine that may deliver readiness.
    pub(crate) fn with_host<R>(
        slf: &Bound<'_, Self>,
        step: impl FnOnce(&PyHost) -> io::Result<R>,
    ) -> PyResult<R> {
        let py = slf.py();
        let state = slf.get().state(py);
        let stack = twisted::context_stack(py)?.unbind();
        let outer = state.contexts.replace(Some(stack));
        let request = |token| state.engine.request_ready(token, Readiness::READABLE);
        let outer_turn = state.datagrams.enter_turn(request);
        let outcome = step(&PyHost::new(slf.clone().unbind()));
        state.datagrams.leave_turn(outer_turn);
        *state.contexts.borrow_mut() = outer;
        if let Some(interrupt) = state.interrupt.borrow_mut().take() {
            return Err(interrupt);
        }
        outcome.map_err(PyErr::from)
    }

    fn seconds_to_next(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        let Some(next) = self.state(py).timers.borrow().peek() else {
            return Ok(None);
        };
        let delay = next - self.seconds(py)?;
        Ok(Some(delay.clamp(0.0, LONGEST_TIMEOUT)))
    }

    /// One turn of the main loop, through the reactor's own methods where they were replaced.
    fn turn(
        slf: &Bound<'_, Self>,
        reactor: &Bound<'_, PyAny>,
        native: &NativeMethods,
    ) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        if native.run_until_current && !this.overridden(py, intern!(py, "runUntilCurrent"))? {
            Self::run_until_current(slf)?;
        } else {
            reactor.call_method0(intern!(py, "runUntilCurrent"))?;
        }
        let running = this.attribute(py, intern!(py, "running"))?.is_truthy()?;
        if native.timeout
            && native.do_iteration
            && !this.overridden(py, intern!(py, "doIteration"))?
        {
            let busy = !running || this.has_thread_calls(py);
            let timeout = if busy {
                Some(0.0)
            } else {
                this.seconds_to_next(py)?
            };
            return Self::poll(slf, timeout.map(duration));
        }
        let timeout = reactor.call_method0(intern!(py, "timeout"))?;
        let timeout = if running {
            timeout
        } else {
            PyInt::new(py, 0).into_any()
        };
        reactor
            .call_method1(intern!(py, "doIteration"), (timeout,))
            .map(drop)
    }
}

/// Which parts of the loop the reactor's class leaves native.
struct NativeMethods {
    run_until_current: bool,
    timeout: bool,
    do_iteration: bool,
}

#[pymethods]
impl Core {
    /// `ReactorBase.timeout`: seconds until the next delayed call is due, or nothing.
    fn timeout(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        self.seconds_to_next(py)
    }

    /// `ReactorBase.runUntilCurrent`: thread calls, due delayed calls, a requested shutdown.
    fn run_until_current(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        this.run_thread_calls(py)?;
        this.run_due_calls(py)?;
        this.fire_shutdown_if_stopped(py)
    }

    /// `doIteration`: waits at most `delay` seconds (`None`: without limit) and dispatches.
    fn do_iteration(slf: &Bound<'_, Self>, delay: &Bound<'_, PyAny>) -> PyResult<()> {
        let timeout = if delay.is_none() {
            None
        } else {
            Some(duration(delay.extract()?))
        };
        Self::poll(slf, timeout)
    }

    /// The main loop: turns until `_started` is false. No exception of a turn leaves it.
    fn main_loop(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let reactor = this.reactor(py)?;
        let native = native_methods(py, &reactor)?;
        let outer = this.state(py).loop_thread.replace(current_thread());
        let mut result = Ok(());
        loop {
            match reactor
                .getattr(intern!(py, "_started"))
                .and_then(|started| started.is_truthy())
            {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
            if let Err(error) = Self::turn(slf, &reactor, &native) {
                twisted::report(py, "main_loop", &error);
            }
        }
        this.state(py).loop_thread.set(outer);
        result
    }
}

/// As `ReactorBase.timeout`: what epoll's milliseconds in a C int can hold, in seconds.
const LONGEST_TIMEOUT: f64 = 2_147_483.0;

pub(crate) fn duration(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(0.0, LONGEST_TIMEOUT))
}

/// The mark of this thread.
pub(crate) fn current_thread() -> usize {
    thread_local!(static MARK: u8 = const { 0 });
    // The address of a thread-local tells threads apart at the cost of one instruction.
    MARK.with(|mark| std::ptr::from_ref(mark) as usize)
}

/// The next call due, with lazily recorded delays applied on the way.
fn next_due(
    py: Python<'_>,
    timers: &RefCell<Timers<f64, Py<DelayedCall>>>,
    now: f64,
    sequence: u64,
) -> Option<Py<DelayedCall>> {
    loop {
        let mut heap = timers.borrow_mut();
        let id = heap.peek_due(now, sequence)?;
        let call = heap.get(id).map(|call| call.clone_ref(py))?;
        let state = call.get().state(py);
        if state.delayed_time.get() > 0.0 {
            state.time.set(state.time.get() + state.delayed_time.get());
            state.delayed_time.set(0.0);
            heap.postpone(id, state.time.get());
            continue;
        }
        return heap.cancel(id);
    }
}

fn make_thread_call(py: Python<'_>, call: &Py<PyAny>) -> PyResult<()> {
    let (f, args, kwargs) = call
        .bind(py)
        .extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
    let args = match args.cast_into::<PyTuple>() {
        Ok(args) => args,
        Err(error) => PyTuple::new(
            py,
            error
                .into_inner()
                .try_iter()?
                .collect::<PyResult<Vec<_>>>()?,
        )?,
    };
    let kwargs = kwargs.cast_into::<PyDict>()?;
    f.call(args, (!kwargs.is_empty()).then_some(&kwargs))
        .map(drop)
}

fn native_methods(py: Python<'_>, reactor: &Bound<'_, PyAny>) -> PyResult<NativeMethods> {
    let ours = py.import("ropewalk._reactor")?.getattr("RopewalkReactor")?;
    let class = reactor.get_type();
    let native =
        |name: &str| -> PyResult<bool> { Ok(class.getattr(name)?.is(&ours.getattr(name)?)) };
    Ok(NativeMethods {
        run_until_current: native("runUntilCurrent")?,
        timeout: native("timeout")?,
        do_iteration: native("doIteration")?,
    })
}
