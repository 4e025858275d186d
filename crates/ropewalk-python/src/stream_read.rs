//! What a native stream does when it is ready, and how it reads.
//!
//! The rule is that of `twisted.internet.tcp.Connection`: one read per event.

use std::io;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use ropewalk::os::Readiness;

use crate::host::{Verdict, hang_up, lost};
use crate::member::{Member, Outcome};
use crate::rustls::Layer;
use crate::sources::lend;
use crate::stream::{State, Stream};
use crate::tls::{self, Records};
use crate::twisted;

impl Stream {
    pub(crate) fn ready<'py>(slf: &Bound<'py, Self>, readiness: Readiness) -> Verdict<'py> {
        let py = slf.py();
        let state = slf.get().state(py);
        state.flags.ready_requested.set(false);
        if lost(readiness) {
            return hang_up(
                py,
                state.membership.is_reading() && !state.flags.peer_reset.get(),
            );
        }
        Self::read_or_write(slf, readiness.is_readable(), readiness.is_writable())
    }

    /// One read, handed to the protocol.
    pub(crate) fn read<'py>(slf: &Bound<'py, Self>, state: &State) -> Outcome<'py> {
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
}

#[pymethods]
impl Stream {
    #[pyo3(name = "_doRead")]
    fn do_read<'py>(slf: &Bound<'py, Self>) -> Outcome<'py> {
        Self::read(slf, slf.get().state(slf.py()))
    }
}

/// What a read brought.
enum Data<'a, 'py> {
    End,
    Bytes(Bound<'py, PyBytes>),
    /// Ciphertext, with what came of handing it to OpenSSL.
    Records(PyResult<()>, &'a Bound<'py, Records>),
}
