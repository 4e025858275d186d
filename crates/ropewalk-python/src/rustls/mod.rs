//! TLS without pyOpenSSL, for `ropewalk.ssl`: the Rust face's configuration and its session without
//! I/O, under a Twisted protocol.
//!
//! [`Layer`] is the native base of that protocol's class: what runs per batch is here, and what runs
//! once per connection (handshake, close, failures, producers) is in `ropewalk._rustls`.

mod below;
mod errors;
mod facts;
mod options;
mod receive;
mod send;

use std::cell::{Cell, RefCell};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit, intern};
use ropewalk::proto::WriteQueue;
use ropewalk::proto::tls::{Session, TlsError};

use crate::attached::Attached;
use crate::chunk::Chunk;
use crate::stream::Stream;
use options::{Client, Identity, Roots, Server};

/// The native part of a protocol that speaks TLS between a transport and the protocol it wraps.
#[pyclass(frozen, subclass, name = "TLSLayer", module = "ropewalk._ropewalk")]
pub(crate) struct Layer {
    state: Attached<State>,
}

struct State {
    /// Nothing until the connection is made. No user code runs while it is borrowed.
    session: RefCell<Option<Session>>,
    /// Plaintext that is not sealed yet: it waits for the handshake, or for the end of the batch.
    pending: RefCell<WriteQueue<Chunk>>,
    transport: RefCell<Option<Py<PyAny>>>,
    wrapped: RefCell<Option<Py<PyAny>>>,
    /// The native stream that the layer lies on, if it is one.
    stream: RefCell<Option<Py<Stream>>>,
    /// The stream's protocol, if that only passes on to this one what it receives.
    around: RefCell<Option<Py<PyAny>>>,
    /// What stands in for the program's producer, as the transport knows it.
    producer: RefCell<Option<Py<PyAny>>>,
    flags: Flags,
}

#[derive(Default)]
struct Flags {
    /// Whether the program has closed: what it writes from now on is dropped, unless it has a
    /// producer.
    disconnecting: Cell<bool>,
    /// Whether the program has aborted: nothing is of interest any more.
    aborted: Cell<bool>,
    /// Whether the program hears of no more data.
    deaf: Cell<bool>,
    /// Whether the session has ended: the transport closes as soon as all is sent.
    lost: Cell<bool>,
    /// Whether a flush of what is pending is on its way.
    flush_scheduled: Cell<bool>,
}

#[pymethods]
impl Layer {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            state: Attached::new(State {
                session: RefCell::default(),
                pending: RefCell::new(WriteQueue::new()),
                transport: RefCell::default(),
                wrapped: RefCell::default(),
                producer: RefCell::default(),
                stream: RefCell::default(),
                around: RefCell::default(),
                flags: Flags::default(),
            }),
        }
    }

    /// Starts a session as a server. `protocols` are those of ALPN, if not the options'.
    #[pyo3(name = "_beginServer")]
    fn begin_server(
        &self,
        py: Python<'_>,
        server: &Bound<'_, Server>,
        protocols: Option<Vec<Vec<u8>>>,
    ) -> PyResult<()> {
        self.begin(py, server.get().session(py, protocols)?)
    }

    /// Starts a session as a client of the server `hostname`. Its first words wait to be sent.
    #[pyo3(name = "_beginClient")]
    fn begin_client(
        &self,
        py: Python<'_>,
        client: &Bound<'_, Client>,
        hostname: &str,
        protocols: Option<Vec<Vec<u8>>>,
    ) -> PyResult<()> {
        self.begin(py, client.get().session(py, hostname, protocols)?)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: this is `__traverse__`.
        let state = unsafe { self.state.get_in_traverse() };
        let slots = [
            &state.transport,
            &state.wrapped,
            &state.producer,
            &state.around,
        ];
        for slot in slots {
            if let Ok(value) = slot.try_borrow() {
                visit.call(value.as_ref())?;
            }
        }
        if let Ok(stream) = state.stream.try_borrow() {
            visit.call(stream.as_ref())?;
        }
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        let state = self.state.get(py);
        let released = (
            state.transport.take(),
            state.wrapped.take(),
            state.producer.take(),
            state.stream.take(),
            state.around.take(),
        );
        drop(released);
    }
}

impl Layer {
    fn begin(&self, py: Python<'_>, session: Session) -> PyResult<()> {
        let mut current = self.state.get(py).session.borrow_mut();
        if current.is_some() {
            return Err(PyRuntimeError::new_err(
                "this connection speaks TLS already",
            ));
        }
        *current = Some(session);
        Ok(())
    }

    /// Looks at the session, if there is one. `look` runs no user code.
    fn with_session<T>(&self, py: Python<'_>, look: impl FnOnce(&mut Session) -> T) -> Option<T> {
        self.state.get(py).session.borrow_mut().as_mut().map(look)
    }

    fn is_handshaking(&self, py: Python<'_>) -> bool {
        let handshaking = self.with_session(py, |session| session.is_handshaking());
        handshaking.unwrap_or(true)
    }

    /// Has the Python class end the connection for `error`, once.
    fn fail(slf: &Bound<'_, Self>, error: &TlsError) -> PyResult<()> {
        let py = slf.py();
        if slf.get().state.get(py).flags.lost.get() {
            return Ok(());
        }
        let (kind, alert) = errors::kind(error);
        let arguments = (kind, errors::text(error), alert);
        slf.call_method1(intern!(py, "_failed"), arguments)
            .map(drop)
    }
}

/// What `slot` holds, borrowed no longer than it takes to say so.
fn held_by(py: Python<'_>, slot: &RefCell<Option<Py<PyAny>>>) -> Option<Py<PyAny>> {
    slot.borrow().as_ref().map(|value| value.clone_ref(py))
}

/// Attributes that are objects or flags, shown under the names that Twisted's class has for them.
macro_rules! slots {
    ($($get:ident $set:ident $name:literal $slot:ident),+ $(,)?) => {
        #[pymethods]
        impl Layer {
            $(
                #[getter($name)]
                fn $get(&self, py: Python<'_>) -> Option<Py<PyAny>> {
                    held_by(py, &self.state.get(py).$slot)
                }

                #[setter($name)]
                fn $set(&self, py: Python<'_>, value: Option<Py<PyAny>>) {
                    let old = self.state.get(py).$slot.replace(value);
                    drop(old);
                }
            )+
        }
    };
}

slots! {
    transport set_transport "transport" transport,
    wrapped set_wrapped "wrappedProtocol" wrapped,
    producer set_producer "_producer" producer,
}

macro_rules! flags {
    ($($get:ident $set:ident $name:literal $flag:ident),+ $(,)?) => {
        #[pymethods]
        impl Layer {
            $(
                #[getter($name)]
                fn $get(&self, py: Python<'_>) -> bool {
                    self.state.get(py).flags.$flag.get()
                }

                #[setter($name)]
                fn $set(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<()> {
                    self.state.get(py).flags.$flag.set(value.is_truthy()?);
                    Ok(())
                }
            )+
        }
    };
}

flags! {
    disconnecting set_disconnecting "disconnecting" disconnecting,
    aborted set_aborted "_aborted" aborted,
    deaf set_deaf "_deaf" deaf,
    lost set_lost "_lost" lost,
}

/// Adds the classes to the extension module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Layer>()?;
    module.add_class::<Identity>()?;
    module.add_class::<Roots>()?;
    module.add_class::<Server>()?;
    module.add_class::<Client>()
}
