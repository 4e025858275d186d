//! The accept loop of a listening port.

use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple, PyType};
use ropewalk::os::socket::{self, Address, UnixAddr};

use crate::member::Member;
use crate::sources::lend;
use crate::stream::Stream;
use crate::twisted;

/// `EPERM`: a packet filter refused the connection, which is gone; the next one may be fine.
const NOT_PERMITTED: i32 = 1;

/// Accepts at most `limit` connections for `port` and hands each to its factory's protocol.
///
/// `server` is the native transport class. Answers how many were accepted, and whether the system
/// refused one for a reason that the caller must look into (descriptors exhausted, say). What the
/// factory or the protocol raises ends the loop.
#[pyfunction]
pub(crate) fn accept_connections(
    port: &Bound<'_, PyAny>,
    server: &Bound<'_, PyType>,
    limit: usize,
) -> PyResult<(usize, bool)> {
    let py = port.py();
    let fd = lend(port.call_method0(intern!(py, "fileno"))?.extract()?)?;
    let unix = server.getattr(intern!(py, "_isUNIX"))?.is_truthy()?;
    let mut accepted = 0;
    while accepted < limit {
        match accept(fd, unix) {
            Ok((connection, peer)) => {
                accepted += 1;
                welcome(port, server, connection, peer)?;
                // The factory may have closed the port.
                if accepted < limit
                    && port.call_method0(intern!(py, "fileno"))?.extract::<i32>()? == -1
                {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.raw_os_error() == Some(NOT_PERMITTED) => accepted += 1,
            Err(_) => return Ok((accepted, true)),
        }
    }
    Ok((accepted, false))
}

/// Accepts one connection, of a UNIX socket or an internet one.
fn accept(fd: BorrowedFd<'_>, unix: bool) -> io::Result<(OwnedFd, Address)> {
    if unix {
        socket::unix::accept(fd).map(|(connection, peer)| (connection, peer.into()))
    } else {
        socket::accept(fd).map(|(connection, peer)| (connection, peer.into()))
    }
}

/// Builds the protocol and the transport of one accepted connection.
fn welcome(
    port: &Bound<'_, PyAny>,
    server: &Bound<'_, PyType>,
    connection: OwnedFd,
    peer: Address,
) -> PyResult<()> {
    let py = port.py();
    let client = match peer {
        Address::Inet(peer) => client_tuple(py, peer)?.into_any(),
        Address::Unix(peer) => client_name(py, &peer)?,
    };
    let address = port.call_method1(intern!(py, "_buildAddr"), (&client,))?;
    let factory = port.getattr(intern!(py, "factory"))?;
    let protocol = factory.call_method1(intern!(py, "buildProtocol"), (address,))?;
    if protocol.is_none() {
        return Ok(());
    }
    let session = port.getattr(intern!(py, "sessionno"))?;
    port.setattr(intern!(py, "sessionno"), session.add(1)?)?;
    let transport = server.call_method1(intern!(py, "__new__"), (server,))?;
    transport.cast::<Stream>()?.get().adopt(py, connection);
    let begin = intern!(py, "_begin");
    transport.call_method1(begin, (&protocol, client, port, session))?;
    protocol
        .call_method1(intern!(py, "makeConnection"), (transport,))
        .map(drop)
}

#[pymethods]
impl Stream {
    /// Starts as the transport of `protocol`, as Twisted's `tcp.Server` does when it is made; the
    /// descriptor is in place already.
    #[pyo3(name = "_begin", signature = (protocol, client, server, sessionno, reactor = None))]
    fn begin(
        slf: &Bound<'_, Self>,
        protocol: &Bound<'_, PyAny>,
        client: &Bound<'_, PyTuple>,
        server: &Bound<'_, PyAny>,
        sessionno: &Bound<'_, PyAny>,
        reactor: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let reactor = match reactor {
            Some(reactor) => reactor,
            None => server.getattr(intern!(py, "reactor"))?,
        };
        let core = reactor.getattr(intern!(py, "_core"))?;
        Self::attach(slf, core.cast()?)?;
        let hostname = client.get_item(0)?;
        let this = slf.as_any();
        this.setattr(intern!(py, "reactor"), reactor)?;
        this.setattr(intern!(py, "client"), client)?;
        this.setattr(intern!(py, "hostname"), &hostname)?;
        this.setattr(intern!(py, "server"), server)?;
        this.setattr(intern!(py, "sessionno"), sessionno)?;
        if client.len() == 4 {
            let ipv6 = twisted::names(py)?.ipv6_address.bind(py);
            this.setattr(intern!(py, "_addressType"), ipv6)?;
        }
        let state = slf.get().state(py);
        let old = state.protocol.replace(Some(protocol.clone().unbind()));
        drop(old);
        let prefix = slf.call_method1(intern!(py, "_getLogPrefix"), (protocol,))?;
        let prefix = format!("{prefix},{sessionno},{hostname}");
        let prefix = PyString::new(py, &prefix).into_any().unbind();
        let old = state.logstr.replace(Some(prefix));
        drop(old);
        if !server.is_none() {
            let class = protocol.getattr(intern!(py, "__class__"))?;
            let name = class.getattr(intern!(py, "__name__"))?;
            let number = server.getattr(intern!(py, "_realPortNumber"))?;
            let text = format!("<{name} #{sessionno} on {number}>");
            this.setattr(intern!(py, "repstr"), text)?;
        }
        Self::set_reading(slf, true)?;
        state.flags.connected.set(true);
        Ok(())
    }
}

/// The peer's address as `socket.accept` gives it, an IPv6 scope being part of the host.
fn client_tuple<'py>(py: Python<'py>, peer: SocketAddr) -> PyResult<Bound<'py, PyTuple>> {
    match peer {
        SocketAddr::V4(peer) => {
            (PyString::new(py, &peer.ip().to_string()), peer.port()).into_pyobject(py)
        }
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
fn client_name<'py>(py: Python<'py>, peer: &UnixAddr) -> PyResult<Bound<'py, PyAny>> {
    if peer.as_abstract_name().is_some() {
        return Ok(PyBytes::new(py, peer.as_bytes()).into_any());
    }
    let path = OsStr::from_bytes(peer.as_bytes());
    Ok(path.into_pyobject(py)?.into_any())
}
