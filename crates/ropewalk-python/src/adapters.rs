//! zope.interface's question whether an object provides `IHalfCloseableProtocol`, which every
//! connection asks as it ends and hardly any protocol says yes to.
//!
//! Asked as the interface's call would, with nothing remembered: a class or an object may declare it,
//! or an adapter be registered, at any time.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyList;

use crate::twisted;

/// What the question goes through.
struct Adapters {
    half_closeable: Py<PyAny>,
    provided_by: Py<PyAny>,
    /// What zope.interface asks when an object does not provide the interface itself.
    hooks: Py<PyList>,
    usual: Option<UsualHook>,
}

/// The hook that Twisted adds for its registry, and the function that it looks adapters up with.
struct UsualHook {
    hook: Py<PyAny>,
    lookup: Py<PyAny>,
}

static ADAPTERS: PyOnceLock<Adapters> = PyOnceLock::new();

fn load(py: Python<'_>) -> PyResult<Adapters> {
    let interface = py.import("zope.interface.interface")?;
    let hooks = interface.getattr("adapter_hooks")?.cast_into::<PyList>()?;
    let half_closeable = py
        .import("twisted.internet.interfaces")?
        .getattr("IHalfCloseableProtocol")?;
    let provided_by = py
        .import("zope.interface.declarations")?
        .getattr("providedBy")?;
    Ok(Adapters {
        half_closeable: half_closeable.unbind(),
        provided_by: provided_by.unbind(),
        // One that is not as expected is called, as any other.
        usual: usual_hook(&hooks).unwrap_or(None),
        hooks: hooks.unbind(),
    })
}

fn usual_hook(hooks: &Bound<'_, PyList>) -> PyResult<Option<UsualHook>> {
    let components = hooks.py().import("twisted.python.components")?;
    let ours = components.getattr("globalRegistry")?.getattr("lookup1")?;
    for hook in hooks {
        let name = hook.getattr("__qualname__")?;
        if !hook.getattr("__globals__")?.is(components.dict())
            || !name.eq("_addHook.<locals>._hook")?
        {
            continue;
        }
        let cell = hook.getattr("__closure__")?.get_item(0)?;
        let lookup = cell.getattr("cell_contents")?;
        if lookup.eq(&ours)? {
            return Ok(Some(UsualHook {
                hook: hook.unbind(),
                lookup: lookup.unbind(),
            }));
        }
    }
    Ok(None)
}

/// `IHalfCloseableProtocol(protocol, None)`.
pub(crate) fn half_closeable<'py>(protocol: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = protocol.py();
    let adapters = ADAPTERS.get_or_try_init(py, || load(py))?;
    let interface = adapters.half_closeable.bind(py);
    if twisted::attribute(protocol, intern!(py, "__conform__"))?.is_some() {
        return interface.call1((protocol, py.None()));
    }
    if is_refused(adapters, protocol)? {
        return Ok(py.None().into_bound(py));
    }
    // All that is left of the call.
    interface.call_method1(intern!(py, "__adapt__"), (protocol,))
}

/// Whether `__adapt__` would answer `None`, as far as that can be told without calling Python.
fn is_refused(adapters: &Adapters, protocol: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = protocol.py();
    let hooks = adapters.hooks.bind(py);
    let Some(usual) = &adapters.usual else {
        return Ok(false);
    };
    if hooks.len() != 1 || !hooks.get_item(0)?.is(&usual.hook) {
        return Ok(false);
    }
    let interface = adapters.half_closeable.bind(py);
    let provided = adapters.provided_by.bind(py).call1((protocol,))?;
    let extends = provided.call_method1(intern!(py, "isOrExtends"), (interface,))?;
    if extends.is_truthy()? {
        return Ok(false);
    }
    let factory = usual.lookup.bind(py).call1((provided, interface))?;
    Ok(factory.is_none())
}
