//! How to listen and how to connect.

use std::net::SocketAddr;
use std::time::Duration;

/// How a port listens; see [`Reactor::listen_tcp_with`](crate::Reactor::listen_tcp_with).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct ListenOptions {
    pub(crate) backlog: i32,
    pub(crate) reuse_address: bool,
    pub(crate) reuse_port: bool,
    pub(crate) v6_only: Option<bool>,
}

impl Default for ListenOptions {
    /// A backlog of 50, and the address may be bound although old connections linger on it.
    fn default() -> Self {
        Self {
            backlog: 50,
            reuse_address: true,
            reuse_port: false,
            v6_only: None,
        }
    }
}

impl ListenOptions {
    /// The usual options.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many connections may wait to be accepted; the system has a limit of its own
    /// (listen(2)).
    pub fn backlog(self, backlog: i32) -> Self {
        Self { backlog, ..self }
    }

    /// Whether the port may be bound while connections of an earlier one linger (`SO_REUSEADDR`).
    pub fn reuse_address(self, reuse_address: bool) -> Self {
        Self {
            reuse_address,
            ..self
        }
    }

    /// Whether other sockets may listen on the same address (`SO_REUSEPORT`).
    pub fn reuse_port(self, reuse_port: bool) -> Self {
        Self { reuse_port, ..self }
    }

    /// Whether an IPv6 port refuses IPv4 peers (`IPV6_V6ONLY`); by default as the system is set up.
    pub fn v6_only(self, v6_only: bool) -> Self {
        Self {
            v6_only: Some(v6_only),
            ..self
        }
    }
}

/// How to connect; see [`Reactor::connect_tcp_with`](crate::Reactor::connect_tcp_with).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct ConnectOptions {
    pub(crate) timeout: Option<Duration>,
    pub(crate) bind: Option<SocketAddr>,
    /// Whether the lock of a UNIX socket's path has to be held.
    pub(crate) check_lock: bool,
}

impl Default for ConnectOptions {
    /// A time limit of 30 seconds, and any local address.
    fn default() -> Self {
        Self {
            timeout: Some(Duration::from_secs(30)),
            bind: None,
            check_lock: false,
        }
    }
}

impl ConnectOptions {
    /// The usual options.
    pub fn new() -> Self {
        Self::default()
    }

    /// The time for an attempt as a whole, name resolution and every address tried; `None` waits as
    /// long as the system does.
    pub fn timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        Self {
            timeout: timeout.into(),
            ..self
        }
    }

    /// The local address to connect from; port 0 lets the system choose one.
    pub fn bind(self, address: SocketAddr) -> Self {
        Self {
            bind: Some(address),
            ..self
        }
    }
}
