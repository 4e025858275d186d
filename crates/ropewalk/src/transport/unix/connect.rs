//! Connecting to UNIX sockets.

use super::{UnixAddr, UnixConnectOptions};
use crate::error::Result;
use crate::reactor::Reactor;
use crate::transport::{Address, ConnectOptions, Connector, Factory};

/// Connecting to UNIX sockets.
impl Reactor {
    /// Connects to a UNIX socket: a path, or an abstract name (text that begins with a zero byte,
    /// [`UnixAddr::abstract_name`]). `factory` makes the protocol and hears how the attempt ends,
    /// from the next turn on; a closure that takes the peer's address will do for a program that
    /// need not know of failures.
    ///
    /// While the listener's backlog is full, the attempt goes on until its time limit.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`](crate::Error::Misuse) when the reactor is gone. All else is told to
    /// [`Factory::connection_failed`]: [`NotFound`](crate::ConnectErrorKind::NotFound) where no
    /// such path is, [`Refused`](crate::ConnectErrorKind::Refused) where nobody listens any more.
    pub fn connect_unix(
        &self,
        address: impl Into<UnixAddr>,
        factory: impl Factory,
    ) -> Result<Connector> {
        self.connect_unix_with(address, UnixConnectOptions::new(), factory)
    }

    /// Connects as [`connect_unix`](Self::connect_unix) does, with other options than the usual
    /// ones.
    ///
    /// # Errors
    ///
    /// As [`connect_unix`](Self::connect_unix).
    pub fn connect_unix_with(
        &self,
        address: impl Into<UnixAddr>,
        options: UnixConnectOptions,
        factory: impl Factory,
    ) -> Result<Connector> {
        let destination = Address::unix(address.into());
        let attempts = ConnectOptions {
            timeout: options.timeout,
            bind: None,
            check_lock: options.check_lock,
        };
        Connector::start(&self.core, destination, attempts, Box::new(factory))
    }
}
