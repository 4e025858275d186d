//! Logging contexts of busy streams, kept for their next event.

use std::cell::RefCell;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use crate::twisted;

/// A small cache of the dictionaries that `log.callWithLogger` would make for every event.
///
/// They cost nearly half a kilobyte each, so they are not kept with every idle connection: a
/// stream's place here is that of its slot, and a busier one may take it. The entries hold a
/// string and plain dictionaries, which make no cycles, so the collector need not know of them.
#[derive(Default)]
pub(crate) struct LogContexts(RefCell<Vec<Option<Entry>>>);

struct Entry {
    prefix: Py<PyAny>,
    context: Py<PyDict>,
}

const PLACES: usize = 1024;

impl LogContexts {
    /// The context that says `prefix`, for the source in `slot`.
    /// Nothing but the default is `below`, or it would not fit the next time.
    pub(crate) fn get(
        &self,
        slot: u32,
        prefix: &Bound<'_, PyAny>,
        below: &Bound<'_, PyList>,
    ) -> PyResult<Py<PyDict>> {
        let py = prefix.py();
        let place = slot as usize % PLACES;
        if let Some(Some(entry)) = self.0.borrow().get(place) {
            if entry.prefix.is(prefix) || is_same_text(entry.prefix.bind(py), prefix) {
                return Ok(entry.context.clone_ref(py));
            }
        }
        let context = twisted::log_context(below, prefix)?.unbind();
        let entry = Entry {
            prefix: prefix.clone().unbind(),
            context: context.clone_ref(py),
        };
        let mut places = self.0.borrow_mut();
        if places.is_empty() {
            places.resize_with(PLACES, || None);
        }
        let old = places[place].replace(entry);
        drop(places);
        drop(old);
        Ok(context)
    }
}

/// Whether both say the same. A foreign descriptor may make its prefix anew for each event.
fn is_same_text(known: &Bound<'_, PyAny>, prefix: &Bound<'_, PyAny>) -> bool {
    let texts = (
        known.cast_exact::<PyString>(),
        prefix.cast_exact::<PyString>(),
    );
    match texts {
        (Ok(known), Ok(prefix)) => known.as_any().eq(prefix).unwrap_or(false),
        _ => false,
    }
}
