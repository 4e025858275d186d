//! What UNIX streams do beside TCP's: descriptors come and go with data.
//!
//! Reading and writing stay as they are; a descriptor on its way is rare, and Twisted's own
//! methods, or `ropewalk.unix`, look after it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyList;
use ropewalk::os::socket;

use crate::member::Outcome;
use crate::stream::{State, Stream};

impl Stream {
    /// Reads once; on a UNIX stream, descriptors too.
    pub(crate) fn receive(
        state: &State,
        fd: BorrowedFd<'_>,
        buffer: &mut [u8],
        descriptors: &mut Vec<OwnedFd>,
    ) -> io::Result<usize> {
        if !state.flags.unix.get() {
            return socket::recv(fd, buffer);
        }
        // What the system had no number for is lost, as it is with Twisted's recvmsg.
        socket::unix::receive_with_descriptors(fd, buffer, descriptors)
            .map(|received| received.length)
    }

    /// Hands received descriptors to Python, which owns them from here on.
    pub(crate) fn hand_over(slf: &Bound<'_, Self>, descriptors: Vec<OwnedFd>) -> PyResult<()> {
        let py = slf.py();
        let numbers = PyList::new(py, descriptors.iter().map(AsRawFd::as_raw_fd))?;
        for descriptor in descriptors {
            let _: RawFd = descriptor.into_raw_fd();
        }
        slf.call_method1(intern!(py, "_descriptorsReceived"), (numbers,))
            .map(drop)
    }

    /// Sends the descriptors that wait, one byte of what is queued with each, and then data, as
    /// `writeSomeData` of Twisted's `_SendmsgMixin` does. Answers what it says to be wrong.
    pub(crate) fn pass_descriptors<'py>(slf: &Bound<'py, Self>, state: &State) -> Outcome<'py> {
        let py = slf.py();
        let data = state.queue.front(py)?;
        let returned = slf.call_method1(intern!(py, "writeSomeData"), (&data,))?;
        let Ok(count) = returned.extract::<usize>() else {
            return Ok(Some(returned));
        };
        state.queue.forget(count.min(data.as_bytes().len()));
        if slf.getattr(intern!(py, "_sendmsgQueue"))?.is_empty()? {
            state.flags.passes_descriptors.set(false);
        }
        Ok(None)
    }
}

#[pymethods]
impl Stream {
    /// Whether streams of this class are UNIX ones.
    #[classattr]
    #[pyo3(name = "_isUNIX")]
    fn is_unix() -> bool {
        false
    }

    /// Whether descriptors wait to be sent.
    #[getter(_passesDescriptors)]
    fn passes_descriptors(&self, py: Python<'_>) -> bool {
        self.state(py).flags.passes_descriptors.get()
    }

    #[setter(_passesDescriptors)]
    fn set_passes_descriptors(&self, py: Python<'_>, passes: bool) {
        self.state(py).flags.passes_descriptors.set(passes);
    }
}
