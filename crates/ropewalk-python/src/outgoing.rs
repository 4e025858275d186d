//! What a native stream or pipe has still to send: a queue of `bytes`, and how it empties.

use std::cell::RefCell;
use std::io::{self, IoSlice};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use ropewalk::proto::{Flow, WriteQueue};

use crate::chunk::Chunk;

/// The most one turn sends from one transport, in bytes: Twisted's `SEND_LIMIT`.
pub(crate) const SEND_LIMIT: usize = 128 * 1024;

/// How many chunks one system call gathers.
const GATHER: usize = 16;

/// Unsent bytes. No borrow is left while code of Python's runs.
///
/// The queue's own flow control is not asked: Twisted's rule counts `bufferSize`.
#[derive(Default)]
pub(crate) struct Outgoing(RefCell<WriteQueue<Chunk>>);

impl Outgoing {
    pub(crate) fn push(&self, data: &Bound<'_, PyBytes>) {
        let _: Flow = self.0.borrow_mut().push(Chunk::new(data));
    }

    pub(crate) fn push_copy(&self, data: &[u8]) {
        let _: Flow = self.0.borrow_mut().push_copy(data);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// How much is unsent, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// What is unsent, chunk by chunk.
    pub(crate) fn chunks<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let queue = self.0.borrow();
        let slices = queue.slices().map(|slice| PyBytes::new(py, slice));
        let chunks: Vec<_> = slices.collect();
        drop(queue);
        PyList::new(py, chunks)
    }

    /// The beginning of what is unsent, no longer than [`SEND_LIMIT`].
    pub(crate) fn front<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let queue = self.0.borrow();
        let length = queue.len().min(SEND_LIMIT);
        PyBytes::new_with(py, length, |mut room| {
            for slice in queue.slices() {
                let count = slice.len().min(room.len());
                let (place, rest) = room.split_at_mut(count);
                place.copy_from_slice(&slice[..count]);
                room = rest;
            }
            Ok(())
        })
    }

    /// Has `send` take from the front, up to [`SEND_LIMIT`]; it answers how many bytes it took.
    pub(crate) fn offer(
        &self,
        send: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<()> {
        let queue = self.0.borrow();
        let mut slices = [IoSlice::new(&[]); GATHER];
        let filled = queue.fill_slices(&mut slices, SEND_LIMIT);
        let count = send(&slices[..filled])?;
        drop(queue);
        self.forget(count);
        Ok(())
    }

    /// Drops `count` bytes from the front: they are sent.
    pub(crate) fn forget(&self, count: usize) {
        let mut queue = self.0.borrow_mut();
        let mut released = Released::default();
        queue.advance(count, &mut |chunk| released.keep(chunk));
        drop(queue);
        drop(released);
    }

    pub(crate) fn clear(&self) {
        let unsent = self.0.replace(WriteQueue::new());
        drop(unsent);
    }
}

/// Chunks that are sent, to be dropped when no queue is borrowed: a subclass of `bytes` may run code
/// when it goes. The usual single one needs no allocation.
#[derive(Default)]
pub(crate) struct Released {
    first: Option<Chunk>,
    more: Vec<Chunk>,
}

impl Released {
    pub(crate) fn keep(&mut self, chunk: Chunk) {
        match self.first {
            None => self.first = Some(chunk),
            Some(_) => self.more.push(chunk),
        }
    }
}

/// What was given to `write`, or the error of Twisted's transports for anything but `bytes`.
pub(crate) fn bytes_only<'a, 'py>(
    data: &'a Bound<'py, PyAny>,
) -> PyResult<&'a Bound<'py, PyBytes>> {
    data.cast::<PyBytes>()
        .map_err(|_| PyTypeError::new_err("Data must be bytes"))
}

/// What was given to `writeSequence`: every element, or the error of the first that is no `bytes`.
pub(crate) fn all_bytes<'py>(iovec: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    let elements = iovec.try_iter()?.collect::<PyResult<Vec<_>>>()?;
    let bytes = elements.iter().map(|element| bytes_only(element).cloned());
    bytes.collect()
}

/// The attributes by which Twisted's transports show what is unsent.
macro_rules! unsent_attributes {
    ($class:ty) => {
        #[pymethods]
        impl $class {
            /// Twisted's send-immediately buffer: empty here, for all that is unsent is in one
            /// queue.
            #[getter(dataBuffer)]
            fn data_buffer<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
                PyBytes::new(py, b"")
            }

            /// How much of `dataBuffer` is sent.
            #[getter]
            fn offset(&self) -> usize {
                0
            }

            /// What is unsent, chunk by chunk.
            #[getter(_tempDataBuffer)]
            fn unsent<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
                self.state(py).queue.chunks(py)
            }

            /// How much is unsent, in bytes.
            #[getter(_tempDataLen)]
            fn unsent_length(&self, py: Python<'_>) -> usize {
                self.state(py).queue.len()
            }
        }
    };
}

unsent_attributes!(crate::stream::Stream);
unsent_attributes!(crate::process_pipe::Pipe);
