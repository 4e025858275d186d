//! The attributes of a native datagram port that Twisted's classes and users expect to find.

use std::cell::RefCell;

use pyo3::prelude::*;
use pyo3::types::PyType;
use pyo3::{PyTraverseError, PyVisit, intern};

use crate::datagram::{Datagram, Family};
use crate::member::{Member, missing};

/// An attribute of the instance, or its absence.
#[derive(Default)]
pub(crate) struct Slot(RefCell<Option<Py<PyAny>>>);

impl Slot {
    pub(crate) fn value(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.0.borrow().as_ref().map(|value| value.clone_ref(py))
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.borrow().is_some()
    }

    fn set(&self, value: Py<PyAny>) {
        // Dropped when nothing is borrowed: a destructor may run anything.
        let old = self.0.replace(Some(value));
        drop(old);
    }

    /// Forgets the value; whether there was one.
    pub(crate) fn clear(&self) -> bool {
        let old = self.0.take();
        old.is_some()
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.0.try_borrow() {
            Ok(value) => visit.call(value.as_ref()),
            Err(_) => Ok(()),
        }
    }

    /// The value, or the `AttributeError` of an instance that has none.
    fn read(&self, slf: &Bound<'_, Datagram>, name: &str) -> PyResult<Py<PyAny>> {
        self.value(slf.py())
            .ok_or_else(|| missing(slf.as_any(), name))
    }

    fn delete(&self, slf: &Bound<'_, Datagram>, name: &str) -> PyResult<()> {
        if self.clear() {
            return Ok(());
        }
        Err(missing(slf.as_any(), name))
    }
}

#[pymethods]
impl Datagram {
    /// The Python socket.
    #[getter]
    fn socket(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        slf.get().state(slf.py()).socket.read(slf, "socket")
    }

    #[setter(socket)]
    fn set_socket(slf: &Bound<'_, Self>, socket: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        Self::core(slf)?;
        let state = slf.get().state(py);
        let real = py.import(intern!(py, "socket"))?.getattr("socket")?;
        let real = socket.get_type().is(real.cast::<PyType>()?);
        state.flags.real_socket.set(real);
        state.family.set(if real {
            family(slf, socket)?
        } else {
            Family::Other
        });
        // What waits came through another socket.
        let waiting = state.waiting.take();
        drop(waiting);
        state.socket.set(socket.clone().unbind());
        Ok(())
    }

    #[deleter(socket)]
    fn del_socket(slf: &Bound<'_, Self>) -> PyResult<()> {
        let state = slf.get().state(slf.py());
        state.flags.real_socket.set(false);
        let waiting = state.waiting.take();
        drop(waiting);
        state.socket.delete(slf, "socket")
    }

    /// The number of the descriptor; assigned by Twisted's class while there is a socket.
    #[getter]
    fn fileno<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        match slf.get().state(py).number.value(py) {
            Some(number) => Ok(number.into_bound(py)),
            None => slf.getattr(intern!(py, "_noFileno")),
        }
    }

    #[setter(fileno)]
    fn set_fileno(&self, py: Python<'_>, number: Py<PyAny>) {
        self.state(py).number.set(number);
    }

    #[deleter(fileno)]
    fn del_fileno(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().state(slf.py()).number.delete(slf, "fileno")
    }

    /// `fileno()` of a port without a socket.
    #[pyo3(name = "_noFileno")]
    fn no_fileno(&self) -> i32 {
        -1
    }

    #[getter]
    fn protocol(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        slf.get().state(slf.py()).protocol.read(slf, "protocol")
    }

    #[setter(protocol)]
    fn set_protocol(&self, py: Python<'_>, protocol: Py<PyAny>) {
        self.state(py).protocol.set(protocol);
    }

    #[deleter(protocol)]
    fn del_protocol(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().state(slf.py()).protocol.delete(slf, "protocol")
    }

    /// The peer of a connected port: host and port, or nothing.
    #[getter(_connectedAddr)]
    fn connected_address(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let state = slf.get().state(slf.py());
        state.connected_address.read(slf, "_connectedAddr")
    }

    #[setter(_connectedAddr)]
    fn set_connected_address(&self, py: Python<'_>, address: &Bound<'_, PyAny>) -> PyResult<()> {
        let state = self.state(py);
        state.flags.connected.set(address.is_truthy()?);
        state.connected_address.set(address.clone().unbind());
        Ok(())
    }

    /// The prefix of log lines, as text.
    #[getter]
    fn logstr(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        slf.get().state(slf.py()).logstr.read(slf, "logstr")
    }

    #[setter(logstr)]
    fn set_logstr(&self, py: Python<'_>, logstr: Py<PyAny>) {
        self.state(py).logstr.set(logstr);
    }

    /// The prefix of log lines while this port's callbacks run.
    #[pyo3(name = "logPrefix")]
    fn log_prefix(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::logstr(slf)
    }

    /// How much of a datagram is taken, in bytes; what is beyond is cut off.
    #[getter(maxPacketSize)]
    fn max_packet_size(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let state = slf.get().state(slf.py());
        state.max_packet_size.read(slf, "maxPacketSize")
    }

    #[setter(maxPacketSize)]
    fn set_max_packet_size(&self, py: Python<'_>, size: &Bound<'_, PyAny>) {
        let state = self.state(py);
        state.packet_limit.set(size.extract().ok());
        state.max_packet_size.set(size.clone().unbind());
    }

    #[getter(doRead)]
    fn get_do_read<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        match slf.get().state(py).do_read.value(py) {
            Some(assigned) => Ok(assigned.into_bound(py)),
            None => slf.getattr(intern!(py, "_doRead")),
        }
    }

    #[setter(doRead)]
    fn set_do_read(&self, py: Python<'_>, method: Py<PyAny>) {
        self.state(py).do_read.set(method);
    }

    #[deleter(doRead)]
    fn del_do_read(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().state(slf.py()).do_read.delete(slf, "doRead")
    }
}

/// The socket's family, if it is the one that the port says it has.
fn family(slf: &Bound<'_, Datagram>, socket: &Bound<'_, PyAny>) -> PyResult<Family> {
    let py = slf.py();
    let constants = py.import(intern!(py, "socket"))?;
    let family = socket.getattr(intern!(py, "family"))?;
    if !family.eq(slf.getattr(intern!(py, "addressFamily"))?)? {
        return Ok(Family::Other);
    }
    if family.eq(constants.getattr(intern!(py, "AF_INET"))?)? {
        return Ok(Family::V4);
    }
    if family.eq(constants.getattr(intern!(py, "AF_INET6"))?)? {
        return Ok(Family::V6);
    }
    if family.eq(constants.getattr(intern!(py, "AF_UNIX"))?)? {
        return Ok(Family::Unix);
    }
    Ok(Family::Other)
}
