//! What the native transports have in common, whatever they move: how they join their reactor, start
//! and stop reading and writing, and what an event does.

use std::cell::Cell;
use std::os::fd::RawFd;

use pyo3::call::PyCallArgs;
use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyString, PySuper, PyType};
use pyo3::{PyClass, PyTypeInfo, intern};
use ropewalk::os::Readiness;

use crate::core::Core;
use crate::host::{Verdict, raised, verdict};
use crate::membership::Membership;
use crate::sources::Source;
use crate::twisted;

/// What a transport's `doRead` or `doWrite` answers: why the connection is to end, or nothing.
pub(crate) type Outcome<'py> = PyResult<Option<Bound<'py, PyAny>>>;

/// The native base of a transport, as its reactor sees it.
pub(crate) trait Member: PyClass<Frozen = True> + Sync {
    fn membership<'py>(&'py self, py: Python<'py>) -> &'py Membership;

    fn overrides<'py>(&'py self, py: Python<'py>) -> &'py Overrides;

    /// Where the methods of the native class itself are kept.
    fn own_methods() -> &'static PyOnceLock<OwnMethods>;

    /// The core of the transport's reactor; joins it, if that was left for now.
    fn core(slf: &Bound<'_, Self>) -> PyResult<Py<Core>>;

    /// The descriptor's number now: -1 once it is closed.
    fn number(slf: &Bound<'_, Self>) -> PyResult<RawFd>;

    /// The transport as a source of the engine.
    fn source(slf: &Bound<'_, Self>) -> Source;

    /// Whether writability is waited for while it writes, rather than a flush asked for.
    fn awaits_room(slf: &Bound<'_, Self>) -> bool {
        Self::python_writes(slf)
    }

    /// It starts or stops writing; the engine is told next.
    fn writing_changes(_slf: &Bound<'_, Self>) {}

    /// The engine was told what it wants.
    fn interest_told(_slf: &Bound<'_, Self>) {}

    /// The prefix of its log lines, if that is not for its class to say.
    fn log_prefix_kept<'py>(slf: &Bound<'py, Self>) -> Option<Bound<'py, PyAny>>;

    /// Whether `doRead` is Python's.
    fn python_reads(slf: &Bound<'_, Self>) -> bool {
        slf.get().overrides(slf.py()).reads()
    }

    /// Whether `doWrite` is Python's.
    fn python_writes(slf: &Bound<'_, Self>) -> bool {
        slf.get().overrides(slf.py()).writes()
    }

    /// Delivers readiness: why the transport is to be disconnected, if it is, and whether reading
    /// said so.
    fn deliver<'py>(slf: &Bound<'py, Self>, readiness: Readiness) -> Verdict<'py>;

    /// `doRead`, natively.
    fn read_in<'py>(slf: &Bound<'py, Self>) -> Outcome<'py>;

    /// `doWrite`, natively where there is such a one.
    fn write_out<'py>(slf: &Bound<'py, Self>) -> Outcome<'py> {
        verdict(slf.as_any().call_method0(intern!(slf.py(), "doWrite"))?)
    }

    /// Whether the transport is in `getReaders`.
    fn is_reading(&self, py: Python<'_>) -> bool {
        self.membership(py).is_reading()
    }

    /// Whether it is in `getWriters`.
    fn is_writing(&self, py: Python<'_>) -> bool {
        self.membership(py).is_writing()
    }

    /// Starts or stops reading.
    fn set_reading(slf: &Bound<'_, Self>, reading: bool) -> PyResult<()> {
        let membership = slf.get().membership(slf.py());
        membership.set_reading(reading, || Self::update(slf))
    }

    /// Starts or stops writing. What is queued is sent at the end of this batch.
    fn set_writing(slf: &Bound<'_, Self>, writing: bool) -> PyResult<()> {
        let membership = slf.get().membership(slf.py());
        membership.set_writing(writing, || {
            Self::writing_changes(slf);
            Self::update(slf)
        })
    }

    /// Tells the engine what the transport wants now: a flush, or word of when there is room for
    /// more.
    fn update(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let membership = slf.get().membership(py);
        let core = Self::core(slf)?;
        let engine = &core.get().state(py).engine;
        let waits = Self::awaits_room(slf);
        let number = || Self::number(slf);
        let token = membership.update(engine, waits, number, || Self::source(slf))?;
        if let (Some(token), true) = (token, membership.is_writing() && !waits) {
            engine.request_flush(token);
        }
        Self::interest_told(slf);
        Ok(())
    }

    /// Reads, then writes, as `_doReadOrWrite` of Twisted's poll-like reactors.
    fn read_or_write<'py>(slf: &Bound<'py, Self>, reads: bool, writes: bool) -> Verdict<'py> {
        let mut in_read = false;
        match attempt(slf, reads, writes, &mut in_read) {
            Ok(why) => (why, in_read),
            Err(error) => (Some(raised(slf.py(), error)), in_read),
        }
    }

    /// The context to push while callbacks of this transport run.
    ///
    /// A cached one fits while nothing but the default context is below it.
    fn log_context(slf: &Bound<'_, Self>, below: &Bound<'_, PyList>) -> PyResult<Py<PyDict>> {
        let this = slf.get();
        let plain = below.len() == 1 && !this.overrides(slf.py()).logs.get();
        let prefix = plain.then(|| Self::log_prefix_kept(slf)).flatten();
        let membership = this.membership(slf.py());
        membership.log_context(slf.as_any(), prefix, below)
    }
}

fn attempt<'py, T: Member>(
    slf: &Bound<'py, T>,
    reads: bool,
    writes: bool,
    in_read: &mut bool,
) -> Outcome<'py> {
    let py = slf.py();
    if T::number(slf)? == -1 {
        return Ok(Some(twisted::names(py)?.no_descriptor.bind(py).clone()));
    }
    if reads {
        *in_read = true;
        let why = if T::python_reads(slf) {
            verdict(slf.as_any().call_method0(intern!(py, "doRead"))?)?
        } else {
            T::read_in(slf)?
        };
        if why.is_some() {
            return Ok(why);
        }
    }
    if writes && slf.get().is_writing(py) {
        *in_read = false;
        return if T::python_writes(slf) {
            verdict(slf.as_any().call_method0(intern!(py, "doWrite"))?)
        } else {
            T::write_out(slf)
        };
    }
    Ok(None)
}

/// Which of the native class's methods a subclass overrides.
#[derive(Default)]
pub(crate) struct Overrides {
    reads: Cell<bool>,
    writes: Cell<bool>,
    logs: Cell<bool>,
}

impl Overrides {
    /// Looks at the class of a transport that joins its reactor.
    pub(crate) fn look<T: Member>(&self, transport: &Bound<'_, T>) -> PyResult<()> {
        let py = transport.py();
        let class = transport.as_any().get_type();
        let ours = T::own_methods().get_or_try_init(py, || OwnMethods::of::<T>(py))?;
        let overrides = |name, ours: &Option<Py<PyAny>>| -> PyResult<bool> {
            let method = class.getattr(name)?;
            Ok(ours.as_ref().is_none_or(|ours| !method.is(ours)))
        };
        self.reads
            .set(overrides(intern!(py, "doRead"), &ours.reads)?);
        self.writes
            .set(overrides(intern!(py, "doWrite"), &ours.writes)?);
        self.logs
            .set(overrides(intern!(py, "logPrefix"), &ours.logs)?);
        Ok(())
    }

    pub(crate) fn reads(&self) -> bool {
        self.reads.get()
    }

    pub(crate) fn writes(&self) -> bool {
        self.writes.get()
    }
}

/// What a native class has under the names that count, looked up once.
pub(crate) struct OwnMethods {
    reads: Option<Py<PyAny>>,
    writes: Option<Py<PyAny>>,
    logs: Option<Py<PyAny>>,
}

impl OwnMethods {
    fn of<T: PyTypeInfo>(py: Python<'_>) -> PyResult<Self> {
        let class = py.get_type::<T>();
        let own = |name| {
            class
                .getattr_opt(name)
                .map(|method| method.map(Bound::unbind))
        };
        Ok(Self {
            reads: own(intern!(py, "doRead"))?,
            writes: own(intern!(py, "doWrite"))?,
            logs: own(intern!(py, "logPrefix"))?,
        })
    }
}

/// Whether `class` has something else under `name` than the native class `T`.
pub(crate) fn overrides<T: PyTypeInfo>(
    class: &Bound<'_, PyType>,
    name: &Bound<'_, PyString>,
) -> PyResult<bool> {
    let ours = class.py().get_type::<T>().getattr(name)?;
    Ok(!class.getattr(name)?.is(&ours))
}

/// The core of a transport that has its `reactor` before anything native is asked of it. `look` is
/// called when it joins, which is the first time.
pub(crate) fn core_by_reactor<T: Member>(
    slf: &Bound<'_, T>,
    look: impl FnOnce() -> PyResult<()>,
) -> PyResult<Py<Core>> {
    let py = slf.py();
    let membership = slf.get().membership(py);
    if let Some(core) = membership.core(py) {
        return Ok(core);
    }
    let reactor = slf.as_any().getattr(intern!(py, "reactor"))?;
    let core = reactor.getattr(intern!(py, "_core"))?;
    let core = core.cast_into::<Core>()?.unbind();
    look()?;
    membership.join(core.clone_ref(py));
    Ok(core)
}

/// As the interpreter says that an instance has no such attribute.
pub(crate) fn missing(transport: &Bound<'_, PyAny>, name: &str) -> PyErr {
    match transport.get_type().name() {
        Ok(class) => {
            PyAttributeError::new_err(format!("'{class}' object has no attribute '{name}'"))
        }
        Err(error) => error,
    }
}

/// What the class behind the native one would do: `super().<name>(*arguments)`.
pub(crate) fn inherited<'py, T: Member>(
    slf: &Bound<'py, T>,
    name: &Bound<'py, PyString>,
    arguments: impl PyCallArgs<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    let class = slf.py().get_type::<T>();
    PySuper::new(&class, slf.as_any())?.call_method1(name, arguments)
}

/// The methods by which programs start and stop what the engine watches for.
macro_rules! interest_methods {
    ($class:ty) => {
        #[pymethods]
        impl $class {
            /// Starts reading.
            #[pyo3(name = "startReading")]
            fn start_reading(slf: &Bound<'_, Self>) -> PyResult<()> {
                Self::set_reading(slf, true)
            }

            /// Stops reading: no event reaches the transport until it reads or writes again.
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
        }
    };
}

interest_methods!(crate::stream::Stream);
interest_methods!(crate::datagram::Datagram);
interest_methods!(crate::process_pipe::Pipe);
