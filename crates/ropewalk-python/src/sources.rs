//! What readiness is delivered to: native streams, datagram ports and pipes, children, and any
//! Python object with `fileno()`.

use std::cell::Cell;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::rc::Rc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyList;
use pyo3::{PyTraverseError, PyVisit, intern};
use ropewalk::engine::Engine;
use ropewalk::os::{Interest, SourceFd, Token};

use crate::attached::attached;
use crate::core::Core;
use crate::datagram::Datagram;
use crate::host::PyHost;
use crate::member::Member;
use crate::process::ChildProcess;
use crate::process_pipe::Pipe;
use crate::stream::Stream;

/// A source of the engine.
pub(crate) enum Source {
    /// A native stream.
    Stream(Py<Stream>),
    /// A native datagram port.
    Datagram(Py<Datagram>),
    /// A native end of a child's pipe.
    Pipe(Py<Pipe>),
    /// A child process that runs. Neither reader nor writer: nobody removes it but its end.
    Child(Py<ChildProcess>),
    /// One of Twisted's Python descriptors, or anybody's.
    Foreign(Rc<Foreign>),
}

impl Clone for Source {
    fn clone(&self) -> Self {
        match self {
            Self::Stream(stream) => Self::Stream(stream.clone_ref(attached())),
            Self::Datagram(port) => Self::Datagram(port.clone_ref(attached())),
            Self::Pipe(pipe) => Self::Pipe(pipe.clone_ref(attached())),
            Self::Child(child) => Self::Child(child.clone_ref(attached())),
            Self::Foreign(foreign) => Self::Foreign(Rc::clone(foreign)),
        }
    }
}

impl Source {
    pub(crate) fn object<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        match self {
            Self::Stream(stream) => stream.bind(py).clone().into_any(),
            Self::Datagram(port) => port.bind(py).clone().into_any(),
            Self::Pipe(pipe) => pipe.bind(py).clone().into_any(),
            Self::Child(child) => child.bind(py).clone().into_any(),
            Self::Foreign(foreign) => foreign.object(py),
        }
    }

    pub(crate) fn is_reading(&self, py: Python<'_>) -> bool {
        match self {
            Self::Stream(stream) => stream.get().is_reading(py),
            Self::Datagram(port) => port.get().is_reading(py),
            Self::Pipe(pipe) => pipe.get().is_reading(py),
            Self::Child(_) => false,
            Self::Foreign(foreign) => foreign.reading.get(),
        }
    }

    pub(crate) fn is_writing(&self, py: Python<'_>) -> bool {
        match self {
            Self::Stream(stream) => stream.get().is_writing(py),
            Self::Datagram(port) => port.get().is_writing(py),
            Self::Pipe(pipe) => pipe.get().is_writing(py),
            Self::Child(_) => false,
            Self::Foreign(foreign) => foreign.writing.get(),
        }
    }
}

/// A Python object that was added as a reader or a writer.
pub(crate) struct Foreign {
    object: Py<PyAny>,
    pub(crate) reading: Cell<bool>,
    pub(crate) writing: Cell<bool>,
}

impl Foreign {
    pub(crate) fn object<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.object.bind(py).clone()
    }

    fn interest(&self) -> Interest {
        Interest::NONE
            .with_readable(self.reading.get())
            .with_writable(self.writing.get())
    }
}

/// A descriptor that Python code owns.
///
/// Twisted's contract is that an object is removed from the reactor before its descriptor is
/// closed; a breach is survived (the registry never mistakes a reused number), not supported.
pub(crate) fn lend(fd: i32) -> PyResult<BorrowedFd<'static>> {
    if fd < 0 {
        let text = format!("file descriptor cannot be a negative integer ({fd})");
        return Err(PyValueError::new_err(text));
    }
    // SAFETY: the number is not -1. The engine uses it for nothing but system calls, which answer
    // EBADF for a closed one, and forgets it when the object is removed.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Both ends of the engine's waker: read, write.
pub(crate) fn waker_descriptors(engine: &Engine<PyHost>) -> (i32, i32) {
    let waker = engine.waker();
    (waker.read_fd().as_raw_fd(), waker.wake_fd().as_raw_fd())
}

/// Adds an object as a reader, or removes it.
pub(crate) fn set_reading(
    core: &Bound<'_, Core>,
    object: &Bound<'_, PyAny>,
    reading: bool,
) -> PyResult<()> {
    if let Ok(stream) = object.cast::<Stream>() {
        return Stream::set_reading(stream, reading);
    }
    if let Ok(port) = object.cast::<Datagram>() {
        return Datagram::set_reading(port, reading);
    }
    if let Ok(pipe) = object.cast::<Pipe>() {
        return Pipe::set_reading(pipe, reading);
    }
    if is_waker(core, object, reading)? {
        return Ok(());
    }
    change(
        core,
        object,
        |foreign| foreign.reading.replace(reading) != reading,
        reading,
    )
}

/// Adds an object as a writer, or removes it.
pub(crate) fn set_writing(
    core: &Bound<'_, Core>,
    object: &Bound<'_, PyAny>,
    writing: bool,
) -> PyResult<()> {
    if let Ok(stream) = object.cast::<Stream>() {
        return Stream::set_writing(stream, writing);
    }
    if let Ok(port) = object.cast::<Datagram>() {
        return Datagram::set_writing(port, writing);
    }
    if let Ok(pipe) = object.cast::<Pipe>() {
        return Pipe::set_writing(pipe, writing);
    }
    change(
        core,
        object,
        |foreign| foreign.writing.replace(writing) != writing,
        writing,
    )
}

/// Counts the waker object as a reader without watching it: the engine watches its pipe already.
fn is_waker(core: &Bound<'_, Core>, object: &Bound<'_, PyAny>, reading: bool) -> PyResult<bool> {
    let py = core.py();
    let state = core.get().state(py);
    if reading {
        let ours = object.hasattr(intern!(py, "_ropewalkWaker"))?;
        if ours {
            let old = state.waker_reader.replace(Some(object.clone().unbind()));
            drop(old);
        }
        return Ok(ours);
    }
    let is_it = state
        .waker_reader
        .borrow()
        .as_ref()
        .is_some_and(|waker| waker.is(object));
    if is_it {
        let old = state.waker_reader.take();
        drop(old);
    }
    Ok(is_it)
}

/// Changes one role of a foreign object; adds it when it is new, drops it when no role is left.
fn change(
    core: &Bound<'_, Core>,
    object: &Bound<'_, PyAny>,
    set: impl FnOnce(&Foreign) -> bool,
    adding: bool,
) -> PyResult<()> {
    let py = core.py();
    let state = core.get().state(py);
    let key = object.as_ptr() as usize;
    let known = state.foreign.borrow().get(&key).copied();
    let token = match known {
        Some(token) => token,
        None if !adding => return Ok(()),
        None => {
            let fd = lend(object.call_method0(intern!(py, "fileno"))?.extract()?)?;
            let foreign = Foreign {
                object: object.clone().unbind(),
                reading: Cell::new(false),
                writing: Cell::new(false),
            };
            let source = Source::Foreign(Rc::new(foreign));
            let token = state.engine.insert(SourceFd::from(fd), source);
            state.foreign.borrow_mut().insert(key, token);
            token
        }
    };
    let Some(Source::Foreign(foreign)) = state.engine.source(token) else {
        return Ok(());
    };
    if !set(&foreign) {
        return Ok(());
    }
    if foreign.interest().is_none() {
        state.foreign.borrow_mut().remove(&key);
        let removed = state.engine.remove(token);
        drop(removed);
    } else {
        state.engine.set_interest(token, foreign.interest());
    }
    Ok(())
}

/// Every object that is a reader, the waker included.
pub(crate) fn readers<'py>(core: &Bound<'py, Core>) -> PyResult<Bound<'py, PyList>> {
    let py = core.py();
    let list = list(core, Source::is_reading)?;
    if let Some(waker) = core.get().state(py).waker_reader.borrow().as_ref() {
        list.append(waker.bind(py))?;
    }
    Ok(list)
}

/// Every object that is a writer.
pub(crate) fn writers<'py>(core: &Bound<'py, Core>) -> PyResult<Bound<'py, PyList>> {
    list(core, Source::is_writing)
}

fn list<'py>(
    core: &Bound<'py, Core>,
    has_role: impl Fn(&Source, Python<'py>) -> bool,
) -> PyResult<Bound<'py, PyList>> {
    let py = core.py();
    let mut sources = Vec::new();
    core.get()
        .state(py)
        .engine
        .for_each_source(|_, source| sources.push(source.clone()));
    let with_role = sources.iter().filter(|source| has_role(source, py));
    PyList::new(
        py,
        with_role
            .map(|source| source.object(py))
            .collect::<Vec<_>>(),
    )
}

/// Tells the collector about every object the engine holds.
pub(crate) fn traverse(engine: &Engine<PyHost>, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
    let mut result = Ok(());
    engine.for_each_source(|_: Token, source| {
        if result.is_ok() {
            result = match source {
                Source::Stream(stream) => visit.call(stream),
                Source::Datagram(port) => visit.call(port),
                Source::Pipe(pipe) => visit.call(pipe),
                Source::Child(child) => visit.call(child),
                Source::Foreign(foreign) => visit.call(&foreign.object),
            };
        }
    });
    result
}
