//! What programs see of the poller through Twisted's private attributes, and put in its place.
//!
//! Such a program measures the wait: it replaces `reactor._poller` by an object that passes the call
//! on. A turn then goes through the reactor's `_pollThrough`, which makes the steps of
//! [`Core::poll`] one by one with the program's object between them.

use std::cell::{Cell, RefCell};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};
use pyo3::{PyTraverseError, PyVisit, intern};
use ropewalk::os::Readiness;

use crate::core::Core;
use crate::host::PyHost;
use crate::kqueue::Queues;
use crate::turn::duration;

/// What a program put in the place of the poller of one core.
#[derive(Default)]
pub(crate) struct WhiteBox {
    /// Whether the program's object waits.
    replaced: Cell<bool>,
    /// A place outside of the reactor where it may be put.
    place: RefCell<Option<Place>>,
    /// The kernel queues, where Python makes them.
    queues: Option<Arc<Queues>>,
}

/// A global variable: the wait is replaced while it has another value than the original one.
struct Place {
    namespace: Py<PyDict>,
    name: Py<PyString>,
    original: Py<PyAny>,
}

/// One watched descriptor: its number, its object, whether that reads and writes, and whether it is
/// always ready because the poller refused it.
type Watched<'py> = (i32, Bound<'py, PyAny>, bool, bool, bool);

impl WhiteBox {
    pub(crate) fn with_queues(queues: Arc<Queues>) -> Self {
        Self {
            queues: Some(queues),
            ..Self::default()
        }
    }

    pub(crate) fn is_replaced(&self, py: Python<'_>) -> PyResult<bool> {
        if self.replaced.get() {
            return Ok(true);
        }
        match &*self.place.borrow() {
            None => Ok(false),
            Some(place) => {
                let found = place.namespace.bind(py).get_item(&place.name)?;
                Ok(found.is_some_and(|found| !found.is(&place.original)))
            }
        }
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(queues) = &self.queues {
            visit.call(queues.implementation())?;
            // SAFETY: called by `__traverse__` alone.
            let current = unsafe { queues.current().get_in_traverse() };
            if let Ok(queue) = current.try_borrow() {
                visit.call(queue.as_ref())?;
            }
        }
        Ok(())
    }

    /// The references that the collector may take, for the caller to drop.
    pub(crate) fn clear(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let queues = self.queues.as_ref()?;
        queues.current().get(py).take()
    }
}

impl Core {
    /// One turn's wait and dispatch by the reactor, which asks the program's object.
    pub(crate) fn poll_through_reactor(
        slf: &Bound<'_, Self>,
        timeout: Option<Duration>,
    ) -> PyResult<()> {
        let py = slf.py();
        let timeout = timeout.map(|timeout| timeout.as_secs_f64());
        let reactor = slf.get().reactor(py)?;
        reactor
            .call_method1(intern!(py, "_pollThrough"), (timeout,))
            .map(drop)
    }
}

#[pymethods]
impl Core {
    /// Has each turn wait through the reactor's `_pollThrough`, or natively again.
    fn wait_through_reactor(&self, py: Python<'_>, through: bool) {
        self.state(py).white_box.replaced.set(through);
    }

    /// Has each turn wait through the reactor's `_pollThrough` while the variable `name` of
    /// `namespace` is not what it is now.
    fn wait_through_reactor_unless_original(
        &self,
        namespace: &Bound<'_, PyDict>,
        name: &Bound<'_, PyString>,
        original: &Bound<'_, PyAny>,
    ) {
        let place = Place {
            namespace: namespace.clone().unbind(),
            name: name.clone().unbind(),
            original: original.clone().unbind(),
        };
        let white_box = &self.state(namespace.py()).white_box;
        let old = white_box.place.replace(Some(place));
        drop(old);
    }

    /// What a turn does before it waits. Answers for how long it may wait, in seconds, if the wish is
    /// `timeout` (None: without limit).
    fn prepare(slf: &Bound<'_, Self>, timeout: Option<f64>) -> PyResult<Option<f64>> {
        let state = slf.get().state(slf.py());
        Self::with_host(slf, |host| state.engine.prepare(host))?;
        let due = state.engine.is_due() || slf.get().has_thread_calls(slf.py());
        Ok(if due { Some(0.0) } else { timeout })
    }

    /// The reactor's own wait, of at most `timeout` seconds (None: without limit): descriptor numbers
    /// and what they are ready for, in the flags of poll(2).
    fn wait(slf: &Bound<'_, Self>, timeout: Option<f64>) -> PyResult<Vec<(i32, u32)>> {
        let state = slf.get().state(slf.py());
        let timeout = timeout.map(duration);
        let reports = Self::with_host(slf, |host| state.engine.wait_for_reports(host, timeout))?;
        let flagged = reports.into_iter();
        Ok(flagged.map(|(fd, what)| (fd, to_flags(what))).collect())
    }

    /// What a turn does after it waited, with `reports` as `wait` answers them.
    fn dispatch(slf: &Bound<'_, Self>, reports: Vec<(i32, u32)>) -> PyResult<()> {
        let state = slf.get().state(slf.py());
        let reports: Vec<_> = reports
            .into_iter()
            .map(|(fd, flags)| (fd, from_flags(flags)))
            .collect();
        Self::with_host(slf, |host| {
            state.engine.dispatch_reports(host, &reports);
            Ok(())
        })
    }

    /// Everything that is watched, the waker included: number, object, whether it reads, whether it
    /// writes, and whether it is always ready because the poller refused it.
    fn watched<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyList>> {
        let py = slf.py();
        let state = slf.get().state(py);
        // The poller's refusals are known once it was asked. Where it could not be asked, which the
        // next turn will tell of, what is known so far is the truth.
        drop(state.engine.apply(&PyHost::new(slf.clone().unbind())));
        let mut sources = Vec::new();
        state
            .engine
            .for_each_source(|token, source| sources.push((token, source.clone())));
        let mut watched: Vec<Watched<'py>> = Vec::with_capacity(sources.len() + 1);
        for (token, source) in &sources {
            let (reading, writing) = (source.is_reading(py), source.is_writing(py));
            let number = state.engine.with_fd(*token, |fd| fd.as_raw_fd());
            if let (Some(number), true) = (number, reading || writing) {
                let refused = state.engine.is_unpollable(*token);
                watched.push((number, source.object(py), reading, writing, refused));
            }
        }
        if let Some(waker) = state.waker_reader.borrow().as_ref() {
            let number = state.engine.waker().read_fd().as_raw_fd();
            watched.push((number, waker.bind(py).clone(), true, false, false));
        }
        PyList::new(py, watched)
    }

    /// How many descriptors there are at most in an answer of `wait`; never 0.
    fn watched_count(&self, py: Python<'_>) -> usize {
        self.state(py).engine.len() + 1
    }

    /// The number of the poller's own descriptor, or None where it has none.
    fn poller_descriptor(&self, py: Python<'_>) -> PyResult<Option<i32>> {
        Ok(self.state(py).engine.poller_number()?)
    }

    /// The kernel queue in use, where Python makes it.
    #[getter(kqueue)]
    fn kqueue<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let queues = self.state(py).white_box.queues.as_ref()?;
        let current = queues.current().get(py).borrow();
        current.as_ref().map(|queue| queue.bind(py).clone())
    }

    /// Puts an object with `control` in the place of the kernel queue in use, or None.
    #[setter(kqueue)]
    fn set_kqueue(&self, py: Python<'_>, queue: Option<Py<PyAny>>) {
        if let Some(queues) = &self.state(py).white_box.queues {
            queues.set_current(py, queue);
        }
    }

    /// Whether Python makes the kernel queues.
    #[getter]
    fn has_own_kqueue(&self, py: Python<'_>) -> bool {
        self.state(py).white_box.queues.is_some()
    }
}

/// The flags of poll(2), which epoll(7) has as well: the same numbers on all systems.
const FLAGS: [(u32, Readiness); 5] = [
    (0x01, Readiness::READABLE),
    (0x04, Readiness::WRITABLE),
    (0x08, Readiness::ERROR),
    (0x10, Readiness::HANGUP),
    (0x20, Readiness::INVALID),
];

fn to_flags(readiness: Readiness) -> u32 {
    let set = FLAGS
        .iter()
        .filter(|(_, meaning)| readiness.contains(*meaning));
    set.fold(0, |flags, (flag, _)| flags | flag)
}

fn from_flags(flags: u32) -> Readiness {
    let set = FLAGS.iter().filter(|(flag, _)| flags & flag != 0);
    set.fold(Readiness::NONE, |readiness, (_, meaning)| {
        readiness | *meaning
    })
}
