//! TLS records of streams under Twisted, moved without Python.
//!
//! The objects stay Twisted's and pyOpenSSL's. Once the handshake of a stream's TLS protocol is
//! done, [`Records`] takes the place of the protocol's methods that move records, and drives the
//! `SSL *` of the very connection that pyOpenSSL made. `ropewalk._tls` decides for which connections,
//! and everything that happens rarely (handshakes, shutdown, errors) is done by Twisted's methods.

mod below;
mod binding;
mod pending;
mod receive;
mod send;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString, PyType};
use pyo3::{PyTraverseError, PyVisit};

use crate::attached::Attached;
use crate::rustls::Layer;
use crate::stream::{State as StreamState, Stream};
use binding::Session;
use pending::Pending;
use send::Trouble;

/// What moves the TLS records of one stream.
#[pyclass(frozen, name = "TLSRecords", module = "ropewalk._ropewalk")]
pub(crate) struct Records {
    state: Attached<State>,
}

struct State {
    /// Nothing any more once the connection is lost.
    parts: RefCell<Option<Parts>>,
    /// Plaintext that is not encrypted yet.
    pending: RefCell<Pending>,
    /// The most plaintext that waits for the end of a batch, in bytes.
    limit: Cell<usize>,
    /// What went wrong while no user code could be called.
    trouble: RefCell<Option<Trouble>>,
    /// Whether OpenSSL is at work, from where Python code may be called back.
    busy: Cell<bool>,
    /// Whether a failure to read waits for data that came before it to be delivered.
    failing: Cell<bool>,
    bytes_received: Cell<u64>,
    bytes_sent: Cell<u64>,
}

/// What the records lie between.
struct Parts {
    session: Rc<Session>,
    stream: Py<Stream>,
    /// What the stream has for a protocol: the TLS protocol, or what hands everything on to it.
    outermost: Py<PyAny>,
    protocol: Py<PyAny>,
    /// This object's `dataReceived`, as it is set on the protocol.
    data_received: Option<Py<PyAny>>,
}

/// What `ropewalk._tls` brings, if pyOpenSSL is there.
struct Twisted {
    protocol_class: Py<PyType>,
    module: Py<PyAny>,
}

static TWISTED: PyOnceLock<Twisted> = PyOnceLock::new();

/// Has streams look for protocols of the class `protocol_class`, and have `module`, which is
/// `ropewalk._tls`, decide on them.
#[pyfunction]
pub(crate) fn move_tls_records(
    py: Python<'_>,
    protocol_class: Bound<'_, PyType>,
    module: Py<PyAny>,
) {
    let protocol_class = protocol_class.unbind();
    TWISTED.get_or_init(py, || Twisted {
        protocol_class,
        module,
    });
}

/// Takes the records of a stream's protocol over if it is Twisted's TLS protocol, its handshake is
/// done, and `ropewalk._tls` finds nothing in the way. Until then it is asked after each read; a
/// decision is final until another protocol is assigned.
pub(crate) fn look(stream: &Bound<'_, Stream>, state: &StreamState) -> PyResult<()> {
    let py = stream.py();
    let twisted = TWISTED.get(py);
    let protocol = state.protocol.borrow().as_ref().map(|it| it.clone_ref(py));
    let (Some(twisted), Some(protocol)) = (twisted, protocol) else {
        state.tls.settled.set(true);
        return Ok(());
    };
    let mut layer = protocol.into_bound(py);
    if let Some(wrapper) = endpoint_wrapper(py)? {
        while layer.get_type().is(wrapper) {
            layer = layer.getattr(intern!(py, "_wrappedProtocol"))?;
        }
    }
    if !layer
        .get_type()
        .is_subclass(twisted.protocol_class.bind(py))?
    {
        state.tls.settled.set(true);
        return Ok(());
    }
    if !state.flags.connected.get() || !truth(&layer, intern!(py, "_handshakeDone"))? {
        return Ok(());
    }
    state.tls.settled.set(true);
    let name = intern!(py, "take_over");
    let taken = twisted.module.call_method1(py, name, (stream, layer))?;
    if taken.is_none(py) {
        return Ok(());
    }
    let records = taken.bind(py).cast::<Records>()?.clone();
    let old = state.tls.records.replace(Some(records.clone().unbind()));
    records.get().request_flush(py)?;
    match old {
        Some(old) => Records::retire(old.bind(py)),
        None => Ok(()),
    }
}

/// The class of what client endpoints put around protocols, which hands everything on.
fn endpoint_wrapper(py: Python<'_>) -> PyResult<Option<&'static Py<PyAny>>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    if let Some(class) = CLASS.get(py) {
        return Ok(Some(class));
    }
    // Who has no endpoints is spared importing them, which takes a while.
    let Some(endpoints) = loaded_module(py, intern!(py, "twisted.internet.endpoints"))? else {
        return Ok(None);
    };
    let class = endpoints.getattr_opt(intern!(py, "_WrappingProtocol"))?;
    Ok(class.map(|class| CLASS.get_or_init(py, || class.unbind())))
}

/// A module, if somebody has imported it. `sys.modules` is fetched once: to import `sys` for every
/// connection costs as much as reading from it.
fn loaded_module<'py>(
    py: Python<'py>,
    name: &Bound<'py, PyString>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    static MODULES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    let modules = MODULES.get_or_try_init(py, || -> PyResult<_> {
        let modules = py
            .import(intern!(py, "sys"))?
            .getattr(intern!(py, "modules"))?;
        Ok(modules.cast_into::<PyDict>()?.unbind())
    })?;
    modules.bind(py).get_item(name)
}

/// What a stream knows of TLS.
#[derive(Default)]
pub(crate) struct TlsState {
    pub(crate) records: RefCell<Option<Py<Records>>>,
    /// The layer of `ropewalk.ssl` that lies right above the stream.
    pub(crate) layer: RefCell<Option<Py<Layer>>>,
    /// Whether the protocol, as it is now, needs no further look.
    pub(crate) settled: Cell<bool>,
}

impl TlsState {
    /// What moves the stream's records, if it is native.
    pub(crate) fn records<'py>(&self, py: Python<'py>) -> Option<Bound<'py, Records>> {
        let records = self.records.borrow();
        records.as_ref().map(|records| records.bind(py).clone())
    }

    /// The layer of `ropewalk.ssl`, if it lies right above the stream.
    pub(crate) fn layer<'py>(&self, py: Python<'py>) -> Option<Bound<'py, Layer>> {
        let layer = self.layer.borrow();
        layer.as_ref().map(|layer| layer.bind(py).clone())
    }

    /// Encrypts what waits, and does what has to follow. May run user code. Whether there is a layer.
    pub(crate) fn settle(&self, py: Python<'_>) -> PyResult<bool> {
        if let Some(records) = self.records(py) {
            return Records::settle(&records).map(|()| true);
        }
        match self.layer(py) {
            Some(layer) => Layer::settle(&layer).map(|()| true),
            None => Ok(false),
        }
    }

    /// Encrypts what waits, without user code. What of it is done; nothing where there is no layer.
    pub(crate) fn settle_quietly(&self, stream: &Bound<'_, Stream>) -> Option<PyResult<bool>> {
        let py = stream.py();
        if let Some(records) = self.records(py) {
            return Some(Records::settle_quietly(&records));
        }
        let layer = self.layer(py)?;
        Some(Ok(Layer::settle_quietly(&layer, stream)))
    }
}

impl Records {
    fn session(&self, py: Python<'_>) -> Option<Rc<Session>> {
        let parts = self.state.get(py).parts.borrow();
        parts.as_ref().map(|parts| Rc::clone(&parts.session))
    }

    fn stream<'py>(&self, py: Python<'py>) -> Option<Bound<'py, Stream>> {
        let parts = self.state.get(py).parts.borrow();
        parts.as_ref().map(|parts| parts.stream.bind(py).clone())
    }

    fn protocol<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let parts = self.state.get(py).parts.borrow();
        parts.as_ref().map(|parts| parts.protocol.bind(py).clone())
    }

    /// Runs `operate` while Python code that OpenSSL calls back finds the session busy.
    fn while_busy<T>(&self, py: Python<'_>, operate: impl FnOnce() -> T) -> T {
        let state = self.state.get(py);
        let outer = state.busy.replace(true);
        let result = operate();
        state.busy.set(outer);
        result
    }

    /// The connection is lost: lets go of everything, the protocol of the native methods too.
    pub(crate) fn release(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let state = slf.get().state.get(py);
        let Some(parts) = state.parts.take() else {
            return Ok(());
        };
        drop((state.pending.take(), state.trouble.take()));
        let attributes = parts
            .protocol
            .bind(py)
            .getattr(intern!(py, "__dict__"))?
            .cast_into::<PyDict>()?;
        for name in [intern!(py, "dataReceived"), intern!(py, "_write")] {
            let Some(method) = attributes.get_item(name)? else {
                continue;
            };
            if method
                .getattr(intern!(py, "__self__"))
                .is_ok_and(|it| it.is(slf))
            {
                attributes.del_item(name)?;
            }
        }
        Ok(())
    }
}

#[pymethods]
impl Records {
    /// Prepares to move the records of `protocol`, whose ciphertext `stream` carries.
    #[new]
    fn new(
        stream: &Bound<'_, Stream>,
        protocol: Py<PyAny>,
        connection: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let py = stream.py();
        let parts = Parts {
            session: Rc::new(Session::of(connection)?),
            outermost: stream.get().state(py).protocol(py)?.unbind(),
            stream: stream.clone().unbind(),
            protocol,
            data_received: None,
        };
        Ok(Self {
            state: Attached::new(State {
                parts: RefCell::new(Some(parts)),
                pending: RefCell::default(),
                limit: Cell::new(0),
                trouble: RefCell::default(),
                busy: Cell::new(false),
                failing: Cell::new(false),
                bytes_received: Cell::new(0),
                bytes_sent: Cell::new(0),
            }),
        })
    }

    /// Stands in for the protocol's own methods from here on.
    fn install(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let Some(protocol) = slf.get().protocol(py) else {
            return Ok(());
        };
        let data_received = slf.getattr(intern!(py, "dataReceived"))?;
        if let Some(parts) = slf.get().state.get(py).parts.borrow_mut().as_mut() {
            parts.data_received = Some(data_received.clone().unbind());
        }
        protocol.setattr(intern!(py, "_write"), slf.getattr(intern!(py, "_write"))?)?;
        protocol.setattr(intern!(py, "dataReceived"), data_received)
    }

    /// Gathers up to `limit` bytes of what is given to `write` until the batch ends, behind what is
    /// `waiting`.
    fn gather(&self, limit: usize, waiting: &Bound<'_, PyBytes>) {
        let state = self.state.get(waiting.py());
        state.limit.set(limit);
        if !waiting.as_bytes().is_empty() {
            state.pending.borrow_mut().push(waiting);
        }
    }

    /// How much plaintext was read natively, in bytes.
    #[getter(bytesReceived)]
    fn bytes_received(&self, py: Python<'_>) -> u64 {
        self.state.get(py).bytes_received.get()
    }

    /// How much plaintext was encrypted natively, in bytes.
    #[getter(bytesSent)]
    fn bytes_sent(&self, py: Python<'_>) -> u64 {
        self.state.get(py).bytes_sent.get()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: this is `__traverse__`.
        let state = unsafe { self.state.get_in_traverse() };
        let Ok(parts) = state.parts.try_borrow() else {
            return Ok(());
        };
        let Some(parts) = parts.as_ref() else {
            return Ok(());
        };
        visit.call(&parts.stream)?;
        visit.call(&parts.outermost)?;
        visit.call(&parts.protocol)?;
        visit.call(parts.data_received.as_ref())?;
        for object in parts.session.kept() {
            visit.call(object)?;
        }
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        let parts = self.state.get(py).parts.take();
        drop(parts);
    }
}

/// Whether an attribute of the TLS protocol is true.
fn truth(protocol: &Bound<'_, PyAny>, name: &Bound<'_, PyString>) -> PyResult<bool> {
    protocol.getattr(name)?.is_truthy()
}
