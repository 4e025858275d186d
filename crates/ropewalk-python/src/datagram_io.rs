//! What a native datagram port does when it is ready, and how it sends.
//!
//! The rules are those of `twisted.internet.udp.Port`: datagrams are delivered until none waits or
//! `maxThroughput` bytes were, and one is sent at once or not at all. What differs is how they are
//! fetched: many with one system call, before the first of them is delivered.

use std::io;

use pyo3::exceptions::PyOSError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt};
use ropewalk::os::{Readiness, socket};

use crate::datagram::{Datagram, Family, State};
use crate::datagram_addresses;
use crate::datagram_batch::Shared;
use crate::host::{Verdict, hang_up, lost, raised, verdict};
use crate::sources::lend;
use crate::twisted;

/// The most datagrams that one event delivers. Twisted counts bytes only, of which empty
/// datagrams have none.
const DATAGRAMS_PER_EVENT: usize = 1024;

/// `EMSGSIZE` on Linux, macOS and the BSDs in turn.
const MESSAGE_TOO_LONG: i32 = if cfg!(target_os = "linux") { 90 } else { 40 };

type Outcome<'py> = PyResult<Option<Bound<'py, PyAny>>>;

/// How an attempt to receive ended.
enum Received {
    /// Datagrams wait for delivery now. With `true` there may be more in the socket.
    Some(bool),
    /// There was none.
    Nothing,
    /// The peer of a connected port is not there.
    Refused,
}

impl Datagram {
    /// Delivers readiness: read, then write, as `_doReadOrWrite` of Twisted's poll-like reactors.
    pub(crate) fn deliver<'py>(slf: &Bound<'py, Self>, readiness: Readiness) -> Verdict<'py> {
        let py = slf.py();
        let state = slf.get().state(py);
        if Self::delivered_already(slf, state) {
            return (None, false);
        }
        let reading = state.membership.is_reading();
        if lost(readiness) && !Self::has_error(state, readiness) {
            return hang_up(py, reading);
        }
        let mut in_read = false;
        match Self::attempt(slf, state, readiness, &mut in_read) {
            Ok(why) => (why, in_read),
            Err(error) => (Some(raised(py, error)), in_read),
        }
    }

    /// Whether this is the second event of a turn, where the rest of a batch was asked for and the
    /// socket is readable as well. One is enough: what is left is asked for again.
    fn delivered_already(slf: &Bound<'_, Self>, state: &State) -> bool {
        let Ok(core) = Self::core(slf) else {
            return false;
        };
        let turn = core.get().state(slf.py()).datagrams.turn();
        state.delivered_in.replace(turn) == turn
    }

    /// Whether a read is to fetch an error. It is how a connected port hears that its peer is not
    /// there, and no reason to close it (Twisted's epoll and poll reactors do, without a word).
    ///
    /// An error that two reads in a row did not find will not go away: that is the port's end.
    fn has_error(state: &State, readiness: Readiness) -> bool {
        let flags = &state.flags;
        let native = Self::is_native(state) && !Self::python_reads(state);
        native
            && readiness.is_error()
            && !readiness.is_invalid()
            && state.membership.is_reading()
            && !flags.empty_error.replace(true)
    }

    fn attempt<'py>(
        slf: &Bound<'py, Self>,
        state: &State,
        readiness: Readiness,
        in_read: &mut bool,
    ) -> Outcome<'py> {
        let py = slf.py();
        if Self::current(slf)? == -1 {
            return Ok(Some(twisted::names(py)?.no_descriptor.bind(py).clone()));
        }
        let reads = readiness.is_readable() || state.flags.empty_error.get();
        if reads && state.membership.is_reading() {
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
            return verdict(slf.call_method0(intern!(py, "doWrite"))?);
        }
        Ok(None)
    }

    /// Whether `doRead` is Python's: of a subclass, or assigned on the instance.
    fn python_reads(state: &State) -> bool {
        state.flags.class_reads.get() || state.do_read.is_set()
    }

    fn read<'py>(slf: &Bound<'py, Self>, state: &State) -> Outcome<'py> {
        let py = slf.py();
        if !Self::is_native(state) || state.packet_limit.get().is_none() {
            return verdict(Self::inherited(slf, intern!(py, "doRead"), ())?);
        }
        let core = Self::core(slf)?;
        let shared = &core.get().state(py).datagrams;
        // A callback may stop the port, which then has no token or another one.
        let token = state.membership.token();
        let note = |waits| shared.note_waiting(token, waits);
        let outcome = Self::read_all(slf, state, shared, note);
        note(false);
        // A pause, a limit or an exception left the rest for later.
        Self::request_rest(slf);
        outcome.map(|()| None)
    }

    /// Delivers what waits, batch by batch. A port that is paused or closed meanwhile keeps the
    /// rest, or has none: it is as if that had not been received yet.
    ///
    /// `note` is told whether more waits behind the datagram that is delivered next.
    fn read_all(
        slf: &Bound<'_, Self>,
        state: &State,
        shared: &Shared,
        note: impl Fn(bool),
    ) -> PyResult<()> {
        let py = slf.py();
        let was_reading = state.membership.is_reading();
        let mut bytes = 0;
        let mut more = true;
        for _ in 0..DATAGRAMS_PER_EVENT {
            if was_reading && !state.membership.is_reading() || !Self::may_read(slf, bytes)? {
                return Ok(());
            }
            if state.waiting.borrow().is_empty() {
                if !more {
                    return Ok(());
                }
                match Self::receive(slf, state, shared)? {
                    Received::Some(maybe_more) => more = maybe_more,
                    Received::Nothing => return Ok(()),
                    Received::Refused => return Self::refused(slf, state),
                }
            }
            let next = state.waiting.borrow_mut().pop_front();
            let Some((data, address)) = next else {
                continue;
            };
            note(!state.waiting.borrow().is_empty());
            bytes += data.as_bytes(py).len();
            let delivered = Self::protocol_of(slf, state).and_then(|protocol| {
                protocol.call_method1(intern!(py, "datagramReceived"), (data, address))
            });
            if let Err(error) = delivered {
                twisted::report(py, "callback", &error);
            }
        }
        Ok(())
    }

    /// Whether `maxThroughput` allows for another datagram. Asked each time: closing sets it to -1.
    fn may_read(slf: &Bound<'_, Self>, bytes: usize) -> PyResult<bool> {
        let limit = slf.getattr(intern!(slf.py(), "maxThroughput"))?;
        match limit.extract::<i64>() {
            Ok(limit) => Ok(i64::try_from(bytes).is_ok_and(|bytes| bytes < limit)),
            Err(_) => limit.gt(bytes),
        }
    }

    /// Fetches a batch from the socket.
    fn receive(slf: &Bound<'_, Self>, state: &State, shared: &Shared) -> PyResult<Received> {
        let py = slf.py();
        let fd = lend(Self::current(slf)?)?;
        let limit = state.packet_limit.get().unwrap_or_default();
        let mut batch = shared.take_batch(limit);
        let count = match batch.receive(fd, batch.datagrams()) {
            Ok(count) => count,
            Err(error) => {
                shared.give_batch(batch);
                return Self::receive_failed(state, &error, py);
            }
        };
        for index in 0..count {
            let data = batch.data(index);
            let data = PyBytes::new(py, &data[..data.len().min(limit)]).unbind();
            let address = shared.addresses.of(py, batch.sender(index))?;
            // Borrowed no longer than that: new objects may have the collector run anything.
            state.waiting.borrow_mut().push_back((data, address));
        }
        let more = count == batch.datagrams();
        shared.give_batch(batch);
        state.flags.empty_error.set(false);
        Ok(Received::Some(more))
    }

    fn receive_failed(state: &State, error: &io::Error, py: Python<'_>) -> PyResult<Received> {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => return Ok(Received::Nothing),
            _ => state.flags.empty_error.set(false),
        }
        if error.kind() == io::ErrorKind::ConnectionRefused {
            return Ok(Received::Refused);
        }
        Err(os_error(py, error))
    }

    /// Tells a connected protocol that nobody listens where it sends to.
    fn refused(slf: &Bound<'_, Self>, state: &State) -> PyResult<()> {
        if state.flags.connected.get() {
            let protocol = Self::protocol_of(slf, state)?;
            protocol.call_method0(intern!(slf.py(), "connectionRefused"))?;
        }
        Ok(())
    }

    fn protocol_of<'py>(slf: &Bound<'py, Self>, state: &State) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        match state.protocol.value(py) {
            Some(protocol) => Ok(protocol.into_bound(py)),
            None => slf.getattr(intern!(py, "protocol")),
        }
    }

    /// Sends natively, where nothing is out of the ordinary; nothing is done and answered else.
    fn send<'py>(
        slf: &Bound<'py, Self>,
        state: &State,
        datagram: &Bound<'py, PyAny>,
        address: &Bound<'py, PyAny>,
    ) -> Outcome<'py> {
        let py = slf.py();
        let family = state.family.get();
        let Ok(data) = datagram.cast::<PyBytes>() else {
            return Ok(None);
        };
        if !Self::is_native(state) || family == Family::Other {
            return Ok(None);
        }
        let target = if state.flags.connected.get() {
            if !address.is_none() && !Self::is_peer(state, address)? {
                return Ok(None);
            }
            None
        } else {
            match datagram_addresses::parse(address, family) {
                Some(target) => Some(target),
                None => return Ok(None),
            }
        };
        let number = Self::current(slf)?;
        if number < 0 {
            return Ok(None);
        }
        let fd = lend(number)?;
        let sent = match target {
            Some(target) => socket::datagram::send_to(fd, data.as_bytes(), &target),
            None => socket::datagram::send(fd, data.as_bytes()),
        };
        match sent {
            Ok(sent) => Ok(Some(PyInt::new(py, sent).into_any())),
            Err(error) => Self::send_failed(slf, state, &error).map(Some),
        }
    }

    fn is_peer(state: &State, address: &Bound<'_, PyAny>) -> PyResult<bool> {
        let peer = state.connected_address.value(address.py());
        peer.map_or(Ok(false), |peer| address.eq(peer))
    }

    fn send_failed<'py>(
        slf: &Bound<'py, Self>,
        state: &State,
        error: &io::Error,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        if error.raw_os_error() == Some(MESSAGE_TOO_LONG) {
            return Err(twisted::message_too_long(py));
        }
        if error.kind() != io::ErrorKind::ConnectionRefused {
            return Err(os_error(py, error));
        }
        Self::refused(slf, state)?;
        Ok(py.None().into_bound(py))
    }
}

#[pymethods]
impl Datagram {
    /// Delivers what the socket has.
    #[pyo3(name = "_doRead")]
    fn do_read<'py>(slf: &Bound<'py, Self>) -> Outcome<'py> {
        Self::read(slf, slf.get().state(slf.py()))
    }

    /// `IUDPTransport.write`: sends a datagram now, to `addr` or to the peer of a connected port.
    #[pyo3(signature = (datagram, addr = None))]
    fn write<'py>(
        slf: &Bound<'py, Self>,
        datagram: &Bound<'py, PyAny>,
        addr: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let none = py.None().into_bound(py);
        let address = addr.unwrap_or(&none);
        let sent = Self::send(slf, slf.get().state(py), datagram, address)?;
        match sent {
            Some(result) => Ok(result),
            None => Self::inherited(slf, intern!(py, "write"), (datagram, address)),
        }
    }
}

/// `OSError` of the system's number and words, of the subclass that belongs to the number.
fn os_error(py: Python<'_>, error: &io::Error) -> PyErr {
    let Some(number) = error.raw_os_error() else {
        return PyOSError::new_err(error.to_string());
    };
    let words = py
        .import(intern!(py, "os"))
        .and_then(|os| os.call_method1(intern!(py, "strerror"), (number,)));
    match words {
        Ok(words) => PyOSError::new_err((number, words.unbind())),
        Err(error) => error,
    }
}
