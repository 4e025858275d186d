//! Who one side of a connection is: certificates with their keys, and which of them for whom.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error as RustlsError, InconsistentKeys};

use super::pem::Pem;
use super::provider::provider;
use super::{ConfigError, Fault};

/// A certificate, those between it and its root, and its private key. Cheap to clone.
///
/// It is checked when it is made: that the key is of a type in use and belongs to the certificate.
#[derive(Clone)]
pub struct Identity(Arc<CertifiedKey>);

impl Identity {
    /// Loads PEM files: the certificate, followed by those that lead to its root, and the private
    /// key (PKCS #8, PKCS #1 or SEC 1). Both may be in one file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], which names the file at fault.
    pub fn from_pem_files(
        certificates: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, ConfigError> {
        Self::from_parts(
            &Pem::read(certificates.as_ref())?,
            &Pem::read(key.as_ref())?,
        )
    }

    /// As [`from_pem_files`](Self::from_pem_files), from memory.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], which names no file.
    pub fn from_pem(
        certificates: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
    ) -> Result<Self, ConfigError> {
        Self::from_parts(&Pem::of(certificates.as_ref()), &Pem::of(key.as_ref()))
    }

    /// From what is parsed already.
    ///
    /// # Errors
    ///
    /// As [`from_pem`](Self::from_pem).
    pub fn from_der(
        certificates: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, ConfigError> {
        check(certificates, key)
            .map(Self)
            .map_err(|(_, fault)| fault.into())
    }

    /// A key that somebody else holds, a hardware module for example. Nothing is checked.
    pub fn from_rustls(key: Arc<CertifiedKey>) -> Self {
        Self(key)
    }

    /// The certificate and those that lead to its root.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.0.cert
    }

    pub(super) fn key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0)
    }

    fn from_parts(certificates: &Pem<'_>, key: &Pem<'_>) -> Result<Self, ConfigError> {
        let checked = check(certificates.certificates()?, key.key()?);
        checked.map(Self).map_err(|(part, fault)| match part {
            Part::Certificate => certificates.wrong(fault),
            Part::Key => key.wrong(fault),
            Part::Neither => fault.into(),
        })
    }
}

/// Which part of an identity is at fault.
enum Part {
    Certificate,
    Key,
    Neither,
}

fn check(
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<CertifiedKey>, (Part, Fault)> {
    let Some(first) = certificates.first() else {
        return Err((Part::Certificate, Fault::NoCertificate));
    };
    ParsedCertificate::try_from(first)
        .map_err(|error| (Part::Certificate, Fault::UnusableCertificate(error)))?;
    let provider = provider().map_err(|_| (Part::Neither, Fault::NoProvider))?;
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|error| (Part::Key, Fault::UnusableKey(error)))?;
    let identity = CertifiedKey::new(certificates, key);
    match identity.keys_match() {
        // A key that does not show its public half is believed.
        Ok(()) | Err(RustlsError::InconsistentKeys(InconsistentKeys::Unknown)) => {
            Ok(Arc::new(identity))
        }
        Err(RustlsError::InconsistentKeys(_)) => Err((Part::Key, Fault::KeyMismatch)),
        Err(error) => Err((Part::Certificate, Fault::UnusableCertificate(error))),
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("certificates", &self.0.cert.len())
            .finish_non_exhaustive()
    }
}

/// The identities of a server: which to show to a client that asks for a name (SNI), and which to
/// everybody else.
///
/// # Examples
///
/// ```no_run
/// use ropewalk::tls::{Identities, Identity};
///
/// # fn main() -> ropewalk::Result<()> {
/// let identities = Identities::new(Identity::from_pem_files("default.pem", "default.key")?)
///     .named("example.org", Identity::from_pem_files("org.pem", "org.key")?)
///     .named("*.example.org", Identity::from_pem_files("any.pem", "any.key")?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Identities {
    /// For a client that asks for no name, or for one that nobody has.
    default: Option<Identity>,
    /// By lower-case name.
    exact: HashMap<String, Identity>,
    /// By what follows the star, in lower case.
    wildcard: HashMap<String, Identity>,
}

impl Identities {
    /// One identity for everybody.
    pub fn new(default: Identity) -> Self {
        Self {
            default: Some(default),
            ..Self::default()
        }
    }

    /// None for clients that ask for no name or another than those that follow: their handshakes
    /// fail.
    pub fn named_only() -> Self {
        Self::default()
    }

    /// Shows `identity` to clients that ask for `name`, whatever names it is for. `*.example.org`
    /// stands for every name with one label more that has no identity of its own.
    #[must_use]
    pub fn named(mut self, name: &str, identity: Identity) -> Self {
        let name = name.to_ascii_lowercase();
        match name.strip_prefix("*.") {
            Some(rest) => self.wildcard.insert(rest.to_owned(), identity),
            None => self.exact.insert(name, identity),
        };
        self
    }

    fn is_empty(&self) -> bool {
        self.default.is_none() && self.exact.is_empty() && self.wildcard.is_empty()
    }

    fn find(&self, name: Option<&str>) -> Option<&Identity> {
        let named = name.and_then(|name| {
            // rustls gives it in lower case, and a final dot changes nothing.
            let name = name.strip_suffix('.').unwrap_or(name);
            let rest = name.split_once('.').map(|(_, rest)| rest);
            self.exact.get(name).or_else(|| self.wildcard.get(rest?))
        });
        named.or(self.default.as_ref())
    }

    pub(super) fn resolver(self) -> Result<Arc<dyn ResolvesServerCert>, ConfigError> {
        match self.is_empty() {
            true => Err(Fault::NoIdentity.into()),
            false => Ok(Arc::new(self)),
        }
    }
}

impl From<Identity> for Identities {
    fn from(identity: Identity) -> Self {
        Self::new(identity)
    }
}

impl ResolvesServerCert for Identities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name()).map(Identity::key)
    }
}
