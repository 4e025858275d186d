//! The native base of datagram ports: `class Port(_ropewalk.Datagram, udp.Port)`.
//!
//! Receiving and sending are here and in [`crate::datagram_io`]; binding, connecting and closing
//! are inherited from Twisted's class. A port that is not what it seems (its socket is a stand-in,
//! a subclass keeps an attribute of its own) is served by Twisted's methods throughout.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::fd::RawFd;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit, intern};
use ropewalk::os::Readiness;

use crate::attached::Attached;
use crate::core::Core;
use crate::datagram_attributes::Slot;
use crate::host::Verdict;
use crate::member::{Member, Outcome, Overrides, OwnMethods, core_by_reactor, overrides};
use crate::membership::Membership;
use crate::sources::Source;

/// The native part of a datagram port.
#[pyclass(frozen, subclass, module = "ropewalk._ropewalk")]
pub(crate) struct Datagram {
    state: Attached<State>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) membership: Membership,
    overrides: Overrides,
    pub(crate) socket: Slot,
    /// `socket.fileno`, as Twisted's class keeps it on the instance.
    pub(crate) number: Slot,
    pub(crate) protocol: Slot,
    pub(crate) connected_address: Slot,
    pub(crate) logstr: Slot,
    pub(crate) max_packet_size: Slot,
    /// What was assigned to `doRead` on the instance.
    pub(crate) do_read: Slot,
    /// Received and not yet delivered, oldest first: the rest of a batch.
    pub(crate) waiting: RefCell<VecDeque<Arrival>>,
    /// The turn in which the port delivered last.
    pub(crate) delivered_in: Cell<u64>,
    pub(crate) family: Cell<Family>,
    /// `maxPacketSize`, if it is a size.
    pub(crate) packet_limit: Cell<Option<usize>>,
    pub(crate) flags: Flags,
}

/// A datagram as it is handed to a protocol: the data, and the sender's address (no address is made
/// for a protocol that is told none).
pub(crate) type Arrival = (Py<PyBytes>, Py<PyAny>);

/// What addresses the socket takes, where sending is native.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
    Unix,
    /// Another one, or the port has a family of its own in mind.
    #[default]
    Other,
}

#[derive(Default)]
pub(crate) struct Flags {
    /// Whether the socket is a real one of Python's.
    pub(crate) real_socket: Cell<bool>,
    /// Whether `_connectedAddr` names a peer.
    pub(crate) connected: Cell<bool>,
    /// Whether the last event told of an error that the socket did not have.
    pub(crate) empty_error: Cell<bool>,
    /// Whether the class is the one of UNIX ports with one peer, of which no address is told.
    pub(crate) class_connected: Cell<bool>,
    /// Whether a subclass overrides an attribute that is native here.
    pub(crate) class_attributes: Cell<bool>,
}

impl Datagram {
    pub(crate) fn state<'py>(&'py self, py: Python<'py>) -> &'py State {
        self.state.get(py)
    }

    /// Asks for what was received already to be delivered by the next dispatch.
    pub(crate) fn request_rest(slf: &Bound<'_, Self>) {
        let py = slf.py();
        let state = slf.get().state.get(py);
        if state.membership.is_reading() && !state.waiting.borrow().is_empty() {
            state.membership.request_ready(py, Readiness::READABLE);
        }
    }

    /// Notes what a subclass overrides.
    fn look_at_class(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let flags = &slf.get().state.get(py).flags;
        let class = slf.get_type();
        slf.get().state.get(py).overrides.look(slf)?;
        let connected = class.getattr(intern!(py, "_isConnected"))?;
        flags.class_connected.set(connected.is_truthy()?);
        let attributes = [
            intern!(py, "socket"),
            intern!(py, "fileno"),
            intern!(py, "protocol"),
            intern!(py, "maxPacketSize"),
            intern!(py, "_connectedAddr"),
        ];
        for name in attributes {
            if overrides::<Self>(&class, name)? {
                flags.class_attributes.set(true);
            }
        }
        Ok(())
    }

    /// The descriptor's number now: -1 once the port or its socket is closed.
    pub(crate) fn current(slf: &Bound<'_, Self>) -> PyResult<RawFd> {
        let py = slf.py();
        let state = slf.get().state.get(py);
        let number = match state.number.value(py) {
            Some(number) => number.bind(py).call0()?,
            None => slf.call_method0(intern!(py, "fileno"))?,
        };
        number.extract()
    }

    /// Whether the rules of Twisted's class are known to hold, so that native code may do its part.
    pub(crate) fn is_native(state: &State) -> bool {
        state.flags.real_socket.get() && !state.flags.class_attributes.get()
    }
}

impl Member for Datagram {
    fn membership<'py>(&'py self, py: Python<'py>) -> &'py Membership {
        &self.state.get(py).membership
    }

    fn overrides<'py>(&'py self, py: Python<'py>) -> &'py Overrides {
        &self.state.get(py).overrides
    }

    fn own_methods() -> &'static PyOnceLock<OwnMethods> {
        static OWN: PyOnceLock<OwnMethods> = PyOnceLock::new();
        &OWN
    }

    fn core(slf: &Bound<'_, Self>) -> PyResult<Py<Core>> {
        core_by_reactor(slf, || Self::look_at_class(slf))
    }

    fn number(slf: &Bound<'_, Self>) -> PyResult<RawFd> {
        Self::current(slf)
    }

    fn source(slf: &Bound<'_, Self>) -> Source {
        Source::Datagram(slf.clone().unbind())
    }

    fn interest_told(slf: &Bound<'_, Self>) {
        Self::request_rest(slf);
    }

    fn log_prefix_kept<'py>(slf: &Bound<'py, Self>) -> Option<Bound<'py, PyAny>> {
        let prefix = slf.get().state.get(slf.py()).logstr.value(slf.py());
        prefix.map(|prefix| prefix.into_bound(slf.py()))
    }

    /// Whether `doRead` is Python's: of a subclass, or assigned on the instance.
    fn python_reads(slf: &Bound<'_, Self>) -> bool {
        let state = slf.get().state.get(slf.py());
        state.overrides.reads() || state.do_read.is_set()
    }

    fn deliver<'py>(slf: &Bound<'py, Self>, readiness: Readiness) -> Verdict<'py> {
        Self::ready(slf, readiness)
    }

    fn read_in<'py>(slf: &Bound<'py, Self>) -> Outcome<'py> {
        Self::read(slf, slf.get().state.get(slf.py()))
    }
}

#[pymethods]
impl Datagram {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            state: Attached::new(State::default()),
        }
    }

    #[classattr]
    #[pyo3(name = "_isConnected")]
    fn is_connected() -> bool {
        false
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: this is `__traverse__`.
        let state = unsafe { self.state.get_in_traverse() };
        state.membership.traverse(&visit)?;
        for slot in state.slots() {
            slot.traverse(&visit)?;
        }
        // What waits for delivery are bytes and addresses, which refer to nothing.
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        let state = self.state.get(py);
        state.membership.clear();
        for slot in state.slots() {
            slot.clear();
        }
    }
}

impl State {
    fn slots(&self) -> [&Slot; 7] {
        [
            &self.socket,
            &self.number,
            &self.protocol,
            &self.connected_address,
            &self.logstr,
            &self.max_packet_size,
            &self.do_read,
        ]
    }
}
