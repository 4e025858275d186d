//! The addresses of streams as Python has them: what `accept` answers, and Twisted's objects.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};
use ropewalk::os::socket::UnixAddr;

use crate::twisted;

/// Whether the addresses of a port or a transport are plain IPv4 ones.
pub(crate) fn is_ipv4(transport: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = transport.py();
    let names = twisted::names(py)?;
    let ours = names.ipv4_address.bind(py);
    let class = transport.getattr(intern!(py, "_addressType"))?;
    Ok(class.is(ours) && ours.getattr(intern!(py, "__init__"))?.is(&names.ipv4_init))
}

/// `IPv4Address("TCP", *client)`, without the detour through the validator of its constant.
pub(crate) fn ipv4_address<'py>(client: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = client.py();
    let names = twisted::names(py)?;
    let client = client.cast::<PyTuple>()?;
    let class = names.ipv4_address.bind(py);
    let address = names.new_object.bind(py).call1((class,))?;
    address.setattr(intern!(py, "type"), intern!(py, "TCP"))?;
    address.setattr(intern!(py, "host"), client.get_item(0)?)?;
    address.setattr(intern!(py, "port"), client.get_item(1)?)?;
    Ok(address)
}

/// The address object of a transport for what the system calls `address`, if it is a plain one.
pub(crate) fn address_of<'py>(
    transport: &Bound<'py, PyAny>,
    address: SocketAddr,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    if !address.is_ipv4() || !is_ipv4(transport)? {
        return Ok(None);
    }
    let pair = client_tuple(transport.py(), address)?;
    ipv4_address(pair.as_any()).map(Some)
}

/// `ip` as text. The standard formatter takes fifteen times as long.
fn ipv4_text(py: Python<'_>, ip: Ipv4Addr) -> Bound<'_, PyString> {
    let mut text = [b'.'; 15];
    let mut length = 0;
    let mut put = |digit: u8| {
        text[length] = digit;
        length += 1;
    };
    for (index, octet) in ip.octets().into_iter().enumerate() {
        if index > 0 {
            put(b'.');
        }
        if octet >= 100 {
            put(b'0' + octet / 100);
        }
        if octet >= 10 {
            put(b'0' + octet / 10 % 10);
        }
        put(b'0' + octet % 10);
    }
    let text = std::str::from_utf8(&text[..length]).unwrap_or_default();
    PyString::new(py, text)
}

/// The peer's address as `socket.accept` gives it, an IPv6 scope being part of the host.
pub(crate) fn client_tuple<'py>(
    py: Python<'py>,
    peer: SocketAddr,
) -> PyResult<Bound<'py, PyTuple>> {
    match peer {
        SocketAddr::V4(peer) => (ipv4_text(py, *peer.ip()), peer.port()).into_pyobject(py),
        SocketAddr::V6(peer) => {
            let parts = (
                peer.ip().to_string(),
                peer.port(),
                peer.flowinfo(),
                peer.scope_id(),
            );
            let host = if peer.scope_id() == 0 {
                PyString::new(py, &parts.0).into_any()
            } else {
                twisted::numeric_host(py, parts.clone())?
            };
            (host, parts.1, parts.2, parts.3).into_pyobject(py)
        }
    }
}

/// The peer's name as `socket.accept` gives it: text for a path and where there is none, bytes for
/// an abstract name.
pub(crate) fn client_name<'py>(py: Python<'py>, peer: &UnixAddr) -> PyResult<Bound<'py, PyAny>> {
    if peer.as_abstract_name().is_some() {
        return Ok(PyBytes::new(py, peer.as_bytes()).into_any());
    }
    let path = OsStr::from_bytes(peer.as_bytes());
    Ok(path.into_pyobject(py)?.into_any())
}
