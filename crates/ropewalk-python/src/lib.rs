//! The extension module `ropewalk._ropewalk`: the engine under Twisted's objects.
//!
//! Native base classes that Python classes in `python/ropewalk` mix with Twisted's own. It knows
//! the engine's public API and pyo3, and leaves behaviour that runs rarely to Twisted's Python.

use pyo3::prelude::*;

mod accept;
mod attached;
mod chunk;
mod core;
mod delayed_call;
mod host;
mod log_contexts;
mod sources;
mod stream;
mod stream_attributes;
mod stream_io;
mod turn;
mod twisted;

/// Native parts of ropewalk's Twisted reactors.
#[pymodule(gil_used = true)]
fn _ropewalk(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<core::Core>()?;
    module.add_class::<delayed_call::DelayedCall>()?;
    module.add_class::<stream::Stream>()?;
    module.add_function(wrap_pyfunction!(accept::accept_connections, module)?)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))
}
