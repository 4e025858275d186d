//! What a native stream does when it is ready, and how it writes.
//!
//! The rules are those of `twisted.internet.abstract.FileDescriptor` and `tcp.Connection`: one
//! read per event, writes queued and sent later, and whatever follows a completed flush (resuming
//! a producer, closing, half-closing) happens in a later dispatch, never inside the flush.

use std::io::{self, IoSlice};
use std::os::fd::{BorrowedFd, OwnedFd};

use pyo3::exceptions::{PyBrokenPipeError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use ropewalk::os::{Readiness, socket};
use ropewalk::proto::Flow;

use crate::chunk::Chunk;
use crate::host::{Verdict, hang_up, lost, raised, verdict};
use crate::rustls::Layer;
use crate::sources::lend;
use crate::stream::{State, Stream};
use crate::tls::{self, Records};
use crate::twisted;

/// The most one turn sends from one stream, in bytes: Twisted's `SEND_LIMIT`.
pub(crate) const SEND_LIMIT: usize = 128 * 1024;

/// `ENOBUFS` on Linux, macOS and the BSDs in turn.
const NO_BUFFERS: i32 = if cfg!(target_os = "linux") { 105 } else { 55 };

/// How many chunks one system call gathers.
const GATHER: usize = 16;

pub(crate) type Outcome<'py> = PyResult<Option<Bound<'py, PyAny>>>;

impl Stream {
    /// Delivers readiness: read, then write, as `_doReadOrWrite` of Twisted's poll-like reactors.
    pub(crate) fn deliver<'py>(slf: &Bound<'py, Self>, readiness: Readiness) -> Verdict<'py> {
        let py = slf.py();
        let state = slf.get().state(py);
        state.flags.ready_requested.set(false);
        if lost(readiness) {
            return hang_up(
                py,
                state.membership.is_reading() && !state.flags.peer_reset.get(),
            );
        }
        let mut in_read = false;
        match Self::attempt(slf, state, readiness, &mut in_read) {
            Ok(why) => (why, in_read),
            Err(error) => (Some(raised(py, error)), in_read),
        }
    }

    fn attempt<'py>(
        slf: &Bound<'py, Self>,
        state: &State,
        readiness: Readiness,
        in_read: &mut bool,
    ) -> Outcome<'py> {
        let py = slf.py();
        if state.descriptor.current(py)? == -1 {
            return Ok(Some(twisted::names(py)?.no_descriptor.bind(py).clone()));
        }
        if readiness.is_readable() {
            *in_read = true;
            let why = if Self::python_reads(state) {
                verdict(slf.call_method0(intern!(py, "doRead"))?)?
            } else {
                Self::read(slf, state)?
            };
            if why.is_some() {
                return Ok(why);
            }
        }
        if readiness.is_writable() && state.membership.is_writing() {
            *in_read = false;
            return if Self::python_writes(state) {
                verdict(slf.call_method0(intern!(py, "doWrite"))?)
            } else {
                Self::write_out(slf, state)
            };
        }
        Ok(None)
    }

    /// One read, handed to the protocol.
    fn read<'py>(slf: &Bound<'py, Self>, state: &State) -> Outcome<'py> {
        let py = slf.py();
        if let Some(layer) = state.tls.layer(py) {
            if Layer::is_protocol_of(&layer, state) {
                return Layer::read_from(&layer, slf, state);
            }
        }
        let records = match state.tls.records(py) {
            Some(records) if records.get().is_busy(py) => return Ok(None),
            Some(records) => Records::if_receiving(records, state)?,
            None => None,
        };
        let fd = lend(state.descriptor.current(py)?)?;
        let Some(mut buffer) = Self::take_buffer(py, state) else {
            return Ok(None);
        };
        let limit = state.buffer_size.get().min(buffer.len());
        let mut descriptors = Vec::new();
        let received = Self::receive(state, fd, &mut buffer[..limit], &mut descriptors);
        let data = match (received, &records) {
            (Err(error), _) => Err(error),
            (Ok(0), _) => Ok(Data::End),
            (Ok(length), None) => Ok(Data::Bytes(PyBytes::new(py, &buffer[..length]))),
            (Ok(length), Some(records)) => {
                let put = records.get().put(py, &buffer[..length]);
                Ok(Data::Records(put, records))
            }
        };
        Self::give_buffer(py, state, buffer);
        let data = match data {
            Ok(data) => data,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(_) => return Ok(Some(twisted::names(py)?.connection_lost.bind(py).clone())),
        };
        if !descriptors.is_empty() {
            Self::hand_over(slf, descriptors)?;
        }
        match data {
            Data::End => Self::end_of_input(py, state),
            Data::Bytes(data) => {
                let protocol = state.protocol(py)?;
                protocol.call_method1(intern!(py, "dataReceived"), (data,))?;
                if !state.tls.settled.get() {
                    tls::look(slf, state)?;
                }
                Ok(None)
            }
            Data::Records(put, records) => {
                put?;
                Records::deliver(records)?;
                Ok(None)
            }
        }
    }

    /// The reason that the end of what the peer sends is.
    pub(crate) fn end_of_input<'py>(py: Python<'py>, state: &State) -> Outcome<'py> {
        let names = twisted::names(py)?;
        let reason = if state.flags.peer_reset.get() {
            &names.connection_lost
        } else {
            &names.connection_done
        };
        Ok(Some(reason.bind(py).clone()))
    }

    /// `doWrite`: sends what is queued and, when nothing is left, does what was waiting for that.
    fn write_out<'py>(slf: &Bound<'py, Self>, state: &State) -> Outcome<'py> {
        let py = slf.py();
        let flags = &state.flags;
        let settled = state.tls.settle(py)?;
        if settled && (!flags.connected.get() || Self::python_writes(state)) {
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
            if !state.membership.is_reading() || !socket::has_input(fd) || Self::python_reads(state)
            {
                return Ok(Some(twisted::names(py)?.connection_lost.bind(py).clone()));
            }
            // What the peer sent before it broke off is read first.
            flags.send_failed.set(true);
            request_ready(py, state);
            return Self::read(slf, state);
        }
        if !state.queue.borrow().is_empty() {
            if !flags.blocked.replace(true) {
                Self::update(slf)?;
            }
            return Ok(None);
        }
        Self::set_writing(slf, false)?;
        let producer = state
            .producer
            .borrow()
            .as_ref()
            .map(|producer| producer.clone_ref(py));
        match producer {
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
        if !state.membership.is_writing() || Self::python_writes(state) {
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
        let drained = state.queue.borrow().is_empty();
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
        let others = waits || !Self::takes_writes(state) || Self::python_writes(state);
        if others || !state.queue.borrow().is_empty() {
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

    fn enqueue(state: &State, data: &Bound<'_, PyBytes>) {
        // The queue's own flow control is not asked: Twisted's rule, below, counts `bufferSize`.
        let _: Flow = state.queue.borrow_mut().push(Chunk::new(data));
    }

    /// Pauses a push producer while more than `bufferSize` bytes wait.
    pub(crate) fn pause_if_full(slf: &Bound<'_, Self>, state: &State) -> PyResult<()> {
        let py = slf.py();
        if !state.flags.streaming_producer.get() {
            return Ok(());
        }
        let producer = state
            .producer
            .borrow()
            .as_ref()
            .map(|producer| producer.clone_ref(py));
        let Some(producer) = producer else {
            return Ok(());
        };
        let full = if state.flags.passes_descriptors.get() {
            slf.call_method0(intern!(py, "_isSendBufferFull"))?
                .is_truthy()?
        } else {
            state.queue.borrow().len() > state.buffer_size.get()
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
        Self::enqueue(state, data);
        Self::pause_if_full(slf, state)?;
        Self::set_writing(slf, true)
    }

    fn write_sequence_plain(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let chunks = data.try_iter()?.collect::<PyResult<Vec<_>>>()?;
        for chunk in &chunks {
            bytes_only(chunk)?;
        }
        let state = slf.get().state(py);
        if !Self::takes_writes(state) || chunks.is_empty() {
            return Ok(());
        }
        for chunk in &chunks {
            let chunk = bytes_only(chunk)?;
            if !chunk.as_bytes().is_empty() {
                Self::enqueue(state, chunk);
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

    #[pyo3(name = "_doRead")]
    fn do_read<'py>(slf: &Bound<'py, Self>) -> Outcome<'py> {
        Self::read(slf, slf.get().state(slf.py()))
    }

    #[pyo3(name = "_doWrite")]
    fn do_write<'py>(slf: &Bound<'py, Self>) -> Outcome<'py> {
        Self::write_out(slf, slf.get().state(slf.py()))
    }

    /// Whether more than `bufferSize` bytes wait.
    #[pyo3(name = "_isSendBufferFull")]
    fn is_send_buffer_full(&self, py: Python<'_>) -> bool {
        let state = self.state(py);
        state.queue.borrow().len() > state.buffer_size.get()
    }

    #[pyo3(name = "_maybePauseProducer")]
    fn maybe_pause_producer(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::pause_if_full(slf, slf.get().state(slf.py()))
    }
}

/// What a read brought.
enum Data<'a, 'py> {
    End,
    Bytes(Bound<'py, PyBytes>),
    /// Ciphertext, with what came of handing it to OpenSSL.
    Records(PyResult<()>, &'a Bound<'py, Records>),
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

fn bytes_only<'a, 'py>(data: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, PyBytes>> {
    data.cast::<PyBytes>()
        .map_err(|_| PyTypeError::new_err("Data must be bytes"))
}

/// Sends once what is queued, up to [`SEND_LIMIT`]. A full socket is no error.
fn send(py: Python<'_>, state: &State) -> Result<(), PyErr> {
    let queue = state.queue.borrow();
    if queue.is_empty() {
        return Ok(());
    }
    let fd = lend(state.descriptor.current(py)?)?;
    let mut slices = [IoSlice::new(&[]); GATHER];
    let sent_now = match queue.fill_slices(&mut slices, SEND_LIMIT) {
        1 => socket::send(fd, &slices[0]),
        count => socket::send_vectored(fd, &slices[..count]),
    };
    let count = match sent_now {
        Ok(count) => count,
        Err(error) if would_block(&error) => 0,
        Err(error) => return Err(error.into()),
    };
    drop(queue);
    sent(state, count);
    Ok(())
}

/// Forgets `count` bytes of what is queued: they are sent.
pub(crate) fn sent(state: &State, count: usize) {
    let mut queue = state.queue.borrow_mut();
    // Dropped when the queue is not borrowed: a subclass of `bytes` may run code when it goes.
    let mut released = Released::default();
    queue.advance(count, &mut |chunk| released.keep(chunk));
    drop(queue);
    drop(released);
}

/// Chunks that are sent; the usual single one needs no allocation.
#[derive(Default)]
pub(crate) struct Released {
    first: Option<Chunk>,
    more: Vec<Chunk>,
}

impl Released {
    pub(crate) fn keep(&mut self, chunk: Chunk) {
        match self.first {
            None => self.first = Some(chunk),
            Some(_) => self.more.push(chunk),
        }
    }
}

fn would_block(error: &io::Error) -> bool {
    // ENOBUFS: out of memory for a moment, to be tried again like a full socket (as Twisted does).
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(NO_BUFFERS)
}

/// Closes a socket nobody asked the Python object of: politely, or with a reset.
pub(crate) fn close(owned: OwnedFd, orderly: bool) {
    use std::os::fd::AsFd;
    // A socket that is gone already needs neither.
    let _: io::Result<()> = if orderly {
        socket::shutdown_both(owned.as_fd())
    } else {
        socket::set_linger_zero(owned.as_fd())
    };
    drop(owned);
}
