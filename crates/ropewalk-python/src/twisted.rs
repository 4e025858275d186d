//! The names of Twisted that native code uses, looked up once.

use pyo3::exceptions::PyKeyError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyString, PyType};

/// Objects of Twisted's modules, fetched when the first reactor is made.
pub(crate) struct Names {
    pub(crate) connection_done: Py<PyAny>,
    pub(crate) connection_lost: Py<PyAny>,
    /// The failures that `_disconnectSelectable` shares among all connections that end so.
    pub(crate) done_failure: Py<PyAny>,
    pub(crate) lost_failure: Py<PyAny>,
    pub(crate) no_descriptor: Py<PyAny>,
    pub(crate) connection_aborted: Py<PyAny>,
    pub(crate) ipv6_address: Py<PyAny>,
    /// `_disconnectSelectable` of Twisted's reactors, and the failures that it shares.
    pub(crate) disconnect_selectable: Py<PyAny>,
    /// `wakeUp` of Twisted's reactors.
    pub(crate) wake_up: Py<PyAny>,
    pub(crate) log_context_interface: Py<PyAny>,
    /// What the plain things are that native code may do by itself.
    pub(crate) ipv4_address: Py<PyAny>,
    pub(crate) ipv4_init: Py<PyAny>,
    pub(crate) build_address: Py<PyAny>,
    pub(crate) log_prefix_of: Py<PyAny>,
    pub(crate) protocol_log_prefix: Py<PyAny>,
    pub(crate) new_object: Py<PyAny>,
    /// The class of bound methods, and `getattr`, which makes no exception where it has a default.
    method: Py<PyType>,
    getattr: Py<PyAny>,
    /// `currentContext` of the trackers that keep one stack per thread.
    current_context: Py<PyAny>,
    /// The module `twisted.python.context`, whose tracker a program may replace.
    context: Py<PyAny>,
    /// The module `ropewalk._failures`: reporting, in Python where failures are made.
    failures: Py<PyAny>,
    base_delayed_call: Py<PyType>,
    runtime_seconds: Py<PyAny>,
    errors: Py<PyAny>,
}

static NAMES: PyOnceLock<Names> = PyOnceLock::new();

/// Twisted's names; imports Twisted the first time.
pub(crate) fn names(py: Python<'_>) -> PyResult<&'static Names> {
    NAMES.get_or_try_init(py, || load(py))
}

fn load(py: Python<'_>) -> PyResult<Names> {
    let main = py.import("twisted.internet.main")?;
    let errors = py.import("twisted.internet.error")?;
    let base = py.import("twisted.internet.base")?;
    let posixbase = py.import("twisted.internet.posixbase")?;
    let disconnect = posixbase
        .getattr("PosixReactorBase")?
        .getattr("_disconnectSelectable")?;
    let tcp = py.import("twisted.internet.tcp")?;
    let builtins = py.import("builtins")?;
    let context = py.import("twisted.python.context")?;
    let ipv4_address = py
        .import("twisted.internet.address")?
        .getattr("IPv4Address")?;
    // The failures are the default of an argument.
    let failures = disconnect.getattr("__defaults__")?.get_item(0)?;
    let shared = |why: &Bound<'_, PyAny>| failures.get_item(why.get_type()).map(Bound::unbind);
    let connection_done = main.getattr("CONNECTION_DONE")?;
    let connection_lost = main.getattr("CONNECTION_LOST")?;
    Ok(Names {
        done_failure: shared(&connection_done)?,
        lost_failure: shared(&connection_lost)?,
        disconnect_selectable: disconnect.unbind(),
        wake_up: base.getattr("ReactorBase")?.getattr("wakeUp")?.unbind(),
        connection_done: connection_done.unbind(),
        connection_lost: connection_lost.unbind(),
        no_descriptor: py
            .import("twisted.internet.posixbase")?
            .getattr("_NO_FILEDESC")?
            .unbind(),
        ipv6_address: py
            .import("twisted.internet.address")?
            .getattr("IPv6Address")?
            .unbind(),
        ipv4_init: ipv4_address.getattr("__init__")?.unbind(),
        ipv4_address: ipv4_address.unbind(),
        build_address: tcp.getattr("Port")?.getattr("_buildAddr")?.unbind(),
        log_prefix_of: tcp.getattr("Server")?.getattr("_getLogPrefix")?.unbind(),
        protocol_log_prefix: py
            .import("twisted.internet.protocol")?
            .getattr("Protocol")?
            .getattr("logPrefix")?
            .unbind(),
        new_object: builtins.getattr("object")?.getattr("__new__")?.unbind(),
        method: py
            .import("types")?
            .getattr("MethodType")?
            .cast_into::<PyType>()?
            .unbind(),
        getattr: builtins.getattr("getattr")?.unbind(),
        current_context: context
            .getattr("ThreadedContextTracker")?
            .getattr("currentContext")?
            .unbind(),
        connection_aborted: errors.getattr("ConnectionAborted")?.unbind(),
        log_context_interface: py
            .import("twisted.python.log")?
            .getattr("ILogContext")?
            .unbind(),
        context: context.into_any().unbind(),
        failures: py.import("ropewalk._failures")?.into_any().unbind(),
        base_delayed_call: base.getattr("DelayedCall")?.cast_into::<PyType>()?.unbind(),
        runtime_seconds: base.getattr("runtimeSeconds")?.unbind(),
        errors: errors.into_any().unbind(),
    })
}

/// An error of `twisted.internet.error`, raised as the bare class.
pub(crate) fn error_class(py: Python<'_>, name: &str) -> PyErr {
    let raise = || -> PyResult<PyErr> {
        let class = names(py)?.errors.bind(py).getattr(name)?;
        Ok(PyErr::from_type(class.cast_into::<PyType>()?, ()))
    };
    raise().unwrap_or_else(|error| error)
}

/// `MessageLengthError` of `twisted.internet.error`, with the words of Twisted's UDP port.
pub(crate) fn message_too_long(py: Python<'_>) -> PyErr {
    let raise = || -> PyResult<PyErr> {
        let errors = names(py)?.errors.bind(py);
        let class = errors.getattr(intern!(py, "MessageLengthError"))?;
        Ok(PyErr::from_type(
            class.cast_into::<PyType>()?,
            "message too long",
        ))
    };
    raise().unwrap_or_else(|error| error)
}

/// `twisted.internet.base.DelayedCall`.
pub(crate) fn base_delayed_call(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    Ok(names(py)?.base_delayed_call.bind(py))
}

/// `twisted.internet.base.DelayedCall.debug`.
pub(crate) fn delayed_call_debug(py: Python<'_>) -> PyResult<bool> {
    base_delayed_call(py)?
        .getattr(intern!(py, "debug"))?
        .is_truthy()
}

/// `twisted.python.runtime.seconds`, the clock of a reactor nobody gave another.
pub(crate) fn runtime_seconds(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    Ok(names(py)?.runtime_seconds.bind(py).clone())
}

/// The host part of an IPv6 address with its scope, as `socket.getnameinfo` writes it.
pub(crate) fn numeric_host(
    py: Python<'_>,
    address: (String, u16, u32, u32),
) -> PyResult<Bound<'_, PyAny>> {
    let make = names(py)?
        .failures
        .bind(py)
        .getattr(intern!(py, "numeric_host"))?;
    make.call1((address,))
}

/// A Python socket that takes over the descriptor `number`.
pub(crate) fn socket_from_descriptor(py: Python<'_>, number: i32) -> PyResult<Bound<'_, PyAny>> {
    let make = names(py)?
        .failures
        .bind(py)
        .getattr(intern!(py, "socket_from_descriptor"))?;
    make.call1((number,))
}

/// The stack of logging contexts of this thread: `twisted.python.context`'s list of dicts.
pub(crate) fn context_stack(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
    let tracker = names(py)?
        .context
        .bind(py)
        .getattr(intern!(py, "theContextTracker"))?;
    let current = match kept_context(&tracker) {
        Ok(Some(current)) => current,
        _ => tracker.call_method0(intern!(py, "currentContext"))?,
    };
    Ok(current
        .getattr(intern!(py, "contexts"))?
        .cast_into::<PyList>()?)
}

/// What `currentContext` of a usual tracker answers, if this thread has asked it before. Fails for a
/// thread that has not.
fn kept_context<'py>(tracker: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = tracker.py();
    let class = tracker.get_type();
    let ask = class.getattr(intern!(py, "currentContext"))?;
    if !ask.is(&names(py)?.current_context) {
        return Ok(None);
    }
    let storage = tracker.getattr(intern!(py, "storage"))?;
    storage.getattr(intern!(py, "ct")).map(Some)
}

/// An attribute, if there is one and it is not `None`.
///
/// `getattr_opt` has an exception made for a missing one on Pythons before 3.13, which costs more
/// than a call.
pub(crate) fn attribute<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = object.py();
    let found = names(py)?
        .getattr
        .bind(py)
        .call1((object, name, py.None()))?;
    Ok(Some(found).filter(|found| !found.is_none()))
}

/// Whether `object.<name>` is `function`, as a method: neither the class nor the instance has
/// another one.
pub(crate) fn has_method(
    object: &Bound<'_, PyAny>,
    name: &Bound<'_, PyString>,
    function: &Py<PyAny>,
) -> PyResult<bool> {
    let py = object.py();
    let Some(method) = attribute(object, name)? else {
        return Ok(false);
    };
    if !method.get_type().is(&names(py)?.method) {
        return Ok(false);
    }
    Ok(method.getattr(intern!(py, "__func__"))?.is(function))
}

/// Whether a connection that ends with the failure `reason` is to be reset.
pub(crate) fn is_abort(reason: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = reason.py();
    let names = names(py)?;
    if reason.is(&names.done_failure) || reason.is(&names.lost_failure) {
        return Ok(false);
    }
    let aborted = names.connection_aborted.bind(py);
    reason
        .call_method1(intern!(py, "check"), (aborted,))?
        .is_truthy()
}

/// The context that `log.callWithLogger` would push on those `below`: the logging context of the
/// topmost that has one, with another `system`.
pub(crate) fn log_context<'py>(
    below: &Bound<'py, PyList>,
    system: &Bound<'_, PyAny>,
) -> PyResult<Bound<'py, PyDict>> {
    let py = below.py();
    let interface = names(py)?.log_context_interface.bind(py);
    let mut current = Err(PyKeyError::new_err("no logging context"));
    for index in (0..below.len()).rev() {
        current = below.get_item(index)?.get_item(interface);
        match &current {
            Err(error) if error.is_instance_of::<PyKeyError>(py) => {}
            _ => break,
        }
    }
    let context = current?.call_method0(intern!(py, "copy"))?;
    context.set_item(intern!(py, "system"), system)?;
    let pushed = PyDict::new(py);
    pushed.set_item(interface, context)?;
    Ok(pushed)
}

/// Reports `error` through `ropewalk._failures.<how>`, which logs it as Twisted does.
pub(crate) fn report(py: Python<'_>, how: &str, error: &PyErr) {
    let reported = names(py).and_then(|names| {
        names
            .failures
            .bind(py)
            .call_method1(how, (exception(py, error),))
    });
    if let Err(second) = reported {
        // Logging itself failed: all that is left is the interpreter's own report.
        second.write_unraisable(py, None);
    }
}

/// Reports `error` of a timed call, with the stack that scheduled it where it was kept.
pub(crate) fn report_timed_call(py: Python<'_>, error: &PyErr, creator: Option<Py<PyAny>>) {
    let reported = names(py).and_then(|names| {
        let failures = names.failures.bind(py);
        failures.call_method1(intern!(py, "timed_call"), (exception(py, error), creator))
    });
    if let Err(second) = reported {
        second.write_unraisable(py, None);
    }
}

/// The exception with its traceback, which CPython 3.11 and older keep beside the object.
fn exception(py: Python<'_>, error: &PyErr) -> Py<PyAny> {
    error.clone_ref(py).into_value(py).into_any()
}
