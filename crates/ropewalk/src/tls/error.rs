//! What is wrong with a configuration, and where.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use ropewalk_proto::tls::TlsError;
use rustls::pki_types::pem;

/// A configuration that cannot be used: which file, if it came from one, and why.
///
/// The text names both: `/etc/tls/key.pem: there is no private key in it`.
#[derive(Debug)]
pub struct ConfigError {
    path: Option<PathBuf>,
    fault: Fault,
}

/// What is wrong, in a [`ConfigError`].
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The file could not be read: it does not exist, may not be read, is a directory, …
    #[error("cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// What should be PEM is malformed. Text without any section is told as what is missing in it.
    #[error("malformed PEM: {0}")]
    Malformed(#[source] pem::Error),
    /// There is no certificate where one is needed.
    #[error("there is no certificate in it")]
    NoCertificate,
    /// There is no private key where one is needed.
    #[error("there is no private key in it")]
    NoKey,
    /// The private key is encrypted, and nobody is asked for passwords here.
    #[error("its private key is encrypted")]
    EncryptedKey,
    /// The cryptography in use knows no key of this type, or cannot read it.
    #[error("its private key is unusable: {0}")]
    UnusableKey(#[source] rustls::Error),
    /// A certificate cannot be read.
    #[error("its certificate is unusable: {0}")]
    UnusableCertificate(#[source] rustls::Error),
    /// The private key belongs to another certificate.
    #[error("its private key does not belong to the certificate")]
    KeyMismatch,
    /// A server without an identity, or a reload with none.
    #[error("a TLS server needs an identity")]
    NoIdentity,
    /// No root to trust: the platform has none, or those given are none.
    #[error("no root certificate to trust: {0}")]
    NoRoots(String),
    /// Neither a host name nor an IP address.
    #[error("{0:?} is no name that a certificate could be for")]
    InvalidName(String),
    /// The crate was built with neither `aws-lc-rs` nor `ring`, and the process has no
    /// [default provider](rustls::crypto::CryptoProvider::install_default).
    #[error("no cryptography: neither built in nor installed as the process's default")]
    NoProvider,
    /// rustls refuses the combination, for example no version that its provider can speak.
    #[error("refused: {0}")]
    Refused(#[source] rustls::Error),
}

impl ConfigError {
    /// The file that is at fault.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// What is wrong.
    pub fn fault(&self) -> &Fault {
        &self.fault
    }

    /// rustls refuses to start a session.
    pub(crate) fn refused(error: TlsError) -> Self {
        Self::from(Fault::Refused(match error {
            TlsError::Internal(source) => source,
            other => rustls::Error::General(other.to_string()),
        }))
    }

    /// Names the file, if there is one.
    pub(super) fn at(path: Option<&Path>) -> impl FnOnce(Fault) -> Self {
        let path = path.map(Path::to_path_buf);
        move |fault| Self { path, fault }
    }
}

impl From<Fault> for ConfigError {
    fn from(fault: Fault) -> Self {
        Self { path: None, fault }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{}: {}", path.display(), self.fault),
            None => self.fault.fmt(f),
        }
    }
}

impl Error for ConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.fault.source()
    }
}
