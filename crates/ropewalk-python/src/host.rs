//! The engine's host: hands readiness to native transports and to Twisted's Python descriptors.

use std::io;

use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyListMethods};
use ropewalk::engine::{Engine, Host};
use ropewalk::os::{PollerKind, Readiness, Token};

use crate::attached::{attached, detached};
use crate::core::Core;
use crate::member::Member;
use crate::process::ChildProcess;
use crate::process_pipe::Pipe;
use crate::sources::{Foreign, Source};
use crate::stream::Stream;
use crate::twisted;

/// One core, while it polls.
pub(crate) struct PyHost {
    core: Py<Core>,
}

impl PyHost {
    pub(crate) fn new(core: Py<Core>) -> Self {
        Self { core }
    }

    /// Ends a delivery: what went wrong outside the descriptor's own methods is logged, as
    /// `log.callWithLogger` does, except a `KeyboardInterrupt`, which ends the turn.
    fn finish(&self, py: Python<'_>, outcome: PyResult<()>) {
        let Err(error) = outcome else { return };
        if error.is_instance_of::<PyKeyboardInterrupt>(py) {
            let first = &self.core.get().state(py).interrupt;
            let replaced = first.replace(Some(error));
            drop(replaced);
        } else {
            twisted::report(py, "callback", &error);
        }
    }

    /// This thread's stack of logging contexts. No borrow is left, for a callback may poll.
    fn context_stack<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyList>> {
        let stack = self.core.get().state(py).contexts.borrow();
        stack.as_ref().map(|stack| stack.bind(py).clone())
    }

    /// Runs `deliver` with a logging context on top of this thread's stack of them.
    ///
    /// `context` makes it, and is given the stack below it.
    fn in_context(
        &self,
        py: Python<'_>,
        context: impl FnOnce(&Bound<'_, PyList>) -> PyResult<Py<PyDict>>,
        deliver: impl FnOnce() -> PyResult<()>,
    ) {
        let Some(stack) = self.context_stack(py) else {
            return;
        };
        match context(&stack).and_then(|context| stack.append(context)) {
            Ok(()) => {}
            Err(error) => return self.finish(py, Err(error)),
        }
        let outcome = deliver();
        self.finish(py, outcome);
        if let Err(error) = stack.del_item(stack.len().saturating_sub(1)) {
            error.write_unraisable(py, None);
        }
    }
}

impl Host for PyHost {
    type Source = Source;

    fn ready(&self, engine: &Engine<Self>, token: Token, source: Source, readiness: Readiness) {
        let py = attached();
        if let Source::Child(child) = &source {
            return self.child_ended(child.bind(py));
        }
        if readiness.is_invalid() && engine.poller_kind() == PollerKind::Select {
            return self.preen(&source.object(py));
        }
        match source {
            Source::Stream(stream) => self.deliver(stream.bind(py), readiness),
            Source::Datagram(port) => self.deliver(port.bind(py), readiness),
            Source::Pipe(pipe) => self.deliver(pipe.bind(py), readiness),
            // Dealt with above: it has no methods of a descriptor.
            Source::Child(_) => {}
            Source::Foreign(foreign) => {
                let object = foreign.object(py);
                self.in_context(
                    py,
                    |below| self.kept_log_context(token, &object, below),
                    || {
                        let (why, in_read) = deliver(&foreign, &object, readiness);
                        self.disconnect(py, &object, why, in_read)
                    },
                );
            }
        }
    }

    fn flush(&self, _: &Engine<Self>, _: Token, source: Source) {
        match source {
            Source::Stream(stream) => Stream::flush(stream.bind(attached())),
            Source::Pipe(pipe) => Pipe::flush(pipe.bind(attached())),
            // Nothing is written by these behind Python's back.
            Source::Datagram(_) | Source::Child(_) | Source::Foreign(_) => {}
        }
    }

    fn register_failed(&self, _: &Engine<Self>, _: Token, source: Source, error: io::Error) {
        let py = attached();
        if let Source::Child(child) = &source {
            return self.finish(py, ChildProcess::refused(child.bind(py)));
        }
        let error = PyErr::from(error);
        twisted::report(py, "callback", &error);
        let object = source.object(py);
        let reason = error.into_value(py).into_bound(py).into_any();
        let outcome = self.disconnect(py, &object, Some(reason), false);
        self.finish(py, outcome);
    }

    fn park(&self, wait: &mut dyn FnMut()) {
        let py = attached();
        // A signal handler or a destructor may have queued a call since the turn looked, and on the
        // loop's own thread nobody is woken for it. From here to the wait no Python runs.
        if self.core.get().has_thread_calls(py) {
            return;
        }
        detached(py, wait);
        // A signal ended the wait, or came during it: Python's handlers run now.
        if let Err(error) = py.check_signals() {
            let replaced = self.core.get().state(py).interrupt.replace(Some(error));
            drop(replaced);
        }
    }
}

impl PyHost {
    /// Delivers readiness to a native transport.
    fn deliver<T: Member>(&self, member: &Bound<'_, T>, readiness: Readiness) {
        self.in_context(
            member.py(),
            |below| T::log_context(member, below),
            || {
                let (why, in_read) = T::deliver(member, readiness);
                self.disconnect_member(member, why, in_read)
            },
        );
    }

    /// The context to push while callbacks of a foreign descriptor run; a cached one fits while
    /// nothing but the default context is below it.
    fn kept_log_context(
        &self,
        token: Token,
        object: &Bound<'_, PyAny>,
        below: &Bound<'_, PyList>,
    ) -> PyResult<Py<PyDict>> {
        if below.len() != 1 {
            return log_context_of(object, below);
        }
        let prefix = log_prefix_of(object)?;
        let contexts = &self.core.get().state(object.py()).log_contexts;
        contexts.get(token.slot(), &prefix, below)
    }

    /// Hears of a child's end, in the context that callbacks of Twisted's `SIGCHLD` waker have.
    fn child_ended(&self, child: &Bound<'_, ChildProcess>) {
        let py = child.py();
        let system = intern!(py, "-").as_any();
        self.in_context(
            py,
            |below| twisted::log_context(below, system).map(Bound::unbind),
            || ChildProcess::notice(child),
        );
    }

    /// Disconnects a descriptor that was closed behind the reactor's back, as Twisted's
    /// `SelectReactor` does: with the error of a look at it alone.
    fn preen(&self, object: &Bound<'_, PyAny>) {
        let py = object.py();
        let preen = || {
            let module = py.import(intern!(py, "ropewalk.selectreactor"))?;
            let why = module.call_method1(intern!(py, "preen"), (object,))?;
            self.disconnect(py, object, verdict(why)?, false)
        };
        self.finish(py, preen());
    }

    /// `_disconnectSelectable` for a native transport, without the detours unless the reactor's class
    /// has a method of its own or the reason is a rare one.
    fn disconnect_member<T: Member>(
        &self,
        member: &Bound<'_, T>,
        why: Option<Bound<'_, PyAny>>,
        in_read: bool,
    ) -> PyResult<()> {
        let py = member.py();
        let Some(why) = why else { return Ok(()) };
        let names = twisted::names(py)?;
        let done = why.is(&names.connection_done);
        let failure = match () {
            () if !self.core.get().state(py).default_disconnect.get() => None,
            () if done => Some(&names.done_failure),
            () if why.is(&names.connection_lost) => Some(&names.lost_failure),
            () => None,
        };
        let Some(failure) = failure else {
            return self.disconnect(py, member.as_any(), Some(why), in_read);
        };
        T::set_reading(member, false)?;
        let method = if done && in_read {
            intern!(py, "readConnectionLost")
        } else {
            T::set_writing(member, false)?;
            intern!(py, "connectionLost")
        };
        member.as_any().call_method1(method, (failure,)).map(drop)
    }

    /// `_disconnectSelectable`, when a descriptor said why it is to go.
    fn disconnect(
        &self,
        py: Python<'_>,
        object: &Bound<'_, PyAny>,
        why: Option<Bound<'_, PyAny>>,
        in_read: bool,
    ) -> PyResult<()> {
        let Some(why) = why else { return Ok(()) };
        let reactor = self.core.get().reactor(py)?;
        let name = intern!(py, "_disconnectSelectable");
        reactor.call_method1(name, (object, why, in_read)).map(drop)
    }
}

pub(crate) fn log_context_of(
    object: &Bound<'_, PyAny>,
    below: &Bound<'_, PyList>,
) -> PyResult<Py<PyDict>> {
    twisted::log_context(below, &log_prefix_of(object)?).map(Bound::unbind)
}

/// What a descriptor's `logPrefix` says.
fn log_prefix_of<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = object.py();
    match object.call_method0(intern!(py, "logPrefix")) {
        Ok(prefix) => Ok(prefix),
        Err(error) if error.is_instance_of::<PyKeyboardInterrupt>(py) => Err(error),
        Err(error) => {
            twisted::report(py, "log_prefix", &error);
            Ok(intern!(py, "(buggy logPrefix method)").clone().into_any())
        }
    }
}

/// Why a descriptor is to be disconnected, and whether reading said so.
pub(crate) type Verdict<'py> = (Option<Bound<'py, PyAny>>, bool);

/// `_doReadOrWrite` of Twisted's poll-like reactors, for one of Twisted's Python descriptors.
fn deliver<'py>(
    foreign: &Foreign,
    object: &Bound<'py, PyAny>,
    readiness: Readiness,
) -> Verdict<'py> {
    let py = object.py();
    if lost(readiness) {
        return hang_up(py, foreign.reading.get());
    }
    let mut in_read = false;
    let attempt = || -> PyResult<Option<Bound<'py, PyAny>>> {
        let names = twisted::names(py)?;
        let number: i64 = object.call_method0(intern!(py, "fileno"))?.extract()?;
        if number == -1 {
            return Ok(Some(names.no_descriptor.bind(py).clone()));
        }
        let mut why = None;
        if readiness.is_readable() && foreign.reading.get() {
            in_read = true;
            why = verdict(object.call_method0(intern!(py, "doRead"))?)?;
        }
        if why.is_none() && readiness.is_writable() && foreign.writing.get() {
            in_read = false;
            why = verdict(object.call_method0(intern!(py, "doWrite"))?)?;
        }
        Ok(why)
    };
    let mut attempt = attempt;
    match attempt() {
        Ok(why) => (why, in_read),
        Err(error) => (Some(raised(py, error)), in_read),
    }
}

/// Whether only the end of the connection is left to be told.
pub(crate) fn lost(readiness: Readiness) -> bool {
    let ended = readiness.is_hangup() || readiness.is_error() || readiness.is_invalid();
    ended && !readiness.is_readable()
}

/// The reason for a hang-up: clean while reading (nothing is left to read), an error if not.
pub(crate) fn hang_up(py: Python<'_>, reading: bool) -> Verdict<'_> {
    let reason = twisted::names(py).map(|names| {
        let reason = if reading {
            &names.connection_done
        } else {
            &names.connection_lost
        };
        reason.bind(py).clone()
    });
    match reason {
        Ok(reason) => (Some(reason), reading),
        Err(error) => (Some(raised(py, error)), reading),
    }
}

/// What `doRead` or `doWrite` returned, if it means the end.
pub(crate) fn verdict(returned: Bound<'_, PyAny>) -> PyResult<Option<Bound<'_, PyAny>>> {
    if returned.is_none() {
        return Ok(None);
    }
    Ok(if returned.is_truthy()? {
        Some(returned)
    } else {
        None
    })
}

/// Logs what a descriptor's method raised; the exception becomes the reason.
pub(crate) fn raised(py: Python<'_>, error: PyErr) -> Bound<'_, PyAny> {
    twisted::report(py, "callback", &error);
    error.into_value(py).into_bound(py).into_any()
}
