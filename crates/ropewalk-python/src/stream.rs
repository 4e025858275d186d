//! The native base of stream transports: `class Server(_ropewalk.Stream, tcp.Server)`.
//!
//! Hot methods are in [`crate::stream_read`] and [`crate::stream_write`]; cold ones are inherited from Twisted's class,
//! which finds here the attributes it expects. State that Twisted keeps in instance attributes is
//! kept natively and shown under the same names.

use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;

use pyo3::exceptions::{PyAttributeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;
use pyo3::{PyTraverseError, PyVisit, intern};
use ropewalk::os::Readiness;

use crate::accepted::Label;
use crate::attached::Attached;
use crate::core::Core;
use crate::host::Verdict;
use crate::member::{Member, Outcome, Overrides, OwnMethods};
use crate::membership::Membership;
use crate::outgoing::Outgoing;
use crate::sources::Source;
use crate::stream_socket::Descriptor;
use crate::tls::{Records, TlsState};
use crate::twisted;

/// The native part of a stream transport.
#[pyclass(frozen, subclass, module = "ropewalk._ropewalk")]
pub(crate) struct Stream {
    state: Attached<State>,
}

pub(crate) struct State {
    pub(crate) membership: Membership,
    overrides: Overrides,
    pub(crate) descriptor: Descriptor,
    pub(crate) protocol: RefCell<Option<Py<PyAny>>>,
    pub(crate) producer: RefCell<Option<Py<PyAny>>>,
    pub(crate) queue: Outgoing,
    /// What was assigned to `doRead` or `doWrite` on the instance (a connecting client does).
    pub(crate) do_read: RefCell<Option<Py<PyAny>>>,
    pub(crate) do_write: RefCell<Option<Py<PyAny>>>,
    pub(crate) logstr: RefCell<Option<Py<PyAny>>>,
    pub(crate) label: Label,
    pub(crate) buffer_size: Cell<usize>,
    pub(crate) flags: Flags,
    pub(crate) tls: TlsState,
}

#[derive(Default)]
pub(crate) struct Flags {
    /// Whether the system took less than was offered, so that writability is waited for.
    pub(crate) blocked: Cell<bool>,
    /// Whether sending failed; told as the reason by the next dispatch.
    pub(crate) send_failed: Cell<bool>,
    /// Whether that failure was a reset. The failed send took the error from the socket, so a
    /// read sees a clean end where there was none.
    pub(crate) peer_reset: Cell<bool>,
    /// Whether the next dispatch was asked for already.
    pub(crate) ready_requested: Cell<bool>,
    pub(crate) connected: Cell<bool>,
    pub(crate) disconnected: Cell<bool>,
    pub(crate) disconnecting: Cell<bool>,
    pub(crate) write_disconnecting: Cell<bool>,
    pub(crate) write_disconnected: Cell<bool>,
    pub(crate) streaming_producer: Cell<bool>,
    pub(crate) producer_paused: Cell<bool>,
    pub(crate) tls: Cell<bool>,
    /// Whether the class is one of UNIX streams, with whose data descriptors may come.
    pub(crate) unix: Cell<bool>,
    /// Whether descriptors wait to be sent.
    pub(crate) passes_descriptors: Cell<bool>,
}

impl Stream {
    pub(crate) fn state<'py>(&'py self, py: Python<'py>) -> &'py State {
        self.state.get(py)
    }
}

impl Member for Stream {
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
        let core = slf.get().state.get(slf.py()).membership.core(slf.py());
        core.ok_or_else(detached)
    }

    fn number(slf: &Bound<'_, Self>) -> PyResult<RawFd> {
        slf.get().state.get(slf.py()).descriptor.current(slf.py())
    }

    fn source(slf: &Bound<'_, Self>) -> Source {
        Source::Stream(slf.clone().unbind())
    }

    fn awaits_room(slf: &Bound<'_, Self>) -> bool {
        slf.get().state.get(slf.py()).flags.blocked.get() || Self::python_writes(slf)
    }

    fn writing_changes(slf: &Bound<'_, Self>) {
        slf.get().state.get(slf.py()).flags.blocked.set(false);
    }

    fn log_prefix_kept<'py>(slf: &Bound<'py, Self>) -> Option<Bound<'py, PyAny>> {
        Some(slf.get().log_prefix(slf.py()))
    }

    /// Whether `doRead` is Python's: of a subclass, or assigned on the instance.
    fn python_reads(slf: &Bound<'_, Self>) -> bool {
        slf.get().state.get(slf.py()).python_reads()
    }

    fn python_writes(slf: &Bound<'_, Self>) -> bool {
        slf.get().state.get(slf.py()).python_writes()
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
    /// Whether `doRead` is Python's: of a subclass, or assigned on the instance.
    pub(crate) fn python_reads(&self) -> bool {
        self.overrides.reads() || self.do_read.borrow().is_some()
    }

    /// Whether `doWrite` is Python's.
    pub(crate) fn python_writes(&self) -> bool {
        self.overrides.writes() || self.do_write.borrow().is_some()
    }

    /// The producer, if there is one.
    pub(crate) fn producer(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let producer = self.producer.borrow();
        producer.as_ref().map(|producer| producer.clone_ref(py))
    }

    /// The protocol; an `AttributeError` once the connection is lost.
    pub(crate) fn protocol<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let protocol = self.protocol.borrow();
        let missing = || PyAttributeError::new_err("protocol");
        protocol
            .as_ref()
            .map(|protocol| protocol.bind(py).clone())
            .ok_or_else(missing)
    }
}

fn detached() -> PyErr {
    PyTypeError::new_err("this transport has no ropewalk reactor: its __init__ was not called")
}

#[pymethods]
impl Stream {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, pyo3::types::PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            state: Attached::new(State {
                membership: Membership::default(),
                overrides: Overrides::default(),
                descriptor: Descriptor::default(),
                protocol: RefCell::default(),
                producer: RefCell::default(),
                queue: Outgoing::default(),
                do_read: RefCell::default(),
                do_write: RefCell::default(),
                logstr: RefCell::default(),
                label: Label::default(),
                buffer_size: Cell::new(65536),
                flags: Flags::default(),
                tls: TlsState::default(),
            }),
        }
    }

    /// Ties the stream to a reactor's core.
    #[pyo3(name = "_attach")]
    pub(crate) fn attach(slf: &Bound<'_, Self>, core: &Bound<'_, Core>) -> PyResult<()> {
        let py = slf.py();
        let state = slf.get().state.get(py);
        state.membership.join(core.clone().unbind());
        let class = slf.get_type();
        state.overrides.look(slf)?;
        let unix = class.getattr(intern!(py, "_isUNIX"))?;
        state.flags.unix.set(unix.is_truthy()?);
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: this is `__traverse__`.
        let state = unsafe { self.state.get_in_traverse() };
        state.membership.traverse(&visit)?;
        let slots = [
            &state.descriptor.socket,
            &state.protocol,
            &state.producer,
            &state.do_read,
            &state.do_write,
            &state.logstr,
        ];
        for slot in slots {
            if let Ok(value) = slot.try_borrow() {
                visit.call(value.as_ref())?;
            }
        }
        state.label.traverse(&visit)?;
        if let Ok(records) = state.tls.records.try_borrow() {
            visit.call(records.as_ref())?;
        }
        if let Ok(layer) = state.tls.layer.try_borrow() {
            visit.call(layer.as_ref())?;
        }
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        let state = self.state.get(py);
        state.membership.clear();
        state.label.clear();
        let released = (
            (state.descriptor.socket.take(), state.protocol.take()),
            (state.producer.take(), state.logstr.take()),
            (state.do_read.take(), state.do_write.take()),
            (state.tls.records.take(), state.tls.layer.take()),
        );
        drop(released);
    }
}

#[pymethods]
impl Stream {
    /// `IPushProducer.pauseProducing`.
    #[pyo3(name = "pauseProducing")]
    fn pause_producing(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::set_reading(slf, false)
    }

    /// `IPushProducer.resumeProducing`: reads again, unless the stream is going away.
    #[pyo3(name = "resumeProducing")]
    fn resume_producing(slf: &Bound<'_, Self>) -> PyResult<()> {
        let flags = &slf.get().state.get(slf.py()).flags;
        if flags.connected.get() && !flags.disconnecting.get() {
            return Self::set_reading(slf, true);
        }
        Ok(())
    }

    /// The connection ended: tells the producer and the protocol, once, and lets go of both.
    #[pyo3(name = "connectionLost")]
    fn connection_lost(slf: &Bound<'_, Self>, reason: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let state = slf.get().state.get(py);
        if !state.descriptor.exists() {
            return Ok(());
        }
        state.flags.disconnected.set(true);
        state.flags.connected.set(false);
        if let Some(producer) = state.producer(py) {
            producer.call_method0(py, intern!(py, "stopProducing"))?;
            let old = state.producer.take();
            drop(old);
        }
        Self::set_reading(slf, false)?;
        Self::set_writing(slf, false)?;
        Self::close_socket(slf, !twisted::is_abort(reason)?)?;
        state.queue.clear();
        let Some(protocol) = state.protocol.take() else {
            return Err(PyAttributeError::new_err("protocol"));
        };
        let outcome = protocol.call_method1(py, intern!(py, "connectionLost"), (reason,));
        if let Some(records) = state.tls.records.take() {
            Records::release(records.bind(py))?;
        }
        if let Some(layer) = state.tls.layer.take() {
            layer.get().release(py);
        }
        outcome.map(drop)
    }
}
