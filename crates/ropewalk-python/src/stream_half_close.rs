//! The end of one direction of a native stream: who is told, if anybody.
//!
//! The rules are those of `twisted.internet.tcp.Connection`, whose methods do the telling where a
//! protocol half-closes; few do.

use std::io;
use std::os::fd::AsFd;

use pyo3::intern;
use pyo3::prelude::*;
use ropewalk::os::socket;

use crate::adapters::half_closeable;
use crate::member::inherited;
use crate::stream::{State, Stream};

#[pymethods]
impl Stream {
    /// The peer sends no more: the end of the connection, unless the protocol half-closes.
    #[pyo3(name = "readConnectionLost")]
    fn read_connection_lost(slf: &Bound<'_, Self>, reason: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        if half_closes(py, slf.get().state(py))? {
            return inherited(slf, intern!(py, "readConnectionLost"), (reason,)).map(drop);
        }
        slf.call_method1(intern!(py, "connectionLost"), (reason,))
            .map(drop)
    }

    /// Sends the end of the stream, and tells a protocol that half-closes.
    #[pyo3(name = "_closeWriteConnection")]
    fn close_write_connection<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let state = slf.get().state(py);
        let shut = state.descriptor.with_own(|fd| {
            // As in Twisted: a socket that is not connected any more needs none.
            let _: io::Result<()> = socket::shutdown_write(fd.as_fd());
        });
        if shut.is_some() && !half_closes(py, state)? {
            return Ok(py.None().into_bound(py));
        }
        // A second shutdown(2) of the same direction does nothing.
        inherited(slf, intern!(py, "_closeWriteConnection"), ())
    }
}

/// Whether the protocol has, or can be adapted to, `IHalfCloseableProtocol`.
fn half_closes(py: Python<'_>, state: &State) -> PyResult<bool> {
    Ok(!half_closeable(&state.protocol(py)?)?.is_none())
}
