//! How native datagram ports send: at once or not at all, by the rules of `udp.Port`,
//! `unix.DatagramPort` and `unix.ConnectedDatagramPort` of Twisted in turn.
//!
//! Whatever is out of the ordinary (data other than `bytes`, addresses that are not plain) is left
//! to Twisted's method, which says what is wrong with it.

use std::io;
use std::os::fd::BorrowedFd;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt};
use ropewalk::os::socket::{self, Address};

use crate::datagram::{Datagram, Family, State};
use crate::datagram_addresses;
use crate::datagram_io::os_error;
use crate::member::{Outcome, inherited};
use crate::sources::lend;
use crate::twisted;

/// `EMSGSIZE` on Linux, macOS and the BSDs in turn.
const MESSAGE_TOO_LONG: i32 = if cfg!(target_os = "linux") { 90 } else { 40 };

impl Datagram {
    /// Sends over UDP natively, where nothing is out of the ordinary; nothing is done and answered
    /// else.
    fn send<'py>(
        slf: &Bound<'py, Self>,
        state: &State,
        datagram: &Bound<'py, PyAny>,
        address: &Bound<'py, PyAny>,
    ) -> Outcome<'py> {
        let family = state.family.get();
        if !matches!(family, Family::V4 | Family::V6) {
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
        match Self::send_now(slf, state, datagram, target.as_ref())? {
            Some(Err(error)) if !is_refusal(&error) => Err(failed(slf.py(), &error)),
            Some(Err(_)) => Self::refused(slf, state).map(|()| Some(none(slf))),
            Some(Ok(sent)) => Ok(Some(number(slf, sent))),
            None => Ok(None),
        }
    }

    fn is_peer(state: &State, address: &Bound<'_, PyAny>) -> PyResult<bool> {
        let peer = state.connected_address.value(address.py());
        peer.map_or(Ok(false), |peer| address.eq(peer))
    }

    /// As [`send`](Self::send), of a UNIX port: to a name, or to the peer of a port with one.
    fn send_unix<'py>(
        slf: &Bound<'py, Self>,
        state: &State,
        datagram: &Bound<'py, PyAny>,
        address: Option<&Bound<'py, PyAny>>,
    ) -> Outcome<'py> {
        if state.family.get() != Family::Unix {
            return Ok(None);
        }
        let target = match address.map(|address| datagram_addresses::parse(address, Family::Unix)) {
            Some(None) => return Ok(None),
            target => target.flatten(),
        };
        let Some(sent) = Self::send_now(slf, state, datagram, target.as_ref())? else {
            return Ok(None);
        };
        match sent {
            Ok(sent) => return Ok(Some(number(slf, sent))),
            // The peer has no room: the datagram is dropped, as a network would.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if is_refusal(&error) && address.is_none() => Self::refused(slf, state)?,
            Err(error) => return Err(failed(slf.py(), &error)),
        }
        Ok(Some(none(slf)))
    }

    /// Sends `bytes`, if it is that, from a port whose rules are known.
    fn send_now(
        slf: &Bound<'_, Self>,
        state: &State,
        datagram: &Bound<'_, PyAny>,
        target: Option<&Address>,
    ) -> PyResult<Option<io::Result<usize>>> {
        let Ok(data) = datagram.cast::<PyBytes>() else {
            return Ok(None);
        };
        if !Self::is_native(state) {
            return Ok(None);
        }
        let number = Self::current(slf)?;
        if number < 0 {
            return Ok(None);
        }
        let fd: BorrowedFd<'_> = lend(number)?;
        Ok(Some(match target {
            Some(target) => socket::datagram::send_to(fd, data.as_bytes(), target),
            None => socket::datagram::send(fd, data.as_bytes()),
        }))
    }
}

#[pymethods]
impl Datagram {
    /// `IUDPTransport.write`: sends a datagram now, to `addr` or to the peer of a connected port.
    #[pyo3(signature = (datagram, addr = None))]
    fn write<'py>(
        slf: &Bound<'py, Self>,
        datagram: &Bound<'py, PyAny>,
        addr: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let nothing = none(slf);
        let address = addr.unwrap_or(&nothing);
        match Self::send(slf, slf.get().state(slf.py()), datagram, address)? {
            Some(result) => Ok(result),
            None => inherited(slf, intern!(slf.py(), "write"), (datagram, address)),
        }
    }

    /// `IUNIXDatagramTransport.write`: sends a datagram now, to the socket of that name.
    #[pyo3(name = "_writeTo")]
    fn write_to<'py>(
        slf: &Bound<'py, Self>,
        datagram: &Bound<'py, PyAny>,
        address: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match Self::send_unix(slf, slf.get().state(slf.py()), datagram, Some(address))? {
            Some(result) => Ok(result),
            None => inherited(slf, intern!(slf.py(), "write"), (datagram, address)),
        }
    }

    /// `IUNIXDatagramConnectedTransport.write`: sends a datagram to the peer now.
    #[pyo3(name = "_writeToPeer")]
    fn write_to_peer<'py>(
        slf: &Bound<'py, Self>,
        data: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match Self::send_unix(slf, slf.get().state(slf.py()), data, None)? {
            Some(result) => Ok(result),
            None => inherited(slf, intern!(slf.py(), "write"), (data,)),
        }
    }
}

fn is_refusal(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}

/// What a caller is told of an error of sending.
fn failed(py: Python<'_>, error: &io::Error) -> PyErr {
    if error.raw_os_error() == Some(MESSAGE_TOO_LONG) {
        return twisted::message_too_long(py);
    }
    os_error(py, error)
}

fn none<'py>(slf: &Bound<'py, Datagram>) -> Bound<'py, PyAny> {
    slf.py().None().into_bound(slf.py())
}

fn number<'py>(slf: &Bound<'py, Datagram>, sent: usize) -> Bound<'py, PyAny> {
    PyInt::new(slf.py(), sent).into_any()
}
