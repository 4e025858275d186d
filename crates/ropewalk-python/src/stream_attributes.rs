//! The attributes of a native stream that Twisted's classes and users expect to find.

use pyo3::intern;
use pyo3::prelude::*;

use crate::member::{Member, missing};
use crate::stream::Stream;
use crate::tls::Records;

#[pymethods]
impl Stream {
    #[getter]
    fn protocol<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.state(py).protocol(py)
    }

    #[setter(protocol)]
    fn set_protocol(&self, py: Python<'_>, protocol: Py<PyAny>) {
        let state = self.state(py);
        state.tls.settled.set(false);
        let old = state.protocol.replace(Some(protocol));
        drop(old);
    }

    #[deleter(protocol)]
    fn del_protocol(&self, py: Python<'_>) {
        let old = self.state(py).protocol.take();
        drop(old);
    }

    /// What moves the TLS records of this stream natively, if that is so.
    #[getter(_tlsRecords)]
    fn tls_records(&self, py: Python<'_>) -> Option<Py<Records>> {
        self.state(py).tls.records(py).map(Bound::unbind)
    }

    #[getter]
    fn producer(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.state(py).producer(py)
    }

    #[setter(producer)]
    fn set_producer(&self, py: Python<'_>, producer: Option<Py<PyAny>>) {
        let old = self.state(py).producer.replace(producer);
        drop(old);
    }

    #[getter]
    fn logstr<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        let logstr = self.state(py).logstr.borrow();
        match logstr.as_ref() {
            Some(logstr) => logstr.bind(py).clone(),
            None => intern!(py, "Uninitialized").clone().into_any(),
        }
    }

    #[setter(logstr)]
    fn set_logstr(&self, py: Python<'_>, logstr: Py<PyAny>) {
        let state = self.state(py);
        let old = state.logstr.replace(Some(logstr));
        drop(old);
    }

    /// The prefix of log lines while this stream's callbacks run.
    #[pyo3(name = "logPrefix")]
    pub(crate) fn log_prefix<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.logstr(py)
    }

    #[getter(doRead)]
    fn get_do_read<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let assigned = slf
            .get()
            .state(py)
            .do_read
            .borrow()
            .as_ref()
            .map(|f| f.clone_ref(py));
        assigned.map_or_else(
            || slf.getattr(intern!(py, "_doRead")),
            |f| Ok(f.into_bound(py)),
        )
    }

    #[setter(doRead)]
    fn set_do_read(&self, py: Python<'_>, method: Py<PyAny>) {
        let old = self.state(py).do_read.replace(Some(method));
        drop(old);
    }

    #[deleter(doRead)]
    fn del_do_read(slf: &Bound<'_, Self>) -> PyResult<()> {
        let old = slf.get().state(slf.py()).do_read.take();
        old.map(drop).ok_or_else(|| missing(slf.as_any(), "doRead"))
    }

    #[getter(doWrite)]
    fn get_do_write<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let assigned = slf
            .get()
            .state(py)
            .do_write
            .borrow()
            .as_ref()
            .map(|f| f.clone_ref(py));
        assigned.map_or_else(
            || slf.getattr(intern!(py, "_doWrite")),
            |f| Ok(f.into_bound(py)),
        )
    }

    #[setter(doWrite)]
    fn set_do_write(&self, py: Python<'_>, method: Py<PyAny>) {
        let old = self.state(py).do_write.replace(Some(method));
        drop(old);
    }

    #[deleter(doWrite)]
    fn del_do_write(slf: &Bound<'_, Self>) -> PyResult<()> {
        let old = slf.get().state(slf.py()).do_write.take();
        old.map(drop)
            .ok_or_else(|| missing(slf.as_any(), "doWrite"))
    }

    #[getter(bufferSize)]
    fn buffer_size(&self, py: Python<'_>) -> usize {
        self.state(py).buffer_size.get()
    }

    #[setter(bufferSize)]
    fn set_buffer_size(&self, py: Python<'_>, size: usize) {
        self.state(py).buffer_size.set(size);
    }

    /// Whether input is waited for.
    #[getter(_isReading)]
    fn reads(&self, py: Python<'_>) -> bool {
        self.is_reading(py)
    }
}

/// Attributes that are flags: shown as `bool`, taken as anything with a truth value.
macro_rules! flag {
    ($($get:ident $set:ident $name:literal $field:ident),+ $(,)?) => {
        #[pymethods]
        impl Stream {
            $(
                #[getter($name)]
                fn $get(&self, py: Python<'_>) -> bool {
                    self.state(py).flags.$field.get()
                }

                #[setter($name)]
                fn $set(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<()> {
                    self.state(py).flags.$field.set(value.is_truthy()?);
                    Ok(())
                }
            )+
        }
    };
}

flag! {
    get_connected set_connected "connected" connected,
    get_disconnected set_disconnected "disconnected" disconnected,
    get_disconnecting set_disconnecting "disconnecting" disconnecting,
    get_write_disconnecting set_write_disconnecting "_writeDisconnecting" write_disconnecting,
    get_write_disconnected set_write_disconnected "_writeDisconnected" write_disconnected,
    get_streaming_producer set_streaming_producer "streamingProducer" streaming_producer,
    get_producer_paused set_producer_paused "producerPaused" producer_paused,
    get_tls set_tls "TLS" tls,
}
