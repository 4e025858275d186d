//! How a native stream writes.
//!
//! The rules are those of `twisted.internet.abstract.FileDescriptor`: writes are queued and sent
//! later, and whatever follows a completed flush (resuming a producer, closing, half-closing) happens
//! in a later dispatch, never inside the flush.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use pyo3::exceptions::PyBrokenPipeError;
use pyo3::intern;
use pyo3::prelude::*;
use ropewalk::os::{Readiness, socket};

use crate::host::verdict;
use crate::member::{Member, Outcome};
use crate::outgoing::{all_bytes, bytes_only};
use crate::sources::lend;
use crate::stream::{State, Stream};
use crate::twisted;

/// `ENOBUFS` on Linux, macOS and the BSDs in turn.
const NO_BUFFERS: i32 = if cfg!(target_os = "linux") { 105 } else { 55 };

impl Stream {
    /// `doWrite`: sends what is queued and, when nothing is left, does what was waiting for that.
    pub(crate) fn write_queued<'py>(slf: &Bound<'py, Self>, state: &State) -> Outcome<'py> {
        let py = slf.py();
        let flags = &state.flags;
        let settled = state.tls.settle(py)?;
        if settled && (!flags.connected.get() || state.python_writes()) {
            // What ran on that occasion ended the connection.
            return Ok(None);
        }
        let failed = if flags.send_failed.get() {
            true
        } else if flags.passes_descriptors.get() {
            match Self::pass_descriptors(slf, state)? {
                Some(why) if !why.is(&twisted::names(py)?.connection_lost) => {
                    return Ok(Some(why));
                }
                why => why.is_some(),
            }
        } else {
            send(py, state).is_err()
        };
        if failed {
            let fd = lend(state.descriptor.current(py)?)?;
            if !state.membership.is_reading() || !socket::has_input(fd) || state.python_reads() {
                return Ok(Some(twisted::names(py)?.connection_lost.bind(py).clone()));
            }
            // What the peer sent before it broke off is read first.
            flags.send_failed.set(true);
            request_ready(py, state);
            return Self::read(slf, state);
        }
        if !state.queue.is_empty() {
            if !flags.blocked.replace(true) {
                Self::update(slf)?;
            }
            return Ok(None);
        }
        Self::set_writing(slf, false)?;
        match state.producer(py) {
            Some(producer) if wants_resume(state) => {
                flags.producer_paused.set(false);
                producer.call_method0(py, intern!(py, "resumeProducing"))?;
                Ok(None)
            }
            _ if flags.disconnecting.get() => {
                verdict(slf.call_method0(intern!(py, "_postLoseConnection"))?)
            }
            _ if flags.write_disconnecting.get() => {
                flags.write_disconnected.set(true);
                verdict(slf.call_method0(intern!(py, "_closeWriteConnection"))?)
            }
            _ => Ok(None),
        }
    }

    /// Sends what is queued without running anybody's code.
    pub(crate) fn flush(slf: &Bound<'_, Self>) {
        let py = slf.py();
        let state = slf.get().state(py);
        let flags = &state.flags;
        if let Some(settled) = state.tls.settle_quietly(slf) {
            match settled {
                Ok(true) => {}
                Ok(false) => return request_ready(py, state),
                Err(error) => twisted::report(py, "callback", &error),
            }
            if flags.blocked.get() {
                return;
            }
        }
        if !state.membership.is_writing() || state.python_writes() {
            return;
        }
        if flags.passes_descriptors.get() {
            // To pass them may end the connection, which is for a dispatch to do.
            request_ready(py, state);
            return;
        }
        if !flags.send_failed.get() {
            if let Err(error) = send(py, state) {
                Self::note_send_failure(state, error.is_instance_of::<PyBrokenPipeError>(py));
            }
        }
        let failed = flags.send_failed.get();
        let drained = state.queue.is_empty();
        let updated = if failed || (drained && something_follows(state)) {
            request_ready(py, state);
            Ok(())
        } else if drained {
            Self::set_writing(slf, false)
        } else {
            flags.blocked.set(true);
            Self::update(slf)
        };
        if let Err(error) = updated {
            twisted::report(py, "callback", &error);
        }
    }

    /// Keeps that sending failed for the next dispatch. A broken pipe follows an end of file that
    /// is still there to be read.
    fn note_send_failure(state: &State, broken_pipe: bool) {
        state.flags.send_failed.set(true);
        state.flags.peer_reset.set(!broken_pipe);
    }

    /// The descriptor, if what goes out now goes before anything else.
    pub(crate) fn sends_ahead<'fd>(py: Python<'_>, state: &'fd State) -> Option<BorrowedFd<'fd>> {
        let flags = &state.flags;
        let waits =
            flags.blocked.get() || flags.send_failed.get() || flags.passes_descriptors.get();
        let others = waits || !Self::takes_writes(state) || state.python_writes();
        if others || !state.queue.is_empty() {
            return None;
        }
        state.descriptor.current(py).and_then(lend).ok()
    }

    /// Sends from `data` what the system takes; answers how much. A failure is told by the next
    /// dispatch.
    pub(crate) fn send_ahead(state: &State, fd: BorrowedFd<'_>, data: &[u8]) -> usize {
        match socket::send(fd, data) {
            Ok(count) => count,
            Err(error) if would_block(&error) => 0,
            Err(error) => {
                Self::note_send_failure(state, error.kind() == io::ErrorKind::BrokenPipe);
                0
            }
        }
    }

    /// Pauses a push producer while more than `bufferSize` bytes wait.
    pub(crate) fn pause_if_full(slf: &Bound<'_, Self>, state: &State) -> PyResult<()> {
        let py = slf.py();
        if !state.flags.streaming_producer.get() {
            return Ok(());
        }
        let Some(producer) = state.producer(py) else {
            return Ok(());
        };
        let full = if state.flags.passes_descriptors.get() {
            slf.call_method0(intern!(py, "_isSendBufferFull"))?
                .is_truthy()?
        } else {
            state.queue.len() > state.buffer_size.get()
        };
        if full {
            state.flags.producer_paused.set(true);
            producer.call_method0(py, intern!(py, "pauseProducing"))?;
        }
        Ok(())
    }

    pub(crate) fn takes_writes(state: &State) -> bool {
        state.flags.connected.get() && !state.flags.write_disconnected.get()
    }

    fn write_plain(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let data = bytes_only(data)?;
        let state = slf.get().state(py);
        if !Self::takes_writes(state) || data.as_bytes().is_empty() {
            return Ok(());
        }
        state.queue.push(data);
        Self::pause_if_full(slf, state)?;
        Self::set_writing(slf, true)
    }

    fn write_sequence_plain(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let chunks = all_bytes(data)?;
        let state = slf.get().state(py);
        if !Self::takes_writes(state) || chunks.is_empty() {
            return Ok(());
        }
        for chunk in &chunks {
            if !chunk.as_bytes().is_empty() {
                state.queue.push(chunk);
            }
        }
        Self::pause_if_full(slf, state)?;
        Self::set_writing(slf, true)
    }
}

#[pymethods]
impl Stream {
    /// `ITransport.write`: queues `data`, through the TLS layer if there is one.
    fn write(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let state = slf.get().state(py);
        if !state.flags.tls.get() {
            return Self::write_plain(slf, data);
        }
        if state.flags.connected.get() {
            state
                .protocol(py)?
                .call_method1(intern!(py, "write"), (data,))?;
        }
        Ok(())
    }

    /// `ITransport.writeSequence`: queues every element, or none if one is not `bytes`.
    #[pyo3(name = "writeSequence")]
    fn write_sequence(slf: &Bound<'_, Self>, iovec: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let state = slf.get().state(py);
        if !state.flags.tls.get() {
            return Self::write_sequence_plain(slf, iovec);
        }
        if state.flags.connected.get() {
            state
                .protocol(py)?
                .call_method1(intern!(py, "writeSequence"), (iovec,))?;
        }
        Ok(())
    }

    /// `write` below the TLS layer.
    #[pyo3(name = "_writeBelowTLS")]
    fn write_below_tls(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        Self::write_plain(slf, data)
    }

    /// `writeSequence` below the TLS layer.
    #[pyo3(name = "_writeSequenceBelowTLS")]
    fn write_sequence_below_tls(slf: &Bound<'_, Self>, iovec: &Bound<'_, PyAny>) -> PyResult<()> {
        Self::write_sequence_plain(slf, iovec)
    }

    #[pyo3(name = "_doWrite")]
    fn do_write<'py>(slf: &Bound<'py, Self>) -> Outcome<'py> {
        Self::write_queued(slf, slf.get().state(slf.py()))
    }

    /// Whether more than `bufferSize` bytes wait.
    #[pyo3(name = "_isSendBufferFull")]
    fn is_send_buffer_full(&self, py: Python<'_>) -> bool {
        let state = self.state(py);
        state.queue.len() > state.buffer_size.get()
    }

    #[pyo3(name = "_maybePauseProducer")]
    fn maybe_pause_producer(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::pause_if_full(slf, slf.get().state(slf.py()))
    }
}

/// Whether a drained queue means more to do: a producer to resume, or an end to make.
fn something_follows(state: &State) -> bool {
    let resume = state.producer.borrow().is_some() && wants_resume(state);
    resume || state.flags.disconnecting.get() || state.flags.write_disconnecting.get()
}

fn wants_resume(state: &State) -> bool {
    !state.flags.streaming_producer.get() || state.flags.producer_paused.get()
}

/// Asks for the end of the flush to be dispatched, once.
fn request_ready(py: Python<'_>, state: &State) {
    if state.flags.ready_requested.replace(true) {
        return;
    }
    state.membership.request_ready(py, Readiness::WRITABLE);
}

/// Sends once what is queued. A full socket is no error.
fn send(py: Python<'_>, state: &State) -> PyResult<()> {
    if state.queue.is_empty() {
        return Ok(());
    }
    let fd = lend(state.descriptor.current(py)?)?;
    let sent = |slices: &[IoSlice<'_>]| {
        let sent = match slices {
            [only] => socket::send(fd, only),
            several => socket::send_vectored(fd, several),
        };
        match sent {
            Err(error) if would_block(&error) => Ok(0),
            sent => sent,
        }
    };
    Ok(state.queue.offer(sent)?)
}

fn would_block(error: &io::Error) -> bool {
    // ENOBUFS: out of memory for a moment, to be tried again like a full socket (as Twisted does).
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(NO_BUFFERS)
}
