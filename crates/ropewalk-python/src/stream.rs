//! The native base of stream transports: `class Server(_ropewalk.Stream, tcp.Server)`.
//!
//! Hot methods are here and in [`crate::stream_io`]; cold ones are inherited from Twisted's class,
//! which finds here the attributes it expects. State that Twisted keeps in instance attributes is
//! kept natively and shown under the same names.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use pyo3::exceptions::{PyAttributeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use pyo3::{PyTraverseError, PyVisit, intern};
use ropewalk::proto::WriteQueue;

use crate::attached::Attached;
use crate::chunk::Chunk;
use crate::core::Core;
use crate::membership::{Membership, overrides};
use crate::sources::Source;
use crate::tls::{Records, TlsState};
use crate::twisted;

/// The native part of a stream transport.
#[pyclass(frozen, subclass, module = "ropewalk._ropewalk")]
pub(crate) struct Stream {
    state: Attached<State>,
}

pub(crate) struct State {
    pub(crate) membership: Membership,
    pub(crate) descriptor: Descriptor,
    pub(crate) protocol: RefCell<Option<Py<PyAny>>>,
    pub(crate) producer: RefCell<Option<Py<PyAny>>>,
    pub(crate) queue: RefCell<WriteQueue<Chunk>>,
    /// What was assigned to `doRead` or `doWrite` on the instance (a connecting client does).
    pub(crate) do_read: RefCell<Option<Py<PyAny>>>,
    pub(crate) do_write: RefCell<Option<Py<PyAny>>>,
    pub(crate) logstr: RefCell<Option<Py<PyAny>>>,
    pub(crate) buffer_size: Cell<usize>,
    pub(crate) flags: Flags,
    pub(crate) tls: TlsState,
}

/// The descriptor and who owns it: this object, until somebody asks for the Python socket.
#[derive(Default)]
pub(crate) struct Descriptor {
    number: Cell<RawFd>,
    owned: RefCell<Option<OwnedFd>>,
    pub(crate) socket: RefCell<Option<Py<PyAny>>>,
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
    /// Whether a subclass overrides `doRead`, `doWrite` or `logPrefix`.
    pub(crate) class_reads: Cell<bool>,
    pub(crate) class_writes: Cell<bool>,
    class_logs: Cell<bool>,
    /// Whether the class is one of UNIX streams, with whose data descriptors may come.
    pub(crate) unix: Cell<bool>,
    /// Whether descriptors wait to be sent.
    pub(crate) passes_descriptors: Cell<bool>,
}

impl Stream {
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

    /// Starts or stops writing. What is queued is sent at the end of this batch.
    pub(crate) fn set_writing(slf: &Bound<'_, Self>, writing: bool) -> PyResult<()> {
        let state = slf.get().state.get(slf.py());
        state.membership.set_writing(writing, || {
            state.flags.blocked.set(false);
            Self::update(slf)
        })
    }

    /// Tells the engine what the stream wants now: a flush, or word of when there is room for more.
    pub(crate) fn update(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let state = slf.get().state.get(py);
        let membership = &state.membership;
        let core = membership.core(py).ok_or_else(detached)?;
        let engine = &core.get().state(py).engine;
        let blocked = state.flags.blocked.get() || Self::python_writes(state);
        let number = || state.descriptor.current(py);
        let source = || Source::Stream(slf.clone().unbind());
        let token = membership.update(engine, blocked, number, source)?;
        if let (Some(token), true) = (token, membership.is_writing() && !blocked) {
            engine.request_flush(token);
        }
        Ok(())
    }

    /// Whether `doRead` is Python's: of a subclass, or assigned on the instance.
    pub(crate) fn python_reads(state: &State) -> bool {
        state.flags.class_reads.get() || state.do_read.borrow().is_some()
    }

    /// Whether `doWrite` is Python's.
    pub(crate) fn python_writes(state: &State) -> bool {
        state.flags.class_writes.get() || state.do_write.borrow().is_some()
    }

    /// The context to push while this stream's callbacks run.
    ///
    /// A cached one fits while nothing but the default context is below it.
    pub(crate) fn log_context(
        slf: &Bound<'_, Self>,
        below: &Bound<'_, PyList>,
    ) -> PyResult<Py<PyDict>> {
        let py = slf.py();
        let plain = below.len() == 1;
        let state = slf.get().state.get(py);
        let prefix = (plain && !state.flags.class_logs.get()).then(|| slf.get().log_prefix(py));
        state.membership.log_context(slf.as_any(), prefix, below)
    }

    /// Closes the descriptor: through the Python socket if there is one, else right here.
    fn close_descriptor(slf: &Bound<'_, Self>, orderly: bool) -> PyResult<()> {
        let py = slf.py();
        let descriptor = &slf.get().state.get(py).descriptor;
        if descriptor.socket.borrow().is_some() {
            slf.call_method1(intern!(py, "_closeSocket"), (orderly,))?;
            let socket = descriptor.socket.take();
            drop(socket);
        } else if let Some(owned) = descriptor.owned.take() {
            crate::stream_io::close(owned, orderly);
        }
        descriptor.number.set(NO_DESCRIPTOR);
        Ok(())
    }
}

impl State {
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

const NO_DESCRIPTOR: RawFd = -1;

fn detached() -> PyErr {
    PyTypeError::new_err("this transport has no ropewalk reactor: its __init__ was not called")
}

impl Descriptor {
    /// The number to use now: -1 once the program closed the socket behind our back.
    pub(crate) fn current(&self, py: Python<'_>) -> PyResult<RawFd> {
        let socket = self.socket.borrow();
        match socket.as_ref() {
            None => Ok(self.number.get()),
            Some(socket) => {
                let socket = socket.bind(py).clone();
                socket.call_method0(intern!(py, "fileno"))?.extract()
            }
        }
    }

    fn exists(&self) -> bool {
        self.socket.borrow().is_some() || self.owned.borrow().is_some()
    }
}

#[pymethods]
impl Stream {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, pyo3::types::PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        let descriptor = Descriptor {
            number: Cell::new(NO_DESCRIPTOR),
            ..Descriptor::default()
        };
        Self {
            state: Attached::new(State {
                membership: Membership::default(),
                descriptor,
                protocol: RefCell::default(),
                producer: RefCell::default(),
                queue: RefCell::new(WriteQueue::new()),
                do_read: RefCell::default(),
                do_write: RefCell::default(),
                logstr: RefCell::default(),
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
        let flags = &state.flags;
        let overrides = |name| overrides::<Self>(&class, name);
        flags.class_reads.set(overrides(intern!(py, "doRead"))?);
        flags.class_writes.set(overrides(intern!(py, "doWrite"))?);
        flags.class_logs.set(overrides(intern!(py, "logPrefix"))?);
        let unix = class.getattr(intern!(py, "_isUNIX"))?;
        flags.unix.set(unix.is_truthy()?);
        Ok(())
    }

    /// The Python socket on this stream's descriptor.
    #[getter]
    fn socket<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let descriptor = &slf.get().state.get(py).descriptor;
        if let Some(socket) = descriptor.socket.borrow().as_ref() {
            return Ok(socket.bind(py).clone());
        }
        let Some(number) = descriptor.owned.borrow().as_ref().map(AsRawFd::as_raw_fd) else {
            return Err(PyAttributeError::new_err("socket"));
        };
        let socket = twisted::socket_from_descriptor(py, number)?;
        // From here on the socket owns the descriptor.
        if let Some(owned) = descriptor.owned.take() {
            let _: RawFd = std::os::fd::IntoRawFd::into_raw_fd(owned);
        }
        *descriptor.socket.borrow_mut() = Some(socket.clone().unbind());
        Ok(socket)
    }

    #[setter(socket)]
    fn set_socket(&self, py: Python<'_>, socket: &Bound<'_, PyAny>) -> PyResult<()> {
        let descriptor = &self.state.get(py).descriptor;
        descriptor
            .number
            .set(socket.call_method0(intern!(py, "fileno"))?.extract()?);
        let old = descriptor.socket.replace(Some(socket.clone().unbind()));
        drop(old);
        Ok(())
    }

    #[deleter(socket)]
    fn del_socket(&self, py: Python<'_>) -> PyResult<()> {
        let descriptor = &self.state.get(py).descriptor;
        if !descriptor.exists() {
            return Err(PyAttributeError::new_err("socket"));
        }
        let old = (descriptor.socket.take(), descriptor.owned.take());
        descriptor.number.set(NO_DESCRIPTOR);
        drop(old);
        Ok(())
    }

    /// The descriptor's number, or -1 when there is none any more.
    fn fileno(&self, py: Python<'_>) -> PyResult<RawFd> {
        self.state.get(py).descriptor.current(py)
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
    /// Starts reading.
    #[pyo3(name = "startReading")]
    fn start_reading(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::set_reading(slf, true)
    }

    /// Stops reading: no event reaches the stream until it reads or writes again.
    #[pyo3(name = "stopReading")]
    fn stop_reading(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::set_reading(slf, false)
    }

    /// Asks for what is queued to be sent, and for what has to follow.
    #[pyo3(name = "startWriting")]
    fn start_writing(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::set_writing(slf, true)
    }

    /// Stops writing; what is queued stays queued.
    #[pyo3(name = "stopWriting")]
    fn stop_writing(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::set_writing(slf, false)
    }

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
        let producer = state
            .producer
            .borrow()
            .as_ref()
            .map(|producer| producer.clone_ref(py));
        if let Some(producer) = producer {
            producer.call_method0(py, intern!(py, "stopProducing"))?;
            let old = state.producer.take();
            drop(old);
        }
        Self::set_reading(slf, false)?;
        Self::set_writing(slf, false)?;
        Self::close_descriptor(slf, !twisted::is_abort(reason)?)?;
        let unsent = state.queue.replace(WriteQueue::new());
        drop(unsent);
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

impl Stream {
    /// A stream that owns `fd` itself, for a connection just accepted.
    pub(crate) fn adopt(&self, py: Python<'_>, fd: OwnedFd) {
        let descriptor = &self.state.get(py).descriptor;
        descriptor.number.set(fd.as_raw_fd());
        let old = descriptor.owned.replace(Some(fd));
        drop(old);
    }
}
