//! How to listen and how to connect on UNIX sockets.

use std::time::Duration;

use super::FileOptions;

/// How a UNIX port listens; see [`Reactor::listen_unix_with`](crate::Reactor::listen_unix_with).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct UnixListenOptions {
    pub(super) backlog: i32,
    pub(super) file: FileOptions,
}

impl Default for UnixListenOptions {
    /// A backlog of 50, the mode that the process's umask leaves, and no lock.
    fn default() -> Self {
        Self {
            backlog: 50,
            file: FileOptions::default(),
        }
    }
}

impl UnixListenOptions {
    /// The usual options.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many connections may wait to be accepted; the system has a limit of its own
    /// (listen(2)). Whoever connects when they are as many is refused or has to wait.
    pub fn backlog(self, backlog: i32) -> Self {
        Self { backlog, ..self }
    }

    /// The mode of the socket's file, set before anybody can connect: `0o600` for this user alone,
    /// `0o666` for everybody, as Twisted has it. On Linux, to connect takes the right to write. An
    /// abstract name has no mode.
    pub fn mode(self, mode: u32) -> Self {
        let mode = Some(mode);
        let file = FileOptions { mode, ..self.file };
        Self { file, ..self }
    }

    /// Whether a lock beside the socket, the path with `.lock` appended, says which process
    /// listens. What a killed process left, lock and socket, is then recovered, and
    /// [`UnixConnectOptions::check_lock`] can tell that nobody is there. It is Twisted's `wantPID`,
    /// and the same lock. An abstract name needs none, as it goes with its process.
    pub fn lock(self, lock: bool) -> Self {
        let file = FileOptions { lock, ..self.file };
        Self { file, ..self }
    }
}

/// How to connect to a UNIX socket; see
/// [`Reactor::connect_unix_with`](crate::Reactor::connect_unix_with).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct UnixConnectOptions {
    pub(super) timeout: Option<Duration>,
    pub(super) check_lock: bool,
}

impl Default for UnixConnectOptions {
    /// A time limit of 30 seconds, and no look at the lock.
    fn default() -> Self {
        Self {
            timeout: Some(Duration::from_secs(30)),
            check_lock: false,
        }
    }
}

impl UnixConnectOptions {
    /// The usual options.
    pub fn new() -> Self {
        Self::default()
    }

    /// The time for an attempt; `None` waits as long as the listener's backlog is full.
    pub fn timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        Self {
            timeout: timeout.into(),
            ..self
        }
    }

    /// Whether to fail at once ([`NotLocked`](crate::ConnectErrorKind::NotLocked)) when no live
    /// process holds the lock that [`UnixListenOptions::lock`] makes. It is Twisted's `checkPID`.
    /// An abstract name has no lock, and is not checked.
    pub fn check_lock(self, check_lock: bool) -> Self {
        Self { check_lock, ..self }
    }
}
