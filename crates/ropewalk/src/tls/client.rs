//! A client's side of the configuration.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_proto::tls::Session;
use rustls::ClientConfig;
use rustls::KeyLogFile;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;

use super::dangerous::AnyCertificate;
use super::provider::provider;
use super::settings::{Limits, Settings, common_settings};
use super::start::{Role, Start};
use super::{ConfigError, Fault, Identity, Roots, Secured, TlsFactory, Version};
use crate::transport::{Factory, Protocol};

/// How many servers a client remembers sessions of.
const SESSIONS: usize = 256;

/// How a client speaks TLS: a cheap handle of one thread. Connections of one `TlsClient` and its
/// clones resume each other's sessions.
///
/// Making one reads the platform's roots, which takes milliseconds: make one, not one for each
/// connection.
///
/// # Examples
///
/// ```no_run
/// use ropewalk::tls::TlsClient;
/// # use ropewalk::{Protocol, Reactor, Transport};
/// # struct Get;
/// # impl Protocol for Get {
/// #     fn data_received(&mut self, _: &Transport, _: &[u8]) {}
/// # }
///
/// # fn main() -> ropewalk::Result<()> {
/// let reactor = Reactor::new()?;
/// let tls = TlsClient::new()?;
/// reactor.connect_tls("example.org:443", &tls, |_peer| Get)?;
/// // Any other connection may speak it, to whoever has a certificate for the name.
/// reactor.connect_unix("/run/proxy.sock", tls.factory("example.org", |_peer| Get)?)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    limits: Limits,
    /// One thread, as its counterpart.
    _local: std::marker::PhantomData<Rc<()>>,
}

/// Makes a [`TlsClient`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ClientBuilder {
    roots: Roots,
    any_certificate: bool,
    identity: Option<Identity>,
    sni: bool,
    settings: Settings,
}

impl ClientBuilder {
    common_settings!();

    /// What a server's certificate has to lead to; the platform's roots unless told.
    pub fn roots(self, roots: Roots) -> Self {
        Self { roots, ..self }
    }

    /// What to show to a server that asks for a certificate. Nothing unless told.
    pub fn identity(self, identity: Identity) -> Self {
        Self {
            identity: Some(identity),
            ..self
        }
    }

    /// Whether to tell the server which name is wanted (SNI), as far as it is one and not an
    /// address. Told unless switched off; the certificate is checked for the name either way.
    pub fn sni(self, sni: bool) -> Self {
        Self { sni, ..self }
    }

    /// Talks to anybody: with this, whoever sits in between can read and change everything. The
    /// roots are not used.
    pub fn dangerous_accept_any_certificate(self) -> Self {
        Self {
            any_certificate: true,
            ..self
        }
    }

    /// Makes the client's configuration.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]: no usable root, no version, no cryptography.
    pub fn build(self) -> Result<TlsClient, ConfigError> {
        let provider = provider()?;
        let verifier = match self.any_certificate {
            true => AnyCertificate::verifier(&provider),
            false => self.roots.server_verifier(&provider)?,
        };
        let versions = Version::supported(&self.settings.versions);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .map_err(Fault::Refused)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.key())))
            }
        };
        config.alpn_protocols = self.settings.alpn;
        config.enable_sni = self.sni;
        config.resumption = match self.settings.resumption {
            true => Resumption::in_memory_sessions(SESSIONS),
            false => Resumption::disabled(),
        };
        if self.settings.log_keys {
            config.key_log = Arc::new(KeyLogFile::new());
        }
        Ok(TlsClient::with_limits(config.into(), self.settings.limits))
    }
}

impl TlsClient {
    /// What may be told of a client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder {
            roots: Roots::platform(),
            any_certificate: false,
            identity: None,
            sni: true,
            settings: Settings::default(),
        }
    }

    /// A client that trusts the platform's roots, with the usual settings.
    ///
    /// # Errors
    ///
    /// As [`ClientBuilder::build`].
    pub fn new() -> Result<Self, ConfigError> {
        Self::builder().build()
    }

    /// Connects as `config` says, with the usual time limits. For what the builder does not know.
    pub fn from_rustls(config: Arc<ClientConfig>) -> Self {
        Self::with_limits(config, Limits::default())
    }

    fn with_limits(config: Arc<ClientConfig>, limits: Limits) -> Self {
        Self {
            config,
            limits,
            _local: std::marker::PhantomData,
        }
    }

    /// Has every connection whose protocol `inner` makes speak TLS from its start, with whoever has
    /// a certificate for `name`, a host name or an IP address.
    ///
    /// # Errors
    ///
    /// [`Fault::InvalidName`]: `name` is neither.
    pub fn factory<F: Factory>(&self, name: &str, inner: F) -> Result<TlsFactory<F>, ConfigError> {
        Ok(TlsFactory::new(inner, self.start(name)?))
    }

    /// Has the connection that `inner` is given speak TLS from its start, for example with
    /// [`adopt_stream`](crate::Reactor::adopt_stream).
    ///
    /// # Errors
    ///
    /// As [`factory`](Self::factory).
    pub fn protocol<P: Protocol>(&self, name: &str, inner: P) -> Result<Secured<P>, ConfigError> {
        Ok(Secured::new(inner, self.start(name)?))
    }

    /// A session without a stream, with whoever has a certificate for `name`, for a program that
    /// moves the bytes itself.
    ///
    /// # Errors
    ///
    /// As [`factory`](Self::factory), and [`Fault::Refused`]: the configuration cannot be used.
    pub fn session(&self, name: &str) -> Result<Session, ConfigError> {
        let name = server_name(name)?;
        Session::client(Arc::clone(&self.config), name).map_err(ConfigError::refused)
    }

    /// As [`session`](Self::session), with `protocols` in the place of the builder's (ALPN).
    ///
    /// # Errors
    ///
    /// As [`session`](Self::session).
    pub fn session_speaking(
        &self,
        name: &str,
        protocols: Vec<Vec<u8>>,
    ) -> Result<Session, ConfigError> {
        let name = server_name(name)?;
        let mut config = Arc::clone(&self.config);
        Arc::make_mut(&mut config).alpn_protocols = protocols;
        Session::client(config, name).map_err(ConfigError::refused)
    }

    pub(crate) fn start(&self, name: &str) -> Result<Start, ConfigError> {
        Ok(Start {
            role: Role::Client(Arc::clone(&self.config), server_name(name)?),
            limits: self.limits,
        })
    }
}

/// What the certificate has to be for. The scope of a link-local address says where it is, and is
/// no part of who it is.
fn server_name(name: &str) -> Result<ServerName<'static>, ConfigError> {
    let bare = match name.split_once('%') {
        Some((address, _)) if address.contains(':') => address,
        _ => name,
    };
    ServerName::try_from(bare.to_owned()).map_err(|_| Fault::InvalidName(name.to_owned()).into())
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
