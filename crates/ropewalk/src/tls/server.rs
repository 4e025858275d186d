//! A server's side of the configuration.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_proto::tls::Session;
use rustls::KeyLogFile;
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, WebPkiClientVerifier};

use super::provider::{provider, ticketer};
use super::settings::{Limits, Settings, common_settings};
use super::start::{Role, Start};
use super::{ConfigError, Fault, Identities, Roots, Secured, TlsFactory, Version};
use crate::transport::{Factory, Protocol};

/// How many sessions a server keeps in memory for clients without tickets.
const SESSIONS: usize = 1024;

/// How a server speaks TLS: a cheap handle of one thread, shared by all its ports and connections.
///
/// # Examples
///
/// ```no_run
/// use ropewalk::tls::{Identity, TlsServer};
/// # use ropewalk::{Protocol, Reactor, Transport};
/// # struct Echo;
/// # impl Protocol for Echo {
/// #     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
/// #         transport.write(data);
/// #     }
/// # }
///
/// # fn main() -> ropewalk::Result<()> {
/// let reactor = Reactor::new()?;
/// let tls = TlsServer::builder(Identity::from_pem_files("cert.pem", "key.pem")?)
///     .alpn(["http/1.1"])
///     .build()?;
/// reactor.listen_tls("0.0.0.0:443", &tls, |_peer| Echo)?;
/// // A port of any kind may speak it.
/// reactor.listen_unix("/run/echo.sock", tls.factory(|_peer| Echo))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TlsServer {
    shared: Rc<Shared>,
}

struct Shared {
    /// For the handshakes to come; those under way have their own reference.
    config: RefCell<Arc<ServerConfig>>,
    limits: Limits,
}

/// Whether clients have to show a certificate, and which roots it has to lead to.
#[derive(Clone, Debug, Default)]
pub enum ClientCertificates {
    /// Nobody is asked for one.
    #[default]
    None,
    /// Clients are asked, and may have none; a wrong one fails the handshake.
    Optional(Roots),
    /// A client without one fails the handshake.
    Required(Roots),
}

/// Makes a [`TlsServer`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ServerBuilder {
    identities: Identities,
    clients: ClientCertificates,
    settings: Settings,
}

impl ServerBuilder {
    common_settings!();

    /// Whether clients have to show a certificate; they are not asked unless told.
    pub fn client_certificates(self, clients: ClientCertificates) -> Self {
        Self { clients, ..self }
    }

    /// Makes the server's configuration.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]: no identity, no usable root for clients, no version, no cryptography.
    pub fn build(self) -> Result<TlsServer, ConfigError> {
        let provider = provider()?;
        let clients = match self.clients {
            ClientCertificates::None => WebPkiClientVerifier::no_client_auth(),
            ClientCertificates::Optional(roots) => roots.client_verifier(&provider, true)?,
            ClientCertificates::Required(roots) => roots.client_verifier(&provider, false)?,
        };
        let versions = Version::supported(&self.settings.versions);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .map_err(Fault::Refused)?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(self.identities.resolver()?);
        config.alpn_protocols = self.settings.alpn;
        resume(&mut config, self.settings.resumption)?;
        if self.settings.log_keys {
            config.key_log = Arc::new(KeyLogFile::new());
        }
        Ok(TlsServer::new_shared(config.into(), self.settings.limits))
    }
}

impl TlsServer {
    /// How to serve with `identities` (one [`Identity`](super::Identity) will do), and what may be
    /// told beyond that.
    pub fn builder(identities: impl Into<Identities>) -> ServerBuilder {
        ServerBuilder {
            identities: identities.into(),
            clients: ClientCertificates::default(),
            settings: Settings::default(),
        }
    }

    /// Serves with `identities` and the usual settings.
    ///
    /// # Errors
    ///
    /// As [`ServerBuilder::build`].
    pub fn new(identities: impl Into<Identities>) -> Result<Self, ConfigError> {
        Self::builder(identities).build()
    }

    /// Serves as `config` says, with the usual time limits. For what the builder does not know.
    pub fn from_rustls(config: Arc<ServerConfig>) -> Self {
        Self::new_shared(config, Limits::default())
    }

    fn new_shared(config: Arc<ServerConfig>, limits: Limits) -> Self {
        let config = RefCell::new(config);
        Self {
            shared: Rc::new(Shared { config, limits }),
        }
    }

    /// Shows `identities` in every handshake from now on, on all ports that have this server or a
    /// clone of it. Connections that are open, and sessions that are resumed, go on as they are.
    ///
    /// # Errors
    ///
    /// [`Fault::NoIdentity`]: there are none. All stays as it was.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use ropewalk::tls::{Identity, TlsServer};
    /// # fn renew(tls: &TlsServer) -> ropewalk::Result<()> {
    /// tls.reload(Identity::from_pem_files("cert.pem", "key.pem")?)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn reload(&self, identities: impl Into<Identities>) -> Result<(), ConfigError> {
        let resolver = identities.into().resolver()?;
        let mut config = ServerConfig::clone(&self.shared.config.borrow());
        config.cert_resolver = resolver;
        self.shared.config.replace(Arc::new(config));
        Ok(())
    }

    /// Has every connection whose protocol `inner` makes speak TLS from its start: for a port of
    /// any kind, and for a connector whose peer is the TLS client.
    pub fn factory<F: Factory>(&self, inner: F) -> TlsFactory<F> {
        TlsFactory::new(inner, self.start())
    }

    /// Has the connection that `inner` is given speak TLS from its start, for example with
    /// [`adopt_stream`](crate::Reactor::adopt_stream).
    pub fn protocol<P: Protocol>(&self, inner: P) -> Secured<P> {
        Secured::new(inner, self.start())
    }

    /// A session without a stream, for a program that moves the bytes itself.
    ///
    /// # Errors
    ///
    /// [`Fault::Refused`]: the configuration cannot be used.
    pub fn session(&self) -> Result<Session, ConfigError> {
        Session::server(self.config()).map_err(ConfigError::refused)
    }

    /// As [`session`](Self::session), with `protocols` in the place of the builder's (ALPN).
    ///
    /// # Errors
    ///
    /// As [`session`](Self::session).
    pub fn session_speaking(&self, protocols: Vec<Vec<u8>>) -> Result<Session, ConfigError> {
        let mut config = self.config();
        Arc::make_mut(&mut config).alpn_protocols = protocols;
        Session::server(config).map_err(ConfigError::refused)
    }

    pub(crate) fn start(&self) -> Start {
        Start {
            role: Role::Server(self.clone()),
            limits: self.shared.limits,
        }
    }

    /// The configuration for a handshake that begins now.
    fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.shared.config.borrow())
    }
}

fn resume(config: &mut ServerConfig, allowed: bool) -> Result<(), ConfigError> {
    if !allowed {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        return Ok(());
    }
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    if let Some(ticketer) = ticketer() {
        config.ticketer = ticketer.map_err(Fault::Refused)?;
    }
    Ok(())
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer")
            .field("limits", &self.shared.limits)
            .finish_non_exhaustive()
    }
}
