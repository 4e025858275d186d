//! What a native datagram port does when it is ready: it receives.
//!
//! The rules are those of `twisted.internet.udp.Port` (and `unix.ConnectedDatagramPort`): datagrams
//! are delivered until none waits or `maxThroughput` bytes were. What differs is how they are
//! fetched: many with one system call, before the first of them is delivered.

use std::io;

use pyo3::exceptions::PyOSError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use ropewalk::os::Readiness;

use crate::datagram::{Arrival, Datagram, State};
use crate::datagram_batch::Shared;
use crate::host::{Verdict, hang_up, lost, verdict};
use crate::member::{Member, Outcome, inherited};
use crate::sources::lend;
use crate::twisted;

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
    pub(crate) fn ready<'py>(slf: &Bound<'py, Self>, readiness: Readiness) -> Verdict<'py> {
        let py = slf.py();
        let state = slf.get().state(py);
        if Self::delivered_already(slf, state) {
            return (None, false);
        }
        let reading = state.membership.is_reading();
        if lost(readiness) && !Self::has_error(slf, state, readiness) {
            return hang_up(py, reading);
        }
        let reads = readiness.is_readable() || state.flags.empty_error.get();
        Self::read_or_write(slf, reads && reading, readiness.is_writable())
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
    fn has_error(slf: &Bound<'_, Self>, state: &State, readiness: Readiness) -> bool {
        let flags = &state.flags;
        let native = Self::is_native(state) && !Self::python_reads(slf);
        native
            && readiness.is_error()
            && !readiness.is_invalid()
            && state.membership.is_reading()
            && !flags.empty_error.replace(true)
    }

    pub(crate) fn read<'py>(slf: &Bound<'py, Self>, state: &State) -> Outcome<'py> {
        let py = slf.py();
        if !Self::is_native(state) || state.packet_limit.get().is_none() {
            return verdict(inherited(slf, intern!(py, "doRead"), ())?);
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
        loop {
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
            let Some(next) = next else {
                continue;
            };
            note(!state.waiting.borrow().is_empty());
            bytes += next.0.as_bytes(py).len();
            match Self::hand_over(slf, state, next)? {
                Received::Some(_) => {}
                Received::Nothing => return Ok(()),
                Received::Refused => return Self::refused(slf, state),
            }
        }
    }

    /// Gives the protocol a datagram. What it raises is logged and over with.
    fn hand_over(
        slf: &Bound<'_, Self>,
        state: &State,
        (data, address): Arrival,
    ) -> PyResult<Received> {
        let py = slf.py();
        let connected = state.flags.class_connected.get();
        let delivered = Self::protocol_of(slf, state).and_then(|protocol| {
            let method = intern!(py, "datagramReceived");
            if connected {
                protocol.call_method1(method, (data,))
            } else {
                protocol.call_method1(method, (data, address))
            }
        });
        match delivered {
            Ok(_) => {}
            Err(error) if connected && error.is_instance_of::<PyOSError>(py) => {
                // Twisted's class takes it for the socket's.
                let number = error.value(py).getattr(intern!(py, "errno"))?;
                let own = number.extract().map(io::Error::from_raw_os_error);
                return own.ok().and_then(|own| usual(&own)).ok_or(error);
            }
            Err(error) => twisted::report(py, "callback", &error),
        }
        Ok(Received::Some(true))
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
    ///
    /// Not by the pace of the Rust face, which leaves a burst behind a lone datagram for later turns:
    /// Twisted's ports drain the socket before any timer runs.
    fn receive(slf: &Bound<'_, Self>, state: &State, shared: &Shared) -> PyResult<Received> {
        let py = slf.py();
        let fd = lend(Self::current(slf)?)?;
        let limit = state.packet_limit.get().unwrap_or_default();
        let mut batch = shared.take_batch(limit);
        let room = batch.datagrams();
        let count = match batch.receive(fd, room) {
            Ok(count) => count,
            Err(error) => {
                shared.give_batch(batch);
                return Self::receive_failed(state, &error, py);
            }
        };
        for index in 0..count {
            let data = batch.data(index);
            let data = PyBytes::new(py, &data[..data.len().min(limit)]).unbind();
            let address = if state.flags.class_connected.get() {
                py.None()
            } else {
                shared.addresses.of(py, batch.sender(index))?
            };
            // Borrowed no longer than that: new objects may have the collector run anything.
            state.waiting.borrow_mut().push_back((data, address));
        }
        shared.give_batch(batch);
        state.flags.empty_error.set(false);
        Ok(Received::Some(count == room))
    }

    fn receive_failed(state: &State, error: &io::Error, py: Python<'_>) -> PyResult<Received> {
        let usual = usual(error);
        if !matches!(usual, Some(Received::Nothing)) {
            state.flags.empty_error.set(false);
        }
        usual.ok_or_else(|| os_error(py, error))
    }

    /// Tells a connected protocol that nobody listens where it sends to.
    pub(crate) fn refused(slf: &Bound<'_, Self>, state: &State) -> PyResult<()> {
        let flags = &state.flags;
        if flags.connected.get() || flags.class_connected.get() {
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
}

#[pymethods]
impl Datagram {
    /// Delivers what the socket has.
    #[pyo3(name = "_doRead")]
    fn do_read<'py>(slf: &Bound<'py, Self>) -> Outcome<'py> {
        Self::read(slf, slf.get().state(slf.py()))
    }
}

/// What an error of receiving means that is no failure.
fn usual(error: &io::Error) -> Option<Received> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Some(Received::Nothing),
        io::ErrorKind::ConnectionRefused => Some(Received::Refused),
        _ => None,
    }
}

/// `OSError` of the system's number and words, of the subclass that belongs to the number.
pub(crate) fn os_error(py: Python<'_>, error: &io::Error) -> PyErr {
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
