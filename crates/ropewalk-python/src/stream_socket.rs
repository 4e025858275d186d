//! The descriptor of a native stream and its Python socket, which is made for whoever asks for it.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd, RawFd};

use pyo3::intern;
use pyo3::prelude::*;
use ropewalk::os::socket;

use crate::member::missing;
use crate::stream::Stream;
use crate::twisted;

const NO_DESCRIPTOR: RawFd = -1;

/// The descriptor and who owns it: this object, until somebody asks for the Python socket.
pub(crate) struct Descriptor {
    number: Cell<RawFd>,
    owned: RefCell<Option<OwnedFd>>,
    pub(crate) socket: RefCell<Option<Py<PyAny>>>,
}

impl Default for Descriptor {
    fn default() -> Self {
        Self {
            number: Cell::new(NO_DESCRIPTOR),
            owned: RefCell::default(),
            socket: RefCell::default(),
        }
    }
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

    /// Calls `f` with the descriptor, if nobody has the Python socket.
    pub(crate) fn with_own<R>(&self, f: impl FnOnce(&OwnedFd) -> R) -> Option<R> {
        self.owned.borrow().as_ref().map(f)
    }

    pub(crate) fn exists(&self) -> bool {
        self.socket.borrow().is_some() || self.owned.borrow().is_some()
    }
}

impl Stream {
    /// A stream that owns `fd` itself, for a connection just accepted.
    pub(crate) fn adopt(&self, py: Python<'_>, fd: OwnedFd) {
        let descriptor = &self.state(py).descriptor;
        descriptor.number.set(fd.as_raw_fd());
        let old = descriptor.owned.replace(Some(fd));
        drop(old);
    }

    /// Closes the descriptor: through the Python socket if there is one, else right here.
    pub(crate) fn close_socket(slf: &Bound<'_, Self>, orderly: bool) -> PyResult<()> {
        let py = slf.py();
        let descriptor = &slf.get().state(py).descriptor;
        if descriptor.socket.borrow().is_some() {
            slf.call_method1(intern!(py, "_closeSocket"), (orderly,))?;
            let socket = descriptor.socket.take();
            drop(socket);
        } else if let Some(owned) = descriptor.owned.take() {
            close(owned, orderly);
        }
        descriptor.number.set(NO_DESCRIPTOR);
        Ok(())
    }
}

#[pymethods]
impl Stream {
    /// The Python socket on this stream's descriptor.
    #[getter]
    fn socket<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let descriptor = &slf.get().state(py).descriptor;
        if let Some(socket) = descriptor.socket.borrow().as_ref() {
            return Ok(socket.bind(py).clone());
        }
        let Some(number) = descriptor.owned.borrow().as_ref().map(AsRawFd::as_raw_fd) else {
            return Err(missing(slf.as_any(), "socket"));
        };
        let socket = twisted::socket_from_descriptor(py, number)?;
        // From here on the socket owns the descriptor.
        if let Some(owned) = descriptor.owned.take() {
            let _: RawFd = owned.into_raw_fd();
        }
        *descriptor.socket.borrow_mut() = Some(socket.clone().unbind());
        Ok(socket)
    }

    #[setter(socket)]
    fn set_socket(&self, py: Python<'_>, socket: &Bound<'_, PyAny>) -> PyResult<()> {
        let descriptor = &self.state(py).descriptor;
        descriptor
            .number
            .set(socket.call_method0(intern!(py, "fileno"))?.extract()?);
        let old = descriptor.socket.replace(Some(socket.clone().unbind()));
        drop(old);
        Ok(())
    }

    #[deleter(socket)]
    fn del_socket(slf: &Bound<'_, Self>) -> PyResult<()> {
        let descriptor = &slf.get().state(slf.py()).descriptor;
        if !descriptor.exists() {
            return Err(missing(slf.as_any(), "socket"));
        }
        let old = (descriptor.socket.take(), descriptor.owned.take());
        descriptor.number.set(NO_DESCRIPTOR);
        drop(old);
        Ok(())
    }

    /// The descriptor's number, or -1 when there is none any more.
    fn fileno(&self, py: Python<'_>) -> PyResult<RawFd> {
        self.state(py).descriptor.current(py)
    }
}

/// Closes a socket nobody asked the Python object of: politely, or with a reset.
fn close(owned: OwnedFd, orderly: bool) {
    // A socket that is gone already needs neither.
    let _: io::Result<()> = if orderly {
        socket::shutdown_both(owned.as_fd())
    } else {
        socket::set_linger_zero(owned.as_fd())
    };
    drop(owned);
}
