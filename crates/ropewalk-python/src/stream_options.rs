//! What servers ask of every connection they accept, without a Python socket being made for it.
//!
//! What is not plain (a socket that somebody has, a UNIX stream, a failure, an odd argument) goes
//! through Twisted's methods, which know every error.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt, PyString};
use ropewalk::os::socket;

use crate::member::inherited;
use crate::stream::Stream;
use crate::stream_addresses::address_of;

#[pymethods]
impl Stream {
    /// `ITCPTransport.getTcpNoDelay`.
    #[pyo3(name = "getTcpNoDelay")]
    fn tcp_no_delay<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        option(slf, intern!(slf.py(), "getTcpNoDelay"), socket::nodelay)
    }

    /// `ITCPTransport.setTcpNoDelay`.
    #[pyo3(name = "setTcpNoDelay")]
    fn set_tcp_no_delay<'py>(
        slf: &Bound<'py, Self>,
        enabled: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let name = intern!(slf.py(), "setTcpNoDelay");
        set_option(slf, name, enabled, socket::set_nodelay)
    }

    /// `ITCPTransport.getTcpKeepAlive`.
    #[pyo3(name = "getTcpKeepAlive")]
    fn tcp_keep_alive<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        option(slf, intern!(slf.py(), "getTcpKeepAlive"), socket::keepalive)
    }

    /// `ITCPTransport.setTcpKeepAlive`.
    #[pyo3(name = "setTcpKeepAlive")]
    fn set_tcp_keep_alive<'py>(
        slf: &Bound<'py, Self>,
        enabled: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let name = intern!(slf.py(), "setTcpKeepAlive");
        set_option(slf, name, enabled, socket::set_keepalive)
    }

    /// `ITransport.getHost`.
    #[pyo3(name = "getHost")]
    fn host<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        if let Some(Ok(address)) = with_own(slf, socket::local_addr) {
            if let Some(address) = address_of(slf.as_any(), address)? {
                return Ok(address);
            }
        }
        inherited(slf, intern!(py, "getHost"), ())
    }
}

/// Asks the system about the descriptor, if it is a TCP stream's and nobody has the socket.
fn with_own<R>(
    slf: &Bound<'_, Stream>,
    ask: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>,
) -> Option<io::Result<R>> {
    let state = slf.get().state(slf.py());
    if state.flags.unix.get() {
        return None;
    }
    state.descriptor.with_own(|fd| ask(fd.as_fd()))
}

fn option<'py>(
    slf: &Bound<'py, Stream>,
    name: &Bound<'py, PyString>,
    get: fn(BorrowedFd<'_>) -> io::Result<bool>,
) -> PyResult<Bound<'py, PyAny>> {
    match with_own(slf, get) {
        Some(Ok(enabled)) => Ok(PyBool::new(slf.py(), enabled).to_owned().into_any()),
        _ => inherited(slf, name, ()),
    }
}

fn set_option<'py>(
    slf: &Bound<'py, Stream>,
    name: &Bound<'py, PyString>,
    enabled: &Bound<'py, PyAny>,
    set: fn(BorrowedFd<'_>, bool) -> io::Result<()>,
) -> PyResult<Bound<'py, PyAny>> {
    let is_plain = enabled.is_exact_instance_of::<PyBool>()
        || (enabled.is_exact_instance_of::<PyInt>() && enabled.extract::<i32>().is_ok());
    if is_plain {
        let on = enabled.is_truthy()?;
        if let Some(Ok(())) = with_own(slf, |fd| set(fd, on)) {
            return Ok(slf.py().None().into_bound(slf.py()));
        }
    }
    inherited(slf, name, (enabled,))
}
