//! Kernel queues that Python makes: what `KQueueReactor(_kqueueImpl=…)` is given.

use std::cell::RefCell;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyList;
use ropewalk::engine::PollerMaker;
use ropewalk::os::kqueue::{EventFlags, Filter, KernelEvent, Kqueue, KqueuePoller};

use crate::attached::Attached;

/// Twisted's `_IKQueue`, an object with `kqueue` and `kevent`, and the queue in use.
pub(crate) struct Queues {
    implementation: Py<PyAny>,
    /// What the system numbers its filters.
    read: i64,
    write: i64,
    current: Attached<RefCell<Option<Py<PyAny>>>>,
}

impl Queues {
    pub(crate) fn new(implementation: &Bound<'_, PyAny>) -> PyResult<Self> {
        // As Twisted, whose interface has no names for them.
        let select = implementation.py().import("select")?;
        Ok(Self {
            implementation: implementation.clone().unbind(),
            read: select.getattr("KQ_FILTER_READ")?.extract()?,
            write: select.getattr("KQ_FILTER_WRITE")?.extract()?,
            current: Attached::new(RefCell::new(None)),
        })
    }

    /// Makes pollers, each over a new queue, which becomes the one in use.
    pub(crate) fn maker(queues: &Arc<Self>) -> PollerMaker {
        let queues = Arc::clone(queues);
        Box::new(move || {
            Python::attach(|py| {
                let queue = queues
                    .implementation
                    .call_method0(py, intern!(py, "kqueue"))?;
                queues.set_current(py, Some(queue));
                Ok::<_, PyErr>(())
            })?;
            let queues = Arc::clone(&queues);
            Ok(Box::new(KqueuePoller::new(PyKqueue { queues })))
        })
    }

    pub(crate) fn implementation(&self) -> &Py<PyAny> {
        &self.implementation
    }

    pub(crate) const fn current(&self) -> &Attached<RefCell<Option<Py<PyAny>>>> {
        &self.current
    }

    /// Puts a queue in the place of the one in use, or what counts its calls.
    pub(crate) fn set_current(&self, py: Python<'_>, queue: Option<Py<PyAny>>) {
        let old = self.current.get(py).replace(queue);
        drop(old);
    }

    /// `control` of the queue in use.
    fn control(
        &self,
        py: Python<'_>,
        changes: &[KernelEvent],
        events: &mut [KernelEvent],
        timeout: Option<Duration>,
    ) -> PyResult<usize> {
        let changes = changes.iter().map(|change| self.make_event(py, change));
        let changes = PyList::new(py, changes.collect::<PyResult<Vec<_>>>()?)?;
        let queue = self
            .current
            .get(py)
            .borrow()
            .as_ref()
            .map(|q| q.clone_ref(py));
        let queue = queue.ok_or_else(|| PyRuntimeError::new_err("the kqueue is gone"))?;
        let timeout = timeout.map(|timeout| timeout.as_secs_f64());
        let arguments = (changes, events.len(), timeout);
        let answer = queue.call_method1(py, intern!(py, "control"), arguments)?;
        let mut count = 0;
        for event in answer.bind(py).try_iter()? {
            let Some(event) = self.read_event(&event?)? else {
                continue;
            };
            let Some(place) = events.get_mut(count) else {
                break;
            };
            *place = event;
            count += 1;
        }
        Ok(count)
    }

    fn make_event<'py>(&self, py: Python<'py>, event: &KernelEvent) -> PyResult<Bound<'py, PyAny>> {
        let filter = match event.filter {
            Filter::Read => self.read,
            _ => self.write,
        };
        let (flags, fflags) = (event.flags.bits(), event.fflags);
        let fields = (event.ident, filter, flags, fflags, event.data, event.udata);
        let implementation = self.implementation.bind(py);
        implementation.call_method1(intern!(py, "kevent"), fields)
    }

    /// An event of the filters that the poller uses.
    fn read_event(&self, event: &Bound<'_, PyAny>) -> PyResult<Option<KernelEvent>> {
        let py = event.py();
        let filter: i64 = event.getattr(intern!(py, "filter"))?.extract()?;
        let filter = match filter {
            filter if filter == self.read => Filter::Read,
            filter if filter == self.write => Filter::Write,
            _ => return Ok(None),
        };
        Ok(Some(KernelEvent {
            ident: event.getattr(intern!(py, "ident"))?.extract()?,
            filter,
            flags: EventFlags::from_bits(event.getattr(intern!(py, "flags"))?.extract()?),
            fflags: event.getattr(intern!(py, "fflags"))?.extract()?,
            data: event.getattr(intern!(py, "data"))?.extract()?,
            udata: event.getattr(intern!(py, "udata"))?.extract()?,
        }))
    }
}

/// The queue in use, as the poller asks for it.
struct PyKqueue {
    queues: Arc<Queues>,
}

impl Kqueue for PyKqueue {
    fn kevent(
        &mut self,
        changes: &[KernelEvent],
        events: &mut [KernelEvent],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        // A wait comes from `Host::park`, where the interpreter was let go; `control` lets it go
        // again, if it is the system's.
        Ok(Python::attach(|py| {
            self.queues.control(py, changes, events, timeout)
        })?)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        // One that Python stands in for may have a number that cannot be waited for.
        None
    }
}
