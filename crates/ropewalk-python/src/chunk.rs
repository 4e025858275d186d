//! A Python `bytes` object as a chunk of a write queue.

use std::slice;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Bytes that Python owns, readable without the interpreter.
pub(crate) struct Chunk {
    /// Keeps `start` alive. Dropped by an attached thread, as all of a stream is.
    _owner: Py<PyBytes>,
    start: *const u8,
    length: usize,
}

impl Chunk {
    pub(crate) fn new(bytes: &Bound<'_, PyBytes>) -> Self {
        let content = bytes.as_bytes();
        Self {
            _owner: bytes.clone().unbind(),
            start: content.as_ptr(),
            length: content.len(),
        }
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: a `bytes` object never changes or moves its content, and `_owner` keeps it alive
        // as long as `self`.
        unsafe { slice::from_raw_parts(self.start, self.length) }
    }
}
