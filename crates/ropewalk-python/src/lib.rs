//! The extension module `ropewalk._ropewalk`: the engine under Twisted's objects.
//!
//! Native base classes that Python classes in `python/ropewalk` mix with Twisted's own. It knows
//! the engine's public API and pyo3, and leaves behaviour that runs rarely to Twisted's Python.

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;

mod accept;
mod accepted;
mod adapters;
mod attached;
mod chunk;
mod core;
mod datagram;
mod datagram_addresses;
mod datagram_attributes;
mod datagram_batch;
mod datagram_io;
mod datagram_send;
mod delayed_call;
mod host;
mod hosting;
mod kqueue;
mod log_contexts;
mod member;
mod membership;
mod outgoing;
mod pollers;
mod process;
mod process_pipe;
mod process_pipe_io;
mod process_spawn;
mod rustls;
mod sources;
mod stream;
mod stream_addresses;
mod stream_attributes;
mod stream_descriptors;
mod stream_half_close;
mod stream_options;
mod stream_read;
mod stream_socket;
mod stream_write;
mod tls;
mod turn;
mod twisted;
mod white_box;

/// Native parts of ropewalk's Twisted reactors.
#[pymodule(gil_used = true)]
fn _ropewalk(module: &Bound<'_, PyModule>) -> PyResult<()> {
    refuse_without_lock(module.py())?;
    module.add_class::<core::Core>()?;
    module.add_class::<datagram::Datagram>()?;
    module.add_class::<delayed_call::DelayedCall>()?;
    module.add_class::<process::ChildProcess>()?;
    module.add_class::<process_pipe::Pipe>()?;
    module.add_class::<stream::Stream>()?;
    module.add_class::<tls::Records>()?;
    rustls::register(module)?;
    module.add_function(wrap_pyfunction!(accept::accept_connections, module)?)?;
    module.add_function(wrap_pyfunction!(tls::move_tls_records, module)?)?;
    module.add_function(wrap_pyfunction!(pollers::available_pollers, module)?)?;
    module.add_function(wrap_pyfunction!(pollers::choose_poller, module)?)?;
    module.add_function(wrap_pyfunction!(process_spawn::can_watch_children, module)?)?;
    module.add_function(wrap_pyfunction!(process_spawn::spawn_child, module)?)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))
}

/// A free-threaded interpreter takes its lock back when it loads this module, unless it was told
/// not to; what the module relies on is then not there (see [`attached`]).
fn refuse_without_lock(py: Python<'_>) -> PyResult<()> {
    let sys = py.import("sys")?;
    let Ok(is_enabled) = sys.getattr("_is_gil_enabled") else {
        return Ok(());
    };
    if is_enabled.call0()?.is_truthy()? {
        return Ok(());
    }
    Err(PyImportError::new_err(
        "ropewalk needs the interpreter's lock: run without PYTHON_GIL=0 and -X gil=0",
    ))
}
