//! The accept loop of a listening port.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};
use ropewalk::os::socket::{self, Address};

use crate::member::overrides;
use crate::sources::lend;
use crate::stream::Stream;
use crate::stream_addresses::{client_name, client_tuple, ipv4_address, is_ipv4};
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
    let welcome = Welcome::new(port, server)?;
    let mut accepted = 0;
    while accepted < limit {
        match accept(fd, unix) {
            Ok((connection, peer)) => {
                accepted += 1;
                welcome.welcome(connection, peer)?;
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

/// What a listening port accepts for, as it is while a batch is accepted.
struct Welcome<'a, 'py> {
    port: &'a Bound<'py, PyAny>,
    server: &'a Bound<'py, PyType>,
    /// Whether the port's addresses are plain IPv4 ones.
    plain_addresses: bool,
    /// Whether the transport's class begins natively.
    plain_begin: bool,
}

impl<'a, 'py> Welcome<'a, 'py> {
    fn new(port: &'a Bound<'py, PyAny>, server: &'a Bound<'py, PyType>) -> PyResult<Self> {
        let py = port.py();
        let build = &twisted::names(py)?.build_address;
        let plain_addresses =
            twisted::has_method(port, intern!(py, "_buildAddr"), build)? && is_ipv4(port)?;
        Ok(Self {
            port,
            server,
            plain_addresses,
            plain_begin: !overrides::<Stream>(server, intern!(py, "_begin"))?,
        })
    }

    /// Builds the protocol and the transport of one accepted connection.
    fn welcome(&self, connection: OwnedFd, peer: Address) -> PyResult<()> {
        let py = self.port.py();
        let client = match peer {
            Address::Inet(peer) => client_tuple(py, peer)?.into_any(),
            Address::Unix(peer) => client_name(py, &peer)?,
        };
        let address = match peer {
            Address::Inet(SocketAddr::V4(_)) if self.plain_addresses => ipv4_address(&client)?,
            _ => self
                .port
                .call_method1(intern!(py, "_buildAddr"), (&client,))?,
        };
        let factory = self.port.getattr(intern!(py, "factory"))?;
        let protocol = factory.call_method1(intern!(py, "buildProtocol"), (address,))?;
        if protocol.is_none() {
            return Ok(());
        }
        let session = self.port.getattr(intern!(py, "sessionno"))?;
        self.port
            .setattr(intern!(py, "sessionno"), session.add(1)?)?;
        let transport = self.new_transport(connection)?;
        if self.plain_begin {
            let client = client.cast::<PyTuple>()?;
            Stream::begin(&transport, &protocol, client, self.port, &session, None)?;
        } else {
            let begin = intern!(py, "_begin");
            transport.call_method1(begin, (&protocol, client, self.port, session))?;
        }
        protocol
            .call_method1(intern!(py, "makeConnection"), (transport,))
            .map(drop)
    }

    fn new_transport(&self, connection: OwnedFd) -> PyResult<Bound<'py, Stream>> {
        let py = self.port.py();
        let new = intern!(py, "__new__");
        let transport = self.server.call_method1(new, (self.server,))?;
        let transport = transport.cast_into::<Stream>()?;
        transport.get().adopt(py, connection);
        Ok(transport)
    }
}
