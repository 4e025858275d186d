//! What a native pipe does when it is ready, and how it writes.
//!
//! The rules are those of `twisted.internet.abstract.FileDescriptor` and `process.ProcessWriter`:
//! at most 8 KiB are delivered at a time, writes are queued and written later, and whatever follows
//! a completed flush happens in a later dispatch, never inside the flush.

use std::io::{self, IoSlice};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use ropewalk::os::{Readiness, pipe};

use crate::host::{Verdict, hang_up, lost, verdict};
use crate::member::{Member, Outcome};
use crate::outgoing::{all_bytes, bytes_only};
use crate::process_pipe::{Pipe, State};
use crate::sources::lend;
use crate::twisted;

/// The most that is delivered at a time, in bytes, as by Twisted's `fdesc.readFromFD`.
const READ_LIMIT: usize = 8192;

/// How many reads one event is good for. Together they are what a pipe holds.
const READS: usize = 8;

impl Pipe {
    pub(crate) fn ready<'py>(slf: &Bound<'py, Self>, readiness: Readiness) -> Verdict<'py> {
        let py = slf.py();
        let state = slf.get().state(py);
        state.ready_requested.set(false);
        let reading = state.membership.is_reading();
        if lost(readiness) {
            return hang_up(py, reading);
        }
        let reads = readiness.is_readable() && reading;
        Self::read_or_write(slf, reads, readiness.is_writable())
    }

    /// Reads what there is, and hands it on piece by piece while it is wanted.
    pub(crate) fn read<'py>(slf: &Bound<'py, Self>, state: &State) -> Outcome<'py> {
        let py = slf.py();
        let was_reading = state.membership.is_reading();
        let mut buffer = [0; READ_LIMIT];
        for _ in 0..READS {
            let length = match pipe::read(lend(state.number()?)?, &mut buffer) {
                Ok(0) => return Ok(Some(twisted::names(py)?.connection_done.bind(py).clone())),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return Ok(Some(twisted::names(py)?.connection_lost.bind(py).clone())),
            };
            let data = PyBytes::new(py, &buffer[..length]);
            slf.call_method1(intern!(py, "dataReceived"), (data,))?;
            let goes_on = state.membership.is_reading() || !was_reading;
            if length < READ_LIMIT || !goes_on {
                break;
            }
        }
        Ok(None)
    }

    /// `doWrite`: writes what is queued and, when nothing is left, does what was waiting for that.
    pub(crate) fn write_queued<'py>(slf: &Bound<'py, Self>, state: &State) -> Outcome<'py> {
        let py = slf.py();
        if state.write_failed.get() || write(state).is_err() {
            return Ok(Some(twisted::names(py)?.connection_lost.bind(py).clone()));
        }
        if !state.queue.is_empty() {
            if !state.blocked.replace(true) {
                Self::update(slf)?;
            }
            return Ok(None);
        }
        Self::rest(slf, state)?;
        let producer = slf.getattr(intern!(py, "producer"))?;
        if !producer.is_none() && Self::wants_resume(slf)? {
            slf.setattr(intern!(py, "producerPaused"), false)?;
            producer.call_method0(intern!(py, "resumeProducing"))?;
        } else if Self::has(slf, intern!(py, "disconnecting"))? {
            return verdict(slf.call_method0(intern!(py, "_postLoseConnection"))?);
        } else if Self::has(slf, intern!(py, "_writeDisconnecting"))? {
            slf.setattr(intern!(py, "_writeDisconnected"), true)?;
            return verdict(slf.call_method0(intern!(py, "_closeWriteConnection"))?);
        }
        Ok(None)
    }

    /// Everything is written: from now on only the end of the other side is of interest.
    fn rest(slf: &Bound<'_, Self>, state: &State) -> PyResult<()> {
        if state.read_hack.get() {
            Self::set_reading(slf, true)?;
        }
        Self::set_writing(slf, false)
    }

    /// Writes what is queued without running anybody's code.
    pub(crate) fn flush(slf: &Bound<'_, Self>) {
        let py = slf.py();
        let state = slf.get().state(py);
        if !state.membership.is_writing() || Self::python_writes(slf) {
            return;
        }
        state.write_failed.set(write(state).is_err());
        if let Err(error) = Self::flushed(slf, state) {
            twisted::report(py, "callback", &error);
        }
    }

    fn flushed(slf: &Bound<'_, Self>, state: &State) -> PyResult<()> {
        let py = slf.py();
        let drained = state.queue.is_empty();
        if state.write_failed.get() || (drained && Self::something_follows(slf)?) {
            if !state.ready_requested.replace(true) {
                state.membership.request_ready(py, Readiness::WRITABLE);
            }
            return Ok(());
        }
        if drained {
            return Self::rest(slf, state);
        }
        state.blocked.set(true);
        Self::update(slf)
    }

    /// Whether a drained queue means more to do: a producer to resume, or an end to make.
    fn something_follows(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let py = slf.py();
        let produced = !slf.getattr(intern!(py, "producer"))?.is_none();
        Ok((produced && Self::wants_resume(slf)?)
            || Self::has(slf, intern!(py, "disconnecting"))?
            || Self::has(slf, intern!(py, "_writeDisconnecting"))?)
    }

    fn wants_resume(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let py = slf.py();
        Ok(!Self::has(slf, intern!(py, "streamingProducer"))?
            || Self::has(slf, intern!(py, "producerPaused"))?)
    }

    /// Whether an attribute of Twisted's class is true.
    fn has(slf: &Bound<'_, Self>, name: &Bound<'_, PyString>) -> PyResult<bool> {
        slf.getattr(name)?.is_truthy()
    }

    fn takes_writes(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let py = slf.py();
        Ok(Self::has(slf, intern!(py, "connected"))?
            && !Self::has(slf, intern!(py, "_writeDisconnected"))?)
    }

    fn enqueued(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        if !slf.getattr(intern!(py, "producer"))?.is_none() {
            slf.call_method0(intern!(py, "_maybePauseProducer"))?;
        }
        Self::set_writing(slf, true)
    }
}

#[pymethods]
impl Pipe {
    /// `ITransport.write`: queues `data`.
    fn write(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let state = slf.get().state(slf.py());
        if state.read_hack.get() {
            Self::set_reading(slf, false)?;
        }
        let data = bytes_only(data)?;
        if !Self::takes_writes(slf)? || data.as_bytes().is_empty() {
            return Ok(());
        }
        state.queue.push(data);
        Self::enqueued(slf)
    }

    /// `ITransport.writeSequence`: queues every element, or none if one is not `bytes`.
    #[pyo3(name = "writeSequence")]
    fn write_sequence(slf: &Bound<'_, Self>, iovec: &Bound<'_, PyAny>) -> PyResult<()> {
        let chunks = all_bytes(iovec)?;
        if !Self::takes_writes(slf)? || chunks.is_empty() {
            return Ok(());
        }
        let state = slf.get().state(slf.py());
        for chunk in chunks {
            if !chunk.as_bytes().is_empty() {
                state.queue.push(&chunk);
            }
        }
        Self::enqueued(slf)
    }

    /// Delivers what the pipe has.
    #[pyo3(name = "doRead")]
    fn do_read<'py>(slf: &Bound<'py, Self>) -> Outcome<'py> {
        Self::read(slf, slf.get().state(slf.py()))
    }

    /// Writes what is queued.
    #[pyo3(name = "doWrite")]
    fn do_write<'py>(slf: &Bound<'py, Self>) -> Outcome<'py> {
        Self::write_queued(slf, slf.get().state(slf.py()))
    }
}

/// Writes once what is queued. A full pipe is no error.
fn write(state: &State) -> PyResult<()> {
    if state.queue.is_empty() {
        return Ok(());
    }
    let fd = lend(state.number()?)?;
    let written = |slices: &[IoSlice<'_>]| match pipe::write_vectored(fd, slices) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        written => written,
    };
    Ok(state.queue.offer(written)?)
}
