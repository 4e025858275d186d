//! A native transport's membership in its reactor: the core, its place in the engine, and what it
//! has the engine watch for. What kind of transport it is, and whose its descriptor, is not known.

use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use pyo3::{PyTraverseError, PyVisit};
use ropewalk::engine::Engine;
use ropewalk::os::{Interest, Readiness, SourceFd, Token};

use crate::core::Core;
use crate::host::{PyHost, log_context_of};
use crate::sources::{Source, lend};

#[derive(Default)]
pub(crate) struct Membership {
    core: RefCell<Option<Py<Core>>>,
    /// Where in the engine the transport is, while it reads or writes.
    token: Cell<Option<Token>>,
    reading: Cell<bool>,
    writing: Cell<bool>,
}

impl Membership {
    /// The core of the transport's reactor, once it is known.
    pub(crate) fn core(&self, py: Python<'_>) -> Option<Py<Core>> {
        self.core.borrow().as_ref().map(|core| core.clone_ref(py))
    }

    pub(crate) fn join(&self, core: Py<Core>) {
        let old = self.core.replace(Some(core));
        drop(old);
    }

    pub(crate) fn token(&self) -> Option<Token> {
        self.token.get()
    }

    /// Whether the transport is in `getReaders`.
    pub(crate) fn is_reading(&self) -> bool {
        self.reading.get()
    }

    /// Whether it is in `getWriters`.
    pub(crate) fn is_writing(&self) -> bool {
        self.writing.get()
    }

    /// Starts or stops reading. `update` tells the engine of a change; if it cannot, the transport
    /// does not read.
    pub(crate) fn set_reading(
        &self,
        reading: bool,
        update: impl FnOnce() -> PyResult<()>,
    ) -> PyResult<()> {
        switch(&self.reading, reading, update)
    }

    /// Starts or stops writing, as [`set_reading`](Self::set_reading).
    pub(crate) fn set_writing(
        &self,
        writing: bool,
        update: impl FnOnce() -> PyResult<()>,
    ) -> PyResult<()> {
        switch(&self.writing, writing, update)
    }

    /// Tells the engine what the transport wants now, and answers its place there. One that wants
    /// nothing is not in the engine at all, so that nothing but its users keeps it alive.
    ///
    /// One that writes has writability waited for if `blocked`. `number` and `source` are asked
    /// when it enters the engine.
    pub(crate) fn update(
        &self,
        engine: &Engine<PyHost>,
        blocked: bool,
        number: impl FnOnce() -> PyResult<RawFd>,
        source: impl FnOnce() -> Source,
    ) -> PyResult<Option<Token>> {
        let (reading, writing) = (self.reading.get(), self.writing.get());
        if !reading && !writing {
            let removed = self.token.take().and_then(|token| engine.remove(token));
            drop(removed);
            return Ok(None);
        }
        let token = match self.token.get() {
            Some(token) => token,
            None => {
                let fd = lend(number()?)?;
                let token = engine.insert(SourceFd::from(fd), source());
                self.token.set(Some(token));
                token
            }
        };
        let interest = Interest::NONE
            .with_readable(reading)
            .with_writable(writing && blocked);
        engine.set_interest(token, interest);
        Ok(Some(token))
    }

    /// Asks for the next dispatch to deliver `readiness`, whatever the poller finds.
    pub(crate) fn request_ready(&self, py: Python<'_>, readiness: Readiness) {
        let core = self.core.borrow();
        if let (Some(core), Some(token)) = (core.as_ref(), self.token.get()) {
            core.get().state(py).engine.request_ready(token, readiness);
        }
    }

    /// The context to push on those `below` while callbacks of `transport` run.
    ///
    /// A cached one is given for a `prefix`, which is for the caller to vouch for: that the
    /// transport's class says no other, and that nothing but the default context is below.
    pub(crate) fn log_context(
        &self,
        transport: &Bound<'_, PyAny>,
        prefix: Option<Bound<'_, PyAny>>,
        below: &Bound<'_, PyList>,
    ) -> PyResult<Py<PyDict>> {
        let py = transport.py();
        match (self.core(py), self.token.get(), prefix) {
            (Some(core), Some(token), Some(prefix)) => {
                let contexts = &core.get().state(py).log_contexts;
                contexts.get(token.slot(), &prefix, below)
            }
            _ => log_context_of(transport, below),
        }
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.core.try_borrow() {
            Ok(core) => visit.call(core.as_ref()),
            Err(_) => Ok(()),
        }
    }

    pub(crate) fn clear(&self) {
        let core = self.core.take();
        drop(core);
    }
}

fn switch(role: &Cell<bool>, on: bool, update: impl FnOnce() -> PyResult<()>) -> PyResult<()> {
    if role.replace(on) == on {
        return Ok(());
    }
    update().inspect_err(|_| role.set(false))
}
