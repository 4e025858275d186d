//! A child process whose end the reactor hears of by itself, and the one wait(2) for it.
//!
//! What a transport makes of that end is Python's: [`ropewalk.process`] stands in front of Twisted's
//! classes.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit, intern};
use ropewalk::os::process::{Child, Watch};
use ropewalk::os::{Interest, SourceFd, Token};

use crate::attached::Attached;
use crate::core::Core;
use crate::datagram_io::os_error;
use crate::sources::Source;

/// The native part of a process transport.
#[pyclass(frozen, module = "ropewalk._ropewalk")]
pub(crate) struct ChildProcess {
    state: Attached<State>,
}

struct State {
    pid: i32,
    /// The child, until it was waited for: what tells of its end is closed with it.
    child: RefCell<Option<Child>>,
    /// The reactor that watches for the end.
    core: RefCell<Option<Py<Core>>>,
    /// Where in its engine; only while it watches.
    token: Cell<Option<Token>>,
    /// The transport that is told.
    transport: RefCell<Option<Py<PyAny>>>,
}

/// What is answered for a child that is gone and of which nobody can tell how it ended.
const UNKNOWN: i32 = -1;

impl ChildProcess {
    pub(crate) fn new(child: Child) -> Self {
        Self {
            state: Attached::new(State {
                pid: child.id(),
                child: RefCell::new(Some(child)),
                core: RefCell::default(),
                token: Cell::new(None),
                transport: RefCell::default(),
            }),
        }
    }

    /// The end may have come: waits for the child and tells its transport, which is the last that
    /// this one does.
    pub(crate) fn notice(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        // Kept, for the end of the watch lets go of it.
        let transport = slf.get().transport(py);
        let Some(status) = slf.get().try_wait(py)? else {
            return Ok(());
        };
        match transport {
            Some(transport) => transport
                .call_method1(py, intern!(py, "_childEnded"), (status,))
                .map(drop),
            None => Ok(()),
        }
    }

    /// The poller refused what would tell of the end: `SIGCHLD` has to.
    pub(crate) fn refused(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let transport = slf.get().transport(py);
        slf.get().stop_watching(py);
        match transport {
            Some(transport) => transport
                .call_method0(py, intern!(py, "_childUnwatched"))
                .map(drop),
            None => Ok(()),
        }
    }

    fn transport(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let transport = self.state.get(py).transport.borrow();
        transport.as_ref().map(|transport| transport.clone_ref(py))
    }

    fn stop_watching(&self, py: Python<'_>) {
        let state = self.state.get(py);
        let core = state.core.take();
        let removed = match (&core, state.token.take()) {
            (Some(core), Some(token)) => core.get().state(py).engine.remove(token),
            _ => None,
        };
        let transport = state.transport.take();
        drop((core, removed, transport));
    }
}

#[pymethods]
impl ChildProcess {
    /// Its process id. After it was waited for, the number may be somebody else's.
    #[getter]
    fn pid(&self, py: Python<'_>) -> i32 {
        self.state.get(py).pid
    }

    /// Has the reactor of `core` call `transport._childEnded(status)` when the child has ended and
    /// was waited for, and `transport._childUnwatched()` if it finds that it cannot watch for it.
    fn watch(slf: &Bound<'_, Self>, core: &Bound<'_, Core>, transport: Py<PyAny>) {
        let py = slf.py();
        let state = slf.get().state.get(py);
        let descriptor = match state.child.borrow().as_ref().map(Child::watch) {
            Some(Watch::Descriptor(descriptor)) => Arc::clone(descriptor),
            _ => return,
        };
        let engine = &core.get().state(py).engine;
        let source = Source::Child(slf.clone().unbind());
        let token = engine.insert(SourceFd::from(descriptor), source);
        engine.set_interest(token, Interest::READABLE);
        state.token.set(Some(token));
        let old = (
            state.core.replace(Some(core.clone().unbind())),
            state.transport.replace(Some(transport)),
        );
        drop(old);
    }

    /// Waits for the child if it has ended: its status as waitpid(2) gives it, once, or -1 if nobody
    /// can tell it any more. None while it runs, and after that once.
    fn try_wait(&self, py: Python<'_>) -> PyResult<Option<i32>> {
        let state = self.state.get(py);
        let ended = match state.child.borrow_mut().as_mut() {
            Some(child) => child.try_wait().map_err(|error| os_error(py, &error))?,
            None => None,
        };
        let Some(ended) = ended else { return Ok(None) };
        self.stop_watching(py);
        let child = state.child.take();
        drop(child);
        Ok(Some(ended.wait_status().unwrap_or(UNKNOWN)))
    }

    /// Sends it a signal; False if it is gone. It never reaches another process with the same id.
    fn send_signal(&self, py: Python<'_>, signal: i32) -> PyResult<bool> {
        match self.state.get(py).child.borrow_mut().as_mut() {
            Some(child) => child
                .send_signal(signal)
                .map_err(|error| os_error(py, &error)),
            None => Ok(false),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: this is `__traverse__`.
        let state = unsafe { self.state.get_in_traverse() };
        if let Ok(core) = state.core.try_borrow() {
            visit.call(core.as_ref())?;
        }
        if let Ok(transport) = state.transport.try_borrow() {
            visit.call(transport.as_ref())?;
        }
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        let state = self.state.get(py);
        let released = (state.core.take(), state.transport.take());
        drop(released);
    }
}
