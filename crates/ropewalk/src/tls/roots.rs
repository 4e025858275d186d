//! Whom to trust.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_platform_verifier::Verifier;

use super::pem::Pem;
use super::{ConfigError, Fault};

/// The root certificates that a peer's certificate has to lead to.
#[derive(Clone, Debug)]
pub struct Roots {
    platform: bool,
    own: Vec<CertificateDer<'static>>,
}

impl Roots {
    /// Those of the operating system, and its rules where it has any. On Linux and the BSDs they
    /// are read from its files each time that a [`TlsClient`](super::TlsClient) is built; the
    /// variables `SSL_CERT_FILE` and `SSL_CERT_DIR` name others.
    pub fn platform() -> Self {
        Self {
            platform: true,
            own: Vec::new(),
        }
    }

    /// The certificates of a PEM file, and no other.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], which names the file: unreadable, or no certificate in it.
    pub fn from_pem_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        Ok(Self::from_der(Pem::read(path.as_ref())?.certificates()?))
    }

    /// The certificates in `pem`, and no other.
    ///
    /// # Errors
    ///
    /// As [`from_pem_file`](Self::from_pem_file), without a file.
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Ok(Self::from_der(Pem::of(pem.as_ref()).certificates()?))
    }

    /// These certificates, and no other.
    pub fn from_der(certificates: Vec<CertificateDer<'static>>) -> Self {
        Self {
            platform: false,
            own: certificates,
        }
    }

    /// These as well as `others`.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.platform |= others.platform;
        self.own.extend(others.own);
        self
    }

    /// What checks the certificates of servers.
    pub(super) fn server_verifier(
        self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, ConfigError> {
        let provider = Arc::clone(provider);
        if self.platform {
            let verifier = platform_verifier(self.own, provider);
            return Ok(Arc::new(verifier.map_err(Fault::NoRoots)?));
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(self.store()?, provider).build();
        Ok(verifier.map_err(|error| Fault::NoRoots(error.to_string()))?)
    }

    /// What checks the certificates of clients.
    pub(super) fn client_verifier(
        self,
        provider: &Arc<CryptoProvider>,
        optional: bool,
    ) -> Result<Arc<dyn ClientCertVerifier>, ConfigError> {
        if self.platform {
            let text = "the platform's are for servers, not for clients";
            return Err(Fault::NoRoots(text.to_owned()).into());
        }
        let provider = Arc::clone(provider);
        let mut builder = WebPkiClientVerifier::builder_with_provider(self.store()?, provider);
        if optional {
            builder = builder.allow_unauthenticated();
        }
        let verifier = builder.build();
        Ok(verifier.map_err(|error| Fault::NoRoots(error.to_string()))?)
    }

    fn store(self) -> Result<Arc<RootCertStore>, ConfigError> {
        let mut store = RootCertStore::empty();
        for certificate in self.own {
            store.add(certificate).map_err(Fault::UnusableCertificate)?;
        }
        Ok(Arc::new(store))
    }
}

#[cfg(not(target_os = "android"))]
fn platform_verifier(
    own: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<Verifier, String> {
    Verifier::new_with_extra_roots(own, provider).map_err(|error| error.to_string())
}

#[cfg(target_os = "android")]
fn platform_verifier(
    own: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<Verifier, String> {
    if !own.is_empty() {
        return Err("Android's own verifier takes no other roots".to_owned());
    }
    Verifier::new(provider).map_err(|error| error.to_string())
}
