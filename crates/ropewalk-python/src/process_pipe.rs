//! The native base of the ends of a child's pipes, and of a terminal's master:
//! `class ProcessReader(_ropewalk.Pipe, process.ProcessReader)`.
//!
//! What moves data is here and in [`crate::process_pipe_io`]; what a transport does once (its end,
//! its producers) is inherited from Twisted's classes, whose attributes stay where Twisted keeps
//! them. The descriptor is Python's.

use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;

use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};
use pyo3::{PyTraverseError, PyVisit, intern};
use ropewalk::proto::WriteQueue;

use crate::attached::Attached;
use crate::chunk::Chunk;
use crate::core::Core;
use crate::membership::{Membership, overrides};
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
    pub(crate) queue: RefCell<WriteQueue<Chunk>>,
    /// Whether the system took less than was offered, so that writability is waited for.
    pub(crate) blocked: Cell<bool>,
    /// Whether writing failed; told as the reason by the next dispatch.
    pub(crate) write_failed: Cell<bool>,
    /// Whether the next dispatch was asked for already.
    pub(crate) ready_requested: Cell<bool>,
    /// Whether an idle pipe that is written to is watched as one that is read: how the end of the
    /// other side is heard of.
    pub(crate) read_hack: Cell<bool>,
    /// Whether the class has its own `doRead`, `doWrite` or `logPrefix`.
    pub(crate) class_reads: Cell<bool>,
    pub(crate) class_writes: Cell<bool>,
    class_logs: Cell<bool>,
}

impl Pipe {
    pub(crate) fn state<'py>(&'py self, py: Python<'py>) -> &'py State {
        self.state.get(py)
    }

    pub(crate) fn is_reading(&self, py: Python<'_>) -> bool {
        self.state.get(py).membership.is_reading()
    }

    pub(crate) fn is_writing(&self, py: Python<'_>) -> bool {
        self.state.get(py).membership.is_writing()
    }

    /// Starts or stops reading.
    pub(crate) fn set_reading(slf: &Bound<'_, Self>, reading: bool) -> PyResult<()> {
        let membership = &slf.get().state.get(slf.py()).membership;
        membership.set_reading(reading, || Self::update(slf))
    }

    /// Starts or stops writing. What is queued is written at the end of this batch.
    pub(crate) fn set_writing(slf: &Bound<'_, Self>, writing: bool) -> PyResult<()> {
        let state = slf.get().state.get(slf.py());
        state.membership.set_writing(writing, || {
            state.blocked.set(false);
            Self::update(slf)
        })
    }

    /// Tells the engine what the pipe wants now: a flush, or word of when there is room for more.
    pub(crate) fn update(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let state = slf.get().state.get(py);
        let membership = &state.membership;
        let core = Self::core(slf)?;
        let engine = &core.get().state(py).engine;
        let blocked = state.blocked.get() || state.class_writes.get();
        let source = || Source::Pipe(slf.clone().unbind());
        let token = membership.update(engine, blocked, || state.number(), source)?;
        if let (Some(token), true) = (token, membership.is_writing() && !blocked) {
            engine.request_flush(token);
        }
        Ok(())
    }

    /// The core of the pipe's reactor.
    fn core(slf: &Bound<'_, Self>) -> PyResult<Py<Core>> {
        let py = slf.py();
        let state = slf.get().state.get(py);
        if let Some(core) = state.membership.core(py) {
            return Ok(core);
        }
        let reactor = slf.getattr(intern!(py, "reactor"))?;
        let core = reactor.getattr(intern!(py, "_core"))?;
        let core = core.cast_into::<Core>()?.unbind();
        let class = slf.get_type();
        let overrides = |name| overrides::<Self>(&class, name);
        state.class_reads.set(overrides(intern!(py, "doRead"))?);
        state.class_writes.set(overrides(intern!(py, "doWrite"))?);
        state.class_logs.set(overrides(intern!(py, "logPrefix"))?);
        state.membership.join(core.clone_ref(py));
        Ok(core)
    }

    /// The context to push while this pipe's callbacks run.
    ///
    /// A cached one fits while nothing but the default context is below it.
    pub(crate) fn log_context(
        slf: &Bound<'_, Self>,
        below: &Bound<'_, PyList>,
    ) -> PyResult<Py<PyDict>> {
        let py = slf.py();
        let plain = below.len() == 1;
        let state = slf.get().state.get(py);
        let prefix = (plain && !state.class_logs.get()).then(|| Self::log_prefix(py));
        state.membership.log_context(slf.as_any(), prefix, below)
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

    /// Twisted's send-immediately buffer: empty here, for all that is unwritten is in one queue.
    #[getter(dataBuffer)]
    fn data_buffer<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, b"")
    }

    /// How much of `dataBuffer` is written.
    #[getter]
    fn offset(&self) -> usize {
        0
    }

    /// What is unwritten, chunk by chunk.
    #[getter(_tempDataBuffer)]
    fn unwritten<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let queue = self.state(py).queue.borrow();
        let slices = queue.slices().map(|slice| PyBytes::new(py, slice));
        let chunks: Vec<_> = slices.collect();
        drop(queue);
        PyList::new(py, chunks)
    }

    /// How much is unwritten, in bytes.
    #[getter(_tempDataLen)]
    fn unwritten_length(&self, py: Python<'_>) -> usize {
        self.state(py).queue.borrow().len()
    }

    /// The prefix of log lines while this pipe's callbacks run.
    #[staticmethod]
    #[pyo3(name = "logPrefix")]
    fn log_prefix(py: Python<'_>) -> Bound<'_, PyAny> {
        intern!(py, "-").clone().into_any()
    }

    /// Starts reading.
    #[pyo3(name = "startReading")]
    fn start_reading(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::set_reading(slf, true)
    }

    /// Stops reading.
    #[pyo3(name = "stopReading")]
    fn stop_reading(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::set_reading(slf, false)
    }

    /// Asks for what is queued to be written, and for what has to follow.
    #[pyo3(name = "startWriting")]
    fn start_writing(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::set_writing(slf, true)
    }

    /// Stops writing; what is queued stays queued.
    #[pyo3(name = "stopWriting")]
    fn stop_writing(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::set_writing(slf, false)
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
