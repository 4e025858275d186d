//! What can go wrong, and whose fault it is.

use std::io;

use ropewalk_os::process::Step;

use crate::transport::{NetAddr, SendError};

/// A `Result` with ropewalk's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a reactor, a port, a connector or a [`Deferred`](crate::Deferred) fails with.
///
/// The end of a connection is no error: that is a [`Disconnect`].
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused a call that no peer has a part in.
    #[error("{op}: {source}")]
    Os {
        /// The system call, or the step that made it.
        op: &'static str,
        /// What the system said, `errno` included.
        source: io::Error,
    },

    /// The program called things in the wrong order.
    #[error(transparent)]
    Misuse(#[from] Misuse),

    /// A port could not be bound or listened on.
    #[error("cannot listen on {addr}: {source}")]
    CannotListen {
        /// The address that was asked for.
        addr: NetAddr,
        /// Why not: [`AddrInUse`](io::ErrorKind::AddrInUse),
        /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable),
        /// [`PermissionDenied`](io::ErrorKind::PermissionDenied), …
        source: io::Error,
    },

    /// A socket that was made elsewhere could not be taken over.
    #[error("cannot adopt the socket: {source}")]
    CannotAdopt {
        /// Why not: [`InvalidInput`](io::ErrorKind::InvalidInput) for one of the wrong kind,
        /// [`NotConnected`](io::ErrorKind::NotConnected), …
        source: io::Error,
    },

    /// Text that was to be an address is none.
    #[error("{text:?} is not an address; expected host:port")]
    InvalidAddress {
        /// The text as it was given.
        text: String,
    },

    /// A host name has no address, or the name service could not be asked.
    #[error("cannot resolve {name:?}: {source}")]
    Resolve {
        /// The host name.
        name: String,
        /// What the name service said.
        source: io::Error,
    },

    /// A connection could not be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),

    /// There is no child process.
    #[error("cannot run {program:?}: {step} failed: {source}")]
    Spawn {
        /// The program's name, as it was given.
        program: String,
        /// What failed.
        step: Step,
        /// What the system answered.
        source: io::Error,
    },

    /// A datagram was not sent.
    #[error(transparent)]
    Send(#[from] SendError),

    /// A configuration of TLS cannot be used.
    #[cfg(feature = "tls")]
    #[error("TLS: {0}")]
    Tls(#[from] crate::tls::ConfigError),

    /// A callback or a job panicked; the panic went no further.
    #[error("panicked: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },

    /// The sender of a [`Deferred`](crate::Deferred) was dropped before it fired.
    #[error("abandoned: nobody is left to give the result")]
    Abandoned,
}

impl Error {
    /// Wraps what `op`, a system call or the step that made it, failed with.
    pub(crate) fn os(op: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Os { op, source }
    }
}

/// A call in the wrong order: the program text shows it, and no input can cause it.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    /// `run` while the reactor runs.
    #[error("the reactor is running already")]
    AlreadyRunning,
    /// `stop` of a reactor that does not run, or that was told to stop already.
    #[error("the reactor is not running")]
    NotRunning,
    /// `run` of a reactor that was stopped. After a crash it may run again.
    #[error("a stopped reactor cannot be started again")]
    NotRestartable,
    /// The connector has no attempt under way.
    #[error("the connector is not connecting")]
    NotConnecting,
    /// The connector is connecting or connected already.
    #[error("the connector is in use")]
    ConnectorInUse,
    /// The port does not listen.
    #[error("the port is not listening")]
    NotListening,
    /// A producer is registered already.
    #[error("the transport has a producer already")]
    ProducerInUse,
    /// Only UNIX streams pass descriptors.
    #[error("only UNIX streams pass descriptors")]
    NotUnixStream,
    /// The connection speaks TLS, or is about to, where that must not be.
    #[error("the connection speaks TLS already")]
    TlsInUse,
    /// The connection has ended, or one of its sides has or is about to.
    #[error("the connection is not open both ways")]
    NotOpen,
    /// The descriptor is watched already.
    #[error("the descriptor is watched already")]
    AlreadyWatched,
}

/// Why a connection ended: data that every protocol is told, not an error.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Disconnect {
    /// Either side closed it cleanly.
    #[error("closed cleanly")]
    Done,
    /// It broke: reset by the peer, unreachable, timed out, …
    #[error("lost: {0}")]
    Lost(#[source] io::Error),
    /// The peers could not agree, one of them could not show who it is, or what came was not TLS or
    /// was tampered with.
    #[cfg(feature = "tls")]
    #[error("TLS failed: {0}")]
    Tls(#[source] crate::tls::TlsError),
    /// This side aborted it; data still queued was thrown away.
    #[error("aborted by this side")]
    Aborted,
    /// The reactor shut down and cut what was still connected.
    #[error("cut by the shutdown of the reactor")]
    Shutdown,
    /// A callback of its protocol panicked.
    #[error("a callback of its protocol panicked")]
    Panicked,
}

impl Disconnect {
    /// Whether the connection was closed cleanly, by either side.
    pub fn is_clean(&self) -> bool {
        matches!(self, Self::Done)
    }
}

impl Clone for Disconnect {
    /// Keeps the `errno` of a [`Lost`](Self::Lost); an error made by a program keeps its kind and
    /// its text.
    fn clone(&self) -> Self {
        match self {
            Self::Done => Self::Done,
            Self::Lost(error) => Self::Lost(clone_io_error(error)),
            #[cfg(feature = "tls")]
            Self::Tls(error) => Self::Tls(error.clone()),
            Self::Aborted => Self::Aborted,
            Self::Shutdown => Self::Shutdown,
            Self::Panicked => Self::Panicked,
        }
    }
}

/// Why a connection could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{kind}{}", self.detail())]
pub struct ConnectError {
    kind: ConnectErrorKind,
    source: Option<io::Error>,
}

/// The kinds of a [`ConnectError`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ConnectErrorKind {
    /// Nobody listens there (`ECONNREFUSED`).
    #[error("connection refused")]
    Refused,
    /// There is no such path (`ENOENT`): no UNIX socket was ever there, or its listener has removed
    /// it.
    #[error("no such socket")]
    NotFound,
    /// No living process holds the lock of the socket's path, as it has to be
    /// ([`UnixConnectOptions::check_lock`](crate::UnixConnectOptions::check_lock)).
    #[error("nobody holds the lock of the socket")]
    NotLocked,
    /// There is no way to the network or the host (`ENETUNREACH`, `EHOSTUNREACH`).
    #[error("no route to the host")]
    NoRoute,
    /// The system gave up waiting for the peer (`ETIMEDOUT`).
    #[error("the peer did not answer")]
    TimedOut,
    /// The connector's own time limit passed first.
    #[error("connecting took too long")]
    Timeout,
    /// The local address could not be bound.
    #[error("cannot bind the local address")]
    Bind,
    /// The host name could not be resolved.
    #[error("cannot resolve the host name")]
    Resolve,
    /// The program gave the attempt up.
    #[error("given up by the program")]
    Cancelled,
    /// The factory built no protocol for the connection, or panicked.
    #[error("no protocol for the connection")]
    NoProtocol,
    /// Any other refusal of the system; the source says which.
    #[error("cannot connect")]
    Os,
}

impl ConnectError {
    /// An error of `kind` with nothing to add.
    pub(crate) fn new(kind: ConnectErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// An error of `kind` caused by `source`.
    pub(crate) fn with_source(kind: ConnectErrorKind, source: io::Error) -> Self {
        Self {
            kind,
            source: Some(source),
        }
    }

    /// The error for what connect(2), or `SO_ERROR` after it, said.
    pub(crate) fn from_connect(source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::ConnectionRefused => ConnectErrorKind::Refused,
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
                ConnectErrorKind::NoRoute
            }
            io::ErrorKind::NotFound => ConnectErrorKind::NotFound,
            io::ErrorKind::TimedOut => ConnectErrorKind::TimedOut,
            _ => ConnectErrorKind::Os,
        };
        Self::with_source(kind, source)
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ConnectErrorKind {
        self.kind
    }

    /// What the system said, if it was asked.
    pub fn io_error(&self) -> Option<&io::Error> {
        self.source.as_ref()
    }

    fn detail(&self) -> String {
        self.source
            .as_ref()
            .map(|source| format!(": {source}"))
            .unwrap_or_default()
    }
}

impl Clone for ConnectError {
    fn clone(&self) -> Self {
        Self {
            kind: self.kind,
            source: self.source.as_ref().map(clone_io_error),
        }
    }
}

fn clone_io_error(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cloned_reason_keeps_its_errno() {
        let lost = Disconnect::Lost(io::Error::from_raw_os_error(104));
        let Disconnect::Lost(error) = lost.clone() else {
            panic!("still lost")
        };
        assert_eq!(error.raw_os_error(), Some(104));
    }

    #[test]
    fn a_cloned_reason_without_errno_keeps_kind_and_text() {
        let lost = Disconnect::Lost(io::Error::new(io::ErrorKind::UnexpectedEof, "short"));
        let Disconnect::Lost(error) = lost.clone() else {
            panic!("still lost")
        };
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (lost_kind(&lost), "short")
        );
    }

    fn lost_kind(reason: &Disconnect) -> io::ErrorKind {
        match reason {
            Disconnect::Lost(error) => error.kind(),
            other => panic!("{other} is not lost"),
        }
    }

    #[test]
    fn connect_errors_are_told_apart_by_errno() {
        let kind = |kind: io::ErrorKind| ConnectError::from_connect(kind.into()).kind();
        assert_eq!(
            kind(io::ErrorKind::ConnectionRefused),
            ConnectErrorKind::Refused
        );
        assert_eq!(
            kind(io::ErrorKind::NetworkUnreachable),
            ConnectErrorKind::NoRoute
        );
        assert_eq!(
            kind(io::ErrorKind::HostUnreachable),
            ConnectErrorKind::NoRoute
        );
        assert_eq!(kind(io::ErrorKind::TimedOut), ConnectErrorKind::TimedOut);
        assert_eq!(kind(io::ErrorKind::PermissionDenied), ConnectErrorKind::Os);
    }

    #[test]
    fn a_connect_error_says_what_the_system_said() {
        let error = ConnectError::from_connect(io::Error::from_raw_os_error(111));
        assert!(
            error.to_string().starts_with("connection refused: "),
            "{error}"
        );
        assert_eq!(
            ConnectError::new(ConnectErrorKind::Timeout).to_string(),
            "connecting took too long"
        );
    }
}
