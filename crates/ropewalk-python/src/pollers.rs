//! The pollers of this system, and the choice of one.

use std::io;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use ropewalk::os::PollerKind;

/// The names of the pollers of this platform, the best first.
#[pyfunction]
pub(crate) fn available_pollers() -> Vec<&'static str> {
    let kinds = PollerKind::available().iter();
    kinds.map(|kind| kind.name()).collect()
}

/// The name of the poller to use where the program does not say: `$ROPEWALK_POLLER`, or the best
/// one that the system grants.
#[pyfunction]
pub(crate) fn choose_poller() -> PyResult<&'static str> {
    match PollerKind::choose() {
        Ok(kind) => Ok(kind.name()),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            Err(PyValueError::new_err(error.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}
