//! `IDelayedCall`: what `callLater` returns.

use std::cell::{Cell, RefCell};

use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::pyclass::CompareOp;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit, intern};
use ropewalk::engine::TimerId;

use crate::attached::Attached;
use crate::core::Core;
use crate::twisted;

/// A call that `reactor.callLater` scheduled: `twisted.internet.interfaces.IDelayedCall`.
///
/// Its attributes are those of `twisted.internet.base.DelayedCall`. `reset` and `delay` to a later
/// time are lazy, as there: the new time is noted here and the timer is moved when it comes up.
#[pyclass(frozen, module = "ropewalk._ropewalk", weakref)]
pub(crate) struct DelayedCall {
    state: Attached<State>,
}

pub(crate) struct State {
    core: RefCell<Option<Py<Core>>>,
    pub(crate) id: Cell<Option<TimerId>>,
    /// When the timer comes up, in seconds on the reactor's clock.
    pub(crate) time: Cell<f64>,
    /// What `reset` and `delay` added since, in seconds.
    pub(crate) delayed_time: Cell<f64>,
    called: Cell<bool>,
    cancelled: Cell<bool>,
    call: RefCell<Option<Call>>,
    /// The stack of the `callLater`, when `DelayedCall.debug` is set.
    creator: RefCell<Option<Py<PyAny>>>,
    /// What `repr` said before a cancel took the function away, when `DelayedCall.debug` is set.
    last_repr: RefCell<Option<Py<PyAny>>>,
}

/// The function and its arguments; gone after a cancel.
pub(crate) struct Call {
    func: Py<PyAny>,
    args: Py<PyTuple>,
    kw: Option<Py<PyDict>>,
}

impl Call {
    pub(crate) fn new(
        func: &Bound<'_, PyAny>,
        args: &Bound<'_, PyTuple>,
        kw: Option<&Bound<'_, PyDict>>,
    ) -> Self {
        Self {
            func: func.clone().unbind(),
            args: args.clone().unbind(),
            kw: kw.map(|kw| kw.clone().unbind()),
        }
    }
}

impl DelayedCall {
    pub(crate) fn create(core: &Bound<'_, Core>, time: f64, call: Call) -> Self {
        Self {
            state: Attached::new(State {
                core: RefCell::new(Some(core.clone().unbind())),
                id: Cell::new(None),
                time: Cell::new(time),
                delayed_time: Cell::new(0.0),
                called: Cell::new(false),
                cancelled: Cell::new(false),
                call: RefCell::new(Some(call)),
                creator: RefCell::new(None),
                last_repr: RefCell::new(None),
            }),
        }
    }

    pub(crate) fn state<'py>(&'py self, py: Python<'py>) -> &'py State {
        self.state.get(py)
    }

    pub(crate) fn set_creator(&self, py: Python<'_>, creator: Py<PyAny>) {
        *self.state.get(py).creator.borrow_mut() = Some(creator);
    }

    pub(crate) fn creator_of(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.state
            .get(py)
            .creator
            .borrow()
            .as_ref()
            .map(|creator| creator.clone_ref(py))
    }

    /// Marks the call as made and makes it.
    pub(crate) fn run(&self, py: Python<'_>) -> PyResult<()> {
        let state = self.state.get(py);
        state.called.set(true);
        state.id.set(None);
        let call = state.call.borrow();
        let Some(call_ref) = call.as_ref() else {
            return Ok(());
        };
        let func = call_ref.func.clone_ref(py);
        let args = call_ref.args.clone_ref(py);
        let kw = call_ref.kw.as_ref().map(|kw| kw.clone_ref(py));
        drop(call);
        match &kw {
            None => func.call1(py, args.bind(py))?,
            Some(kw) => func.call(py, args.bind(py), Some(kw.bind(py)))?,
        };
        Ok(())
    }

    fn core<'py>(&self, py: Python<'py>) -> Option<Bound<'py, Core>> {
        self.state
            .get(py)
            .core
            .borrow()
            .as_ref()
            .map(|core| core.bind(py).clone())
    }

    fn check_active(&self, py: Python<'_>) -> PyResult<()> {
        let state = self.state.get(py);
        if state.cancelled.get() {
            return Err(twisted::error_class(py, "AlreadyCancelled"));
        }
        if state.called.get() {
            return Err(twisted::error_class(py, "AlreadyCalled"));
        }
        Ok(())
    }

    fn part(&self, py: Python<'_>, name: &'static str) -> PyResult<Py<PyAny>> {
        let call = self.state.get(py).call.borrow();
        let Some(call) = call.as_ref() else {
            return Err(PyAttributeError::new_err(format!(
                "'DelayedCall' object has no attribute '{name}'"
            )));
        };
        Ok(match name {
            "func" => call.func.clone_ref(py),
            "args" => call.args.clone_ref(py).into_any(),
            _ => match &call.kw {
                Some(kw) => kw.clone_ref(py).into_any(),
                None => PyDict::new(py).into_any().unbind(),
            },
        })
    }
}

#[pymethods]
impl DelayedCall {
    /// When the call will be made, in seconds on the reactor's clock.
    #[pyo3(name = "getTime")]
    fn get_time(&self, py: Python<'_>) -> f64 {
        let state = self.state.get(py);
        state.time.get() + state.delayed_time.get()
    }

    /// Unschedules the call.
    fn cancel(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        this.check_active(py)?;
        let state = this.state.get(py);
        let timer = match (this.core(py), state.id.take()) {
            (Some(core), Some(id)) => core.get().cancel_timer(py, id),
            _ => None,
        };
        state.cancelled.set(true);
        if twisted::delayed_call_debug(py)? {
            *state.last_repr.borrow_mut() = Some(slf.repr()?.into_any().unbind());
        }
        let call = state.call.borrow_mut().take();
        // Dropped last and without a borrow: their destructors may run anything.
        drop((timer, call));
        Ok(())
    }

    /// Reschedules the call for `seconds_from_now` seconds from now.
    fn reset(slf: &Bound<'_, Self>, seconds_from_now: f64) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        this.check_active(py)?;
        let Some(core) = this.core(py) else {
            return Ok(());
        };
        let new_time = core.get().seconds(py)? + seconds_from_now;
        let state = this.state.get(py);
        if new_time < state.time.get() {
            state.delayed_time.set(0.0);
            state.time.set(new_time);
            core.get().move_timer(py, state);
        } else {
            state.delayed_time.set(new_time - state.time.get());
        }
        Ok(())
    }

    /// Moves the call `seconds_later` seconds away from the time it was scheduled for.
    fn delay(slf: &Bound<'_, Self>, seconds_later: f64) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        this.check_active(py)?;
        let state = this.state.get(py);
        state
            .delayed_time
            .set(state.delayed_time.get() + seconds_later);
        if state.delayed_time.get() < 0.0 {
            state.time.set(state.time.get() + state.delayed_time.get());
            state.delayed_time.set(0.0);
            if let Some(core) = this.core(py) {
                core.get().move_timer(py, state);
            }
        }
        Ok(())
    }

    /// Applies what `delay` and `reset` noted.
    fn activate_delay(&self, py: Python<'_>) {
        let state = self.state.get(py);
        state.time.set(state.time.get() + state.delayed_time.get());
        state.delayed_time.set(0.0);
        if let Some(core) = self.core(py) {
            core.get().move_timer(py, state);
        }
    }

    /// Whether the call is still to be made.
    fn active(&self, py: Python<'_>) -> bool {
        let state = self.state.get(py);
        !(state.cancelled.get() || state.called.get())
    }

    #[getter]
    fn time(&self, py: Python<'_>) -> f64 {
        self.state.get(py).time.get()
    }

    #[getter]
    fn delayed_time(&self, py: Python<'_>) -> f64 {
        self.state.get(py).delayed_time.get()
    }

    #[getter]
    fn called(&self, py: Python<'_>) -> u8 {
        self.state.get(py).called.get().into()
    }

    #[getter]
    fn cancelled(&self, py: Python<'_>) -> u8 {
        self.state.get(py).cancelled.get().into()
    }

    #[getter]
    fn func(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.part(py, "func")
    }

    #[getter]
    fn args(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.part(py, "args")
    }

    #[getter]
    fn kw(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.part(py, "kw")
    }

    /// The clock of the reactor that made the call.
    #[getter]
    fn seconds<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.core(py) {
            Some(core) => core.get().reactor(py)?.getattr(intern!(py, "seconds")),
            None => twisted::runtime_seconds(py),
        }
    }

    /// What `cancel` tells of it, as in Twisted; the timer is already out by then.
    #[getter]
    fn canceller<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.reactor_hook(py, "_cancelCallLater")
    }

    /// What is told of a call made sooner, as in Twisted.
    #[getter]
    fn resetter<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.reactor_hook(py, "_moveCallLaterSooner")
    }

    /// `twisted.internet.base.DelayedCall.debug`, which trial sets.
    #[getter]
    fn debug(&self, py: Python<'_>) -> PyResult<bool> {
        twisted::delayed_call_debug(py)
    }

    /// The stack that scheduled the call, in debug mode, else nothing.
    #[getter]
    fn creator(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.creator_of(py)
    }

    #[getter]
    fn _repr(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.state
            .get(py)
            .last_repr
            .borrow()
            .as_ref()
            .map(|text| text.clone_ref(py))
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        // Twisted's own text, for its tests and its users' logs compare it.
        let describe = twisted::base_delayed_call(py)?.getattr(intern!(py, "__repr__"))?;
        Ok(describe.call1((slf,))?.unbind())
    }

    fn __richcmp__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>, op: CompareOp) -> Py<PyAny> {
        let py = slf.py();
        let time_of = |call: &Bound<'_, Self>| call.get().state.get(py).time.get();
        let answer = match (op, other.cast::<Self>()) {
            (CompareOp::Lt, Ok(other)) => time_of(slf) < time_of(other),
            (CompareOp::Le, Ok(other)) => time_of(slf) <= time_of(other),
            (CompareOp::Gt, Ok(other)) => time_of(slf) > time_of(other),
            (CompareOp::Ge, Ok(other)) => time_of(slf) >= time_of(other),
            (CompareOp::Eq, _) => slf.is(other),
            (CompareOp::Ne, _) => !slf.is(other),
            _ => return py.NotImplemented(),
        };
        answer.into_pyobject(py).map_or_else(
            |_| py.NotImplemented(),
            |b| b.to_owned().into_any().unbind(),
        )
    }

    fn __hash__(slf: &Bound<'_, Self>) -> isize {
        // Identity, as `object` does it; the low bits of an address are all the same.
        (slf.as_ptr() as isize) >> 4
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: this is `__traverse__`.
        let state = unsafe { self.state.get_in_traverse() };
        if let Ok(core) = state.core.try_borrow() {
            visit.call(core.as_ref())?;
        }
        if let Ok(call) = state.call.try_borrow() {
            if let Some(call) = call.as_ref() {
                visit.call(&call.func)?;
                visit.call(&call.args)?;
                visit.call(call.kw.as_ref())?;
            }
        }
        if let Ok(creator) = state.creator.try_borrow() {
            visit.call(creator.as_ref())?;
        }
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        let state = self.state.get(py);
        let parts = (state.core.take(), state.call.take(), state.creator.take());
        drop(parts);
    }
}

impl DelayedCall {
    fn reactor_hook<'py>(
        &self,
        py: Python<'py>,
        name: &'static str,
    ) -> PyResult<Bound<'py, PyAny>> {
        match self.core(py) {
            Some(core) => core.get().reactor(py)?.getattr(name),
            None => Err(PyAttributeError::new_err(name)),
        }
    }
}
