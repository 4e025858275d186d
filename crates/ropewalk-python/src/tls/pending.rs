//! Plaintext that waits to be encrypted.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::chunk::Chunk;

/// Writes that are to share records: the only one by reference, several copied together.
#[derive(Default)]
pub(super) enum Pending {
    #[default]
    Nothing,
    One(Chunk),
    Several(Vec<u8>),
}

/// How much room the second of several small writes makes, in bytes.
const ROOM: usize = 1024;

impl Pending {
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Nothing => &[],
            Self::One(chunk) => chunk.as_ref(),
            Self::Several(bytes) => bytes,
        }
    }

    pub(super) fn push(&mut self, data: &Bound<'_, PyBytes>) {
        match self {
            Self::Nothing => *self = Self::One(Chunk::new(data)),
            Self::One(first) => {
                let (first, second) = (first.as_ref(), data.as_bytes());
                let mut bytes = Vec::with_capacity((first.len() + second.len()).max(ROOM));
                bytes.extend_from_slice(first);
                bytes.extend_from_slice(second);
                *self = Self::Several(bytes);
            }
            Self::Several(bytes) => bytes.extend_from_slice(data.as_bytes()),
        }
    }
}
