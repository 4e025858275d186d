//! The native base of the ends of a child's pipes, and of a terminal's master:
//! `class ProcessReader(_ropewalk.Pipe, process.ProcessReader)`.
//!
//! What moves data is here and in [`crate::process_pipe_io`]; what a transport does once (its end,
//! its producers) is inherited from Twisted's classes, whose attributes stay where Twisted keeps
//! them. The descriptor is Python's.

use std::cell::Cell;
use std::os::fd::RawFd;

use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit, intern};
use ropewalk::os::Readiness;

use crate::attached::Attached;
use crate::core::Core;
use crate::host::Verdict;
use crate::member::{Member, Outcome, Overrides, OwnMethods, core_by_reactor};
use crate::membership::Membership;
use crate::outgoing::Outgoing;
use crate::sources::Source;

/// The native part of a pipe.
#[pyclass(frozen, subclass, module = "ropewalk._ropewalk")]
pub(crate) struct Pipe {
    state: Attached<State>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) membership: Membership,
    pub(crate) number: Cell<Option<RawFd>>,
    pub(crate) queue: Outgoing,
    /// Whether the system took less than was offered, so that writability is waited for.
    pub(crate) blocked: Cell<bool>,
    /// Whether writing failed; told as the reason by the next dispatch.
    pub(crate) write_failed: Cell<bool>,
    /// Whether the next dispatch was asked for already.
    pub(crate) ready_requested: Cell<bool>,
    /// Whether an idle pipe that is written to is watched as one that is read: how the end of the
    /// other side is heard of.
    pub(crate) read_hack: Cell<bool>,
    overrides: Overrides,
}

impl Pipe {
    pub(crate) fn state<'py>(&'py self, py: Python<'py>) -> &'py State {
        self.state.get(py)
    }
}

impl Member for Pipe {
    fn membership<'py>(&'py self, py: Python<'py>) -> &'py Membership {
        &self.state.get(py).membership
    }

    fn overrides<'py>(&'py self, py: Python<'py>) -> &'py Overrides {
        &self.state.get(py).overrides
    }

    fn own_methods() -> &'static PyOnceLock<OwnMethods> {
        static OWN: PyOnceLock<OwnMethods> = PyOnceLock::new();
        &OWN
    }

    fn core(slf: &Bound<'_, Self>) -> PyResult<Py<Core>> {
        let overrides = &slf.get().state.get(slf.py()).overrides;
        core_by_reactor(slf, || overrides.look(slf))
    }

    fn number(slf: &Bound<'_, Self>) -> PyResult<RawFd> {
        slf.get().state.get(slf.py()).number()
    }

    fn source(slf: &Bound<'_, Self>) -> Source {
        Source::Pipe(slf.clone().unbind())
    }

    fn awaits_room(slf: &Bound<'_, Self>) -> bool {
        slf.get().state.get(slf.py()).blocked.get() || Self::python_writes(slf)
    }

    fn writing_changes(slf: &Bound<'_, Self>) {
        slf.get().state.get(slf.py()).blocked.set(false);
    }

    fn log_prefix_kept<'py>(slf: &Bound<'py, Self>) -> Option<Bound<'py, PyAny>> {
        Some(Self::log_prefix(slf.py()))
    }

    fn deliver<'py>(slf: &Bound<'py, Self>, readiness: Readiness) -> Verdict<'py> {
        Self::ready(slf, readiness)
    }

    fn read_in<'py>(slf: &Bound<'py, Self>) -> Outcome<'py> {
        Self::read(slf, slf.get().state.get(slf.py()))
    }

    fn write_out<'py>(slf: &Bound<'py, Self>) -> Outcome<'py> {
        Self::write_queued(slf, slf.get().state.get(slf.py()))
    }
}

impl State {
    pub(crate) fn number(&self) -> PyResult<RawFd> {
        self.number
            .get()
            .ok_or_else(|| PyAttributeError::new_err("fd"))
    }
}

#[pymethods]
impl Pipe {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            state: Attached::new(State::default()),
        }
    }

    /// The descriptor's number.
    #[getter]
    fn fd(&self, py: Python<'_>) -> PyResult<RawFd> {
        self.state(py).number()
    }

    #[setter(fd)]
    fn set_fd(&self, py: Python<'_>, number: RawFd) {
        self.state(py).number.set(Some(number));
    }

    /// See `twisted.internet.process.ProcessWriter.enableReadHack`.
    #[getter(enableReadHack)]
    fn read_hack(&self, py: Python<'_>) -> bool {
        self.state(py).read_hack.get()
    }

    #[setter(enableReadHack)]
    fn set_read_hack(&self, py: Python<'_>, enabled: bool) {
        self.state(py).read_hack.set(enabled);
    }

    /// The prefix of log lines while this pipe's callbacks run.
    #[staticmethod]
    #[pyo3(name = "logPrefix")]
    fn log_prefix(py: Python<'_>) -> Bound<'_, PyAny> {
        intern!(py, "-").clone().into_any()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: this is `__traverse__`.
        let state = unsafe { self.state.get_in_traverse() };
        // What is queued are bytes, which refer to nothing.
        state.membership.traverse(&visit)
    }

    fn __clear__(&self, py: Python<'_>) {
        self.state.get(py).membership.clear();
    }
}
