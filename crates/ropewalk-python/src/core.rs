//! The native part of a reactor, kept in `reactor._core`: sources, timers, thread calls, the turn.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use pyo3::exceptions::{PyAssertionError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit, intern};
use ropewalk::engine::{Engine, TimerId, Timers};
use ropewalk::os::{PollerKind, Token};

use crate::attached::Attached;
use crate::datagram_batch::Shared;
use crate::delayed_call::{Call, DelayedCall, State as DelayedState};
use crate::host::PyHost;
use crate::kqueue::Queues;
use crate::log_contexts::LogContexts;
use crate::turn::current_thread;
use crate::twisted;
use crate::white_box::WhiteBox;

/// The native part of one reactor. The Python class around it keeps Twisted's layout.
#[pyclass(frozen, module = "ropewalk._ropewalk")]
pub(crate) struct Core {
    state: Attached<State>,
}

pub(crate) struct State {
    pub(crate) engine: Engine<PyHost>,
    pub(crate) timers: RefCell<Timers<f64, Py<DelayedCall>>>,
    /// The reactor object; its `__dict__` may be shared with another one, as Twisted's tests do.
    reactor: RefCell<Option<Py<PyAny>>>,
    /// The reactor's `__dict__` at the beginning. Twisted's tests lend it to another reactor object
    /// for a while, whose own core is then out of use.
    attributes: RefCell<Option<Py<PyDict>>>,
    /// Twisted's Python descriptors by identity: where in the engine each is.
    pub(crate) foreign: RefCell<HashMap<usize, Token>>,
    /// The waker object, while it counts as a reader.
    pub(crate) waker_reader: RefCell<Option<Py<PyAny>>>,
    /// What thread calls without keywords have in their place.
    no_keywords: RefCell<Option<Py<PyDict>>>,
    /// Thread calls taken from `threadCallQueue` and not yet made.
    pub(crate) taken_calls: RefCell<VecDeque<Py<PyAny>>>,
    /// A `KeyboardInterrupt` that ended a dispatch; raised when the batch is over.
    pub(crate) interrupt: RefCell<Option<PyErr>>,
    /// The stack of logging contexts of the thread in `poll`, fetched once per turn.
    pub(crate) contexts: RefCell<Option<Py<PyList>>>,
    /// Logging contexts of the streams that are busy.
    pub(crate) log_contexts: LogContexts,
    /// What the datagram ports have in common.
    pub(crate) datagrams: Shared,
    /// The thread inside the native main loop, or 0.
    pub(crate) loop_thread: Cell<usize>,
    /// Whether the reactor's class keeps the default clock.
    default_clock: Cell<bool>,
    /// Whether the reactor's class keeps Twisted's `_disconnectSelectable`.
    pub(crate) default_disconnect: Cell<bool>,
    /// Whether the reactor's class keeps Twisted's `wakeUp`.
    default_wake: Cell<bool>,
    /// What a program put in the place of the poller.
    pub(crate) white_box: WhiteBox,
    /// Memory for TLS records on their way, while nobody has it.
    pub(crate) ciphertext: Cell<Vec<u8>>,
}

impl Core {
    pub(crate) fn state<'py>(&'py self, py: Python<'py>) -> &'py State {
        self.state.get(py)
    }

    pub(crate) fn reactor<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let reactor = self.state.get(py).reactor.borrow();
        let gone = || PyRuntimeError::new_err("the reactor of this core is gone");
        reactor
            .as_ref()
            .map(|reactor| reactor.bind(py).clone())
            .ok_or_else(gone)
    }

    /// `reactor.seconds()`, which a program may have replaced on the instance or in a subclass.
    pub(crate) fn seconds(&self, py: Python<'_>) -> PyResult<f64> {
        if self.state.get(py).default_clock.get() && !self.overridden(py, intern!(py, "seconds"))? {
            return Ok(wall_clock());
        }
        self.reactor(py)?
            .call_method0(intern!(py, "seconds"))?
            .extract()
    }

    /// A dictionary without entries, the same for all thread calls that have no keywords: one less
    /// object per call for the collector to look at while they wait.
    fn no_keywords<'py>(&self, py: Python<'py>) -> Bound<'py, PyDict> {
        let mut kept = self.state.get(py).no_keywords.borrow_mut();
        match kept.as_ref().map(|kept| kept.bind(py)) {
            // Whoever finds it in `threadCallQueue` may write to it.
            Some(kept) if kept.is_empty() => kept.clone(),
            _ => {
                let fresh = PyDict::new(py);
                let old = kept.replace(fresh.clone().unbind());
                drop(kept);
                drop(old);
                fresh
            }
        }
    }

    /// Takes a timer out of the heap; the caller drops it when it holds no borrow.
    pub(crate) fn cancel_timer(&self, py: Python<'_>, id: TimerId) -> Option<Py<DelayedCall>> {
        self.state.get(py).timers.borrow_mut().cancel(id)
    }

    /// Moves a timer to the time its delayed call names now.
    pub(crate) fn move_timer(&self, py: Python<'_>, call: &DelayedState) {
        if let Some(id) = call.id.get() {
            let state = self.state.get(py);
            state.timers.borrow_mut().reset(id, call.time.get());
            state.engine.wake_host();
        }
    }

    /// An attribute of the reactor: of the instance, as nearly always, or of its class.
    pub(crate) fn attribute<'py>(
        &self,
        py: Python<'py>,
        name: &Bound<'py, PyString>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match self.instance_attribute(py, name)? {
            Some(value) => Ok(value),
            None => self.reactor(py)?.getattr(name),
        }
    }

    /// `reactor.wakeUp()`, without the detours while the waker is the core's own.
    fn wake_up(&self, py: Python<'_>) -> PyResult<()> {
        let state = self.state.get(py);
        let waker = self.instance_attribute(py, intern!(py, "waker"))?;
        let ours = match (&waker, &*state.waker_reader.borrow()) {
            (Some(waker), Some(reader)) => waker.is(reader),
            _ => false,
        };
        if ours && state.default_wake.get() && !self.overridden(py, intern!(py, "wakeUp"))? {
            state.engine.waker().wake();
            return Ok(());
        }
        self.reactor(py)?
            .call_method0(intern!(py, "wakeUp"))
            .map(drop)
    }

    /// Whether the reactor instance has an attribute of its own that hides the class's.
    pub(crate) fn overridden(&self, py: Python<'_>, name: &Bound<'_, PyString>) -> PyResult<bool> {
        self.instance_attribute(py, name)
            .map(|found| found.is_some())
    }

    fn instance_attribute<'py>(
        &self,
        py: Python<'py>,
        name: &Bound<'py, PyString>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.state.get(py).attributes.borrow().as_ref() {
            Some(attributes) => attributes.bind(py).get_item(name),
            None => Ok(None),
        }
    }
}

#[pymethods]
impl Core {
    /// `Core(poller)`: a core on the poller of that name; `kqueue` has its kernel queues made by
    /// somebody else than the system. `set_reactor` completes it.
    #[new]
    #[pyo3(signature = (poller, kqueue=None))]
    fn new(poller: &str, kqueue: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let kind = PollerKind::from_str(poller)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        let (engine, white_box) = match kqueue {
            None => (Engine::new(kind)?, WhiteBox::default()),
            Some(kqueue) => {
                let queues = Arc::new(Queues::new(kqueue)?);
                let make = Queues::maker(&queues);
                (Engine::with_maker(make)?, WhiteBox::with_queues(queues))
            }
        };
        Ok(Self {
            state: Attached::new(State {
                engine,
                timers: RefCell::default(),
                reactor: RefCell::default(),
                attributes: RefCell::default(),
                foreign: RefCell::default(),
                waker_reader: RefCell::default(),
                no_keywords: RefCell::default(),
                taken_calls: RefCell::default(),
                interrupt: RefCell::default(),
                contexts: RefCell::default(),
                log_contexts: LogContexts::default(),
                datagrams: Shared::default(),
                loop_thread: Cell::new(0),
                default_clock: Cell::new(false),
                default_disconnect: Cell::new(false),
                default_wake: Cell::new(false),
                white_box,
                ciphertext: Cell::default(),
            }),
        })
    }

    /// Names the reactor whose methods and attributes the loop goes through.
    fn set_reactor(&self, py: Python<'_>, reactor: &Bound<'_, PyAny>) -> PyResult<()> {
        twisted::names(py)?;
        let state = self.state.get(py);
        let clock = reactor.get_type().getattr(intern!(py, "seconds"))?;
        state
            .default_clock
            .set(clock.is(&twisted::runtime_seconds(py)?));
        let disconnect = reactor
            .get_type()
            .getattr(intern!(py, "_disconnectSelectable"))?;
        state
            .default_disconnect
            .set(disconnect.is(&twisted::names(py)?.disconnect_selectable));
        let wake = reactor.get_type().getattr(intern!(py, "wakeUp"))?;
        state
            .default_wake
            .set(wake.is(&twisted::names(py)?.wake_up));
        let attributes = reactor
            .getattr(intern!(py, "__dict__"))?
            .cast_into::<PyDict>()?;
        let old = (
            state.reactor.replace(Some(reactor.clone().unbind())),
            state.attributes.replace(Some(attributes.unbind())),
        );
        drop(old);
        Ok(())
    }

    /// The name of the poller: `"epoll"`, `"poll"`, …
    #[getter]
    fn poller(&self, py: Python<'_>) -> String {
        self.state.get(py).engine.poller_kind().to_string()
    }

    /// `IReactorTime.callLater`.
    #[pyo3(name = "callLater", signature = (delay, callable, *args, **kw))]
    fn call_later<'py>(
        slf: &Bound<'py, Self>,
        delay: &Bound<'py, PyAny>,
        callable: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kw: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, DelayedCall>> {
        let py = slf.py();
        let this = slf.get();
        let seconds: f64 = delay.extract()?;
        if seconds.is_nan() || seconds < 0.0 {
            let text = format!("{delay} is not greater than or equal to 0 seconds");
            return Err(PyAssertionError::new_err(text));
        }
        let time = this.seconds(py)? + seconds;
        let call = DelayedCall::create(slf, time, Call::new(callable, args, kw));
        let call = Bound::new(py, call)?;
        if twisted::delayed_call_debug(py)? {
            let stack = py
                .import("ropewalk._failures")?
                .call_method0("creation_stack")?;
            call.get().set_creator(py, stack.unbind());
        }
        let state = this.state.get(py);
        let id = state
            .timers
            .borrow_mut()
            .insert(time, call.clone().unbind());
        call.get().state(py).id.set(Some(id));
        state.engine.wake_host();
        Ok(call)
    }

    /// `IReactorTime.getDelayedCalls`.
    #[pyo3(name = "getDelayedCalls")]
    fn get_delayed_calls<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let timers = self.state.get(py).timers.borrow();
        let calls: Vec<_> = timers.iter().map(|call| call.clone_ref(py)).collect();
        drop(timers);
        PyList::new(py, calls)
    }

    /// `IReactorFromThreads.callFromThread`. Any thread.
    #[pyo3(name = "callFromThread", signature = (f, *args, **kwargs))]
    fn call_from_thread<'py>(
        &self,
        py: Python<'py>,
        f: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<()> {
        if !f.is_callable() {
            return Err(PyAssertionError::new_err(format!("{f} is not callable")));
        }
        let kwargs = match kwargs {
            Some(kwargs) => kwargs.clone(),
            None => self.no_keywords(py),
        };
        self.thread_call_queue(py)?.append((f, args, kwargs))?;
        // The native loop looks at the queue before it waits, so its own thread wakes nobody.
        if self.state.get(py).loop_thread.get() == current_thread() {
            return Ok(());
        }
        self.wake_up(py)
    }

    /// Ends the wait of the loop, or the next one. Any thread.
    fn wake(&self, py: Python<'_>) {
        self.state.get(py).engine.waker().wake();
    }

    /// The descriptors of the waker's pipe: read end, write end. One byte written to the second
    /// wakes the loop.
    fn waker_descriptors(&self, py: Python<'_>) -> (i32, i32) {
        crate::sources::waker_descriptors(&self.state.get(py).engine)
    }

    /// `IReactorFDSet.addReader`.
    #[pyo3(name = "addReader")]
    fn add_reader(slf: &Bound<'_, Self>, reader: &Bound<'_, PyAny>) -> PyResult<()> {
        crate::sources::set_reading(slf, reader, true)
    }

    /// `IReactorFDSet.addWriter`.
    #[pyo3(name = "addWriter")]
    fn add_writer(slf: &Bound<'_, Self>, writer: &Bound<'_, PyAny>) -> PyResult<()> {
        crate::sources::set_writing(slf, writer, true)
    }

    /// `IReactorFDSet.removeReader`.
    #[pyo3(name = "removeReader")]
    fn remove_reader(slf: &Bound<'_, Self>, reader: &Bound<'_, PyAny>) -> PyResult<()> {
        crate::sources::set_reading(slf, reader, false)
    }

    /// `IReactorFDSet.removeWriter`.
    #[pyo3(name = "removeWriter")]
    fn remove_writer(slf: &Bound<'_, Self>, writer: &Bound<'_, PyAny>) -> PyResult<()> {
        crate::sources::set_writing(slf, writer, false)
    }

    /// `IReactorFDSet.getReaders`.
    #[pyo3(name = "getReaders")]
    fn get_readers<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyList>> {
        crate::sources::readers(slf)
    }

    /// `IReactorFDSet.getWriters`.
    #[pyo3(name = "getWriters")]
    fn get_writers<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyList>> {
        crate::sources::writers(slf)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: this is `__traverse__`.
        let state = unsafe { self.state.get_in_traverse() };
        if let Ok(reactor) = state.reactor.try_borrow() {
            visit.call(reactor.as_ref())?;
        }
        if let Ok(attributes) = state.attributes.try_borrow() {
            visit.call(attributes.as_ref())?;
        }
        if let Ok(waker) = state.waker_reader.try_borrow() {
            visit.call(waker.as_ref())?;
        }
        if let Ok(keywords) = state.no_keywords.try_borrow() {
            visit.call(keywords.as_ref())?;
        }
        if let Ok(timers) = state.timers.try_borrow() {
            for call in timers.iter() {
                visit.call(call)?;
            }
        }
        if let Ok(calls) = state.taken_calls.try_borrow() {
            for call in calls.iter() {
                visit.call(call)?;
            }
        }
        state.white_box.traverse(&visit)?;
        crate::sources::traverse(&state.engine, visit)
    }

    fn __clear__(&self, py: Python<'_>) {
        let state = self.state.get(py);
        let timers = state.timers.borrow_mut().take_all();
        let calls = state.taken_calls.take();
        let sources: Vec<_> = state
            .engine
            .tokens()
            .into_iter()
            .filter_map(|token| state.engine.remove(token))
            .collect();
        let rest = (
            state.reactor.take(),
            state.waker_reader.take(),
            state.no_keywords.take(),
            state.foreign.take(),
            state.white_box.clear(py),
        );
        // Destructors may run anything, so they run when no table is borrowed.
        drop((timers, calls, sources, rest));
    }
}

/// `time.time()`: Twisted's clock is the wall clock.
fn wall_clock() -> f64 {
    match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => since.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}
