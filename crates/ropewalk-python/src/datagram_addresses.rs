//! Between Python's addresses and the system's, without text being written for each datagram.

use std::cell::RefCell;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyString, PyTuple};
use ropewalk::os::socket::{Address, UnixAddr};

use crate::datagram::Family;
use crate::twisted;

/// The Python addresses of recent senders.
///
/// A sender's place is that of its hash, and another one may take it. The entries are strings and
/// tuples of a string and a number, which make no cycles, so the collector need not know of them.
#[derive(Default)]
pub(crate) struct Addresses(RefCell<Vec<Option<Known>>>);

/// A sender, and what Python calls it.
type Known = (Address, Py<PyAny>);

const PLACES: usize = 1024;

impl Addresses {
    /// A sender as Twisted's ports name it: host and port, the path of a UNIX socket or its
    /// abstract name, or `None`.
    pub(crate) fn of(&self, py: Python<'_>, sender: Option<Address>) -> PyResult<Py<PyAny>> {
        let Some(sender) = sender else {
            return Ok(py.None());
        };
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let place = hasher.hash_one(sender) as usize % PLACES;
        if let Some(Some((known, address))) = self.0.borrow().get(place) {
            if *known == sender {
                return Ok(address.clone_ref(py));
            }
        }
        let address = match sender {
            Address::Inet(sender) => host_and_port(py, sender)?.into_any().unbind(),
            Address::Unix(sender) => name(py, &sender)?.unbind(),
        };
        let mut places = self.0.borrow_mut();
        if places.is_empty() {
            places.resize_with(PLACES, || None);
        }
        let old = places[place].replace((sender, address.clone_ref(py)));
        drop(places);
        drop(old);
        Ok(address)
    }
}

fn host_and_port(py: Python<'_>, sender: SocketAddr) -> PyResult<Bound<'_, PyTuple>> {
    let host = match sender {
        SocketAddr::V6(sender) if sender.scope_id() != 0 => {
            let (flow, scope) = (sender.flowinfo(), sender.scope_id());
            twisted::numeric_host(py, (sender.ip().to_string(), sender.port(), flow, scope))?
        }
        _ => PyString::new(py, &sender.ip().to_string()).into_any(),
    };
    (host, sender.port()).into_pyobject(py)
}

/// The name of a UNIX socket as `recvfrom` gives it: text for a path, bytes for an abstract name.
fn name<'py>(py: Python<'py>, sender: &UnixAddr) -> PyResult<Bound<'py, PyAny>> {
    match sender.as_path() {
        Some(path) => Ok(path.as_os_str().into_pyobject(py)?.into_any()),
        None => Ok(PyBytes::new(py, sender.as_bytes()).into_any()),
    }
}

/// What `address` means, if it is a plain one of `family`: a pair of a literal host and a port, or
/// the name of a UNIX socket.
///
/// Everything else (host names, scopes, broadcast, wrong types and numbers) is for Python's socket
/// and Twisted's class to judge.
pub(crate) fn parse(address: &Bound<'_, PyAny>, family: Family) -> Option<Address> {
    match family {
        Family::V4 | Family::V6 => parse_host_and_port(address, family),
        Family::Unix => parse_name(address),
        Family::Other => None,
    }
}

fn parse_host_and_port(address: &Bound<'_, PyAny>, family: Family) -> Option<Address> {
    let address = address.cast_exact::<PyTuple>().ok()?;
    if address.len() != 2 {
        return None;
    }
    let host = address.get_borrowed_item(0).ok()?;
    let host = host.cast_exact::<PyString>().ok()?;
    let host = host.to_str().ok()?;
    let port = address.get_borrowed_item(1).ok()?;
    let port = port.cast_exact::<PyInt>().ok()?.extract().ok()?;
    let host = match family {
        Family::V4 => IpAddr::V4(host.parse::<Ipv4Addr>().ok()?),
        Family::V6 => IpAddr::V6(host.parse::<Ipv6Addr>().ok()?),
        Family::Unix | Family::Other => return None,
    };
    Some(SocketAddr::new(host, port).into())
}

fn parse_name(address: &Bound<'_, PyAny>) -> Option<Address> {
    let name = if let Ok(text) = address.cast_exact::<PyString>() {
        // Other text is encoded as the interpreter was told to.
        let text = text.to_str().ok().filter(|text| text.is_ascii())?;
        UnixAddr::from_bytes(text.as_bytes())
    } else {
        UnixAddr::from_bytes(address.cast_exact::<PyBytes>().ok()?.as_bytes())
    };
    let name = name.ok().filter(|name| !name.is_unnamed())?;
    Some(Address::Unix(name))
}
