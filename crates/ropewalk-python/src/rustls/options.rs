//! The configuration of `ropewalk.ssl`: the Rust face's, made from what Python has checked for its
//! types. Files are read and everything is checked here, when it is made.

use std::path::PathBuf;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use ropewalk::proto::tls::Session;
use ropewalk::tls::{
    self, ClientCertificates, ConfigError, Identities, TlsClient, TlsServer, Version,
};

use super::errors;
use crate::attached::Attached;

/// A certificate with its private key.
#[pyclass(frozen, name = "TLSIdentity", module = "ropewalk._ropewalk")]
pub(super) struct Identity(tls::Identity);

#[pymethods]
impl Identity {
    /// From PEM files.
    #[staticmethod]
    fn from_files(certificate: PathBuf, key: PathBuf) -> PyResult<Self> {
        let identity = tls::Identity::from_pem_files(certificate, key);
        identity.map(Self).map_err(refused)
    }

    /// From PEM in memory.
    #[staticmethod]
    fn from_pem(certificate: &[u8], key: &[u8]) -> PyResult<Self> {
        let identity = tls::Identity::from_pem(certificate, key);
        identity.map(Self).map_err(refused)
    }
}

/// Root certificates to trust.
#[pyclass(frozen, name = "TLSRoots", module = "ropewalk._ropewalk")]
pub(super) struct Roots(tls::Roots);

#[pymethods]
impl Roots {
    /// Those of the operating system.
    #[staticmethod]
    fn platform() -> Self {
        Self(tls::Roots::platform())
    }

    /// Those of a PEM file.
    #[staticmethod]
    fn from_file(path: PathBuf) -> PyResult<Self> {
        tls::Roots::from_pem_file(path).map(Self).map_err(refused)
    }

    /// Those in PEM in memory.
    #[staticmethod]
    fn from_pem(pem: &[u8]) -> PyResult<Self> {
        tls::Roots::from_pem(pem).map(Self).map_err(refused)
    }

    /// These as well as `others`.
    fn and_also(&self, others: &Bound<'_, Self>) -> Self {
        Self(self.0.clone().and(others.get().0.clone()))
    }
}

/// How a server speaks TLS.
#[pyclass(frozen, name = "TLSServer", module = "ropewalk._ropewalk")]
pub(super) struct Server(Attached<TlsServer>);

#[pymethods]
impl Server {
    /// `identity` is for clients that ask for no name, or for one that is not in `named`.
    #[new]
    fn new(
        identity: &Bound<'_, Identity>,
        named: Vec<(String, PyRef<'_, Identity>)>,
        client_roots: Option<&Bound<'_, Roots>>,
        require_certificate: bool,
        common: Common,
    ) -> PyResult<Self> {
        let clients = match client_roots.map(|roots| roots.get().0.clone()) {
            None => ClientCertificates::None,
            Some(roots) if require_certificate => ClientCertificates::Required(roots),
            Some(roots) => ClientCertificates::Optional(roots),
        };
        let mut builder = TlsServer::builder(identities(identity, &named))
            .client_certificates(clients)
            .alpn(&common.protocols)
            .versions(versions(&common)?)
            .resumption(common.sessions);
        if common.log_keys {
            builder = builder.log_keys();
        }
        let server = builder.build().map_err(refused)?;
        Ok(Self(Attached::new(server)))
    }

    /// Shows other identities in every handshake from now on.
    fn reload(
        &self,
        py: Python<'_>,
        identity: &Bound<'_, Identity>,
        named: Vec<(String, PyRef<'_, Identity>)>,
    ) -> PyResult<()> {
        let identities = identities(identity, &named);
        self.0.get(py).reload(identities).map_err(refused)
    }
}

impl Server {
    /// `protocols` are those of ALPN, if not the options'.
    pub(super) fn session(
        &self,
        py: Python<'_>,
        protocols: Option<Vec<Vec<u8>>>,
    ) -> PyResult<Session> {
        let server = self.0.get(py);
        let session = match protocols {
            None => server.session(),
            Some(protocols) => server.session_speaking(protocols),
        };
        session.map_err(refused)
    }
}

/// How a client speaks TLS, with any server.
#[pyclass(frozen, name = "TLSClient", module = "ropewalk._ropewalk")]
pub(super) struct Client(Attached<TlsClient>);

#[pymethods]
impl Client {
    /// Without `roots`, every certificate is accepted.
    #[new]
    fn new(
        roots: Option<&Bound<'_, Roots>>,
        identity: Option<&Bound<'_, Identity>>,
        server_name_is_sent: bool,
        common: Common,
    ) -> PyResult<Self> {
        let mut builder = TlsClient::builder()
            .sni(server_name_is_sent)
            .alpn(&common.protocols)
            .versions(versions(&common)?)
            .resumption(common.sessions);
        builder = match roots {
            Some(roots) => builder.roots(roots.get().0.clone()),
            None => builder.dangerous_accept_any_certificate(),
        };
        if let Some(identity) = identity {
            builder = builder.identity(identity.get().0.clone());
        }
        if common.log_keys {
            builder = builder.log_keys();
        }
        let client = builder.build().map_err(refused)?;
        Ok(Self(Attached::new(client)))
    }

    /// Raises a `ValueError` if no certificate could be for `hostname`.
    fn check_name(&self, py: Python<'_>, hostname: &str) -> PyResult<()> {
        self.session(py, hostname, None).map(drop)
    }
}

impl Client {
    /// `protocols` are those of ALPN, if not the options'.
    pub(super) fn session(
        &self,
        py: Python<'_>,
        hostname: &str,
        protocols: Option<Vec<Vec<u8>>>,
    ) -> PyResult<Session> {
        let client = self.0.get(py);
        let session = match protocols {
            None => client.session(hostname),
            Some(protocols) => client.session_speaking(hostname, protocols),
        };
        session.map_err(refused)
    }
}

/// What both sides are told.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Common {
    /// The protocols of ALPN.
    protocols: Vec<Vec<u8>>,
    /// The lowest and the highest version, as `ropewalk.ssl.TLSVersion` numbers them.
    minimum: u16,
    maximum: u16,
    /// Whether sessions may be resumed.
    sessions: bool,
    log_keys: bool,
}

fn identities(
    default: &Bound<'_, Identity>,
    named: &[(String, PyRef<'_, Identity>)],
) -> Identities {
    let first = Identities::new(default.get().0.clone());
    named.iter().fold(first, |all, (name, identity)| {
        all.named(name, identity.0.clone())
    })
}

fn versions(common: &Common) -> PyResult<Vec<Version>> {
    let wanted = |number| common.minimum <= number && number <= common.maximum;
    let known = [(TLS12, Version::Tls12), (TLS13, Version::Tls13)];
    let versions: Vec<_> = known
        .into_iter()
        .filter(|(number, _)| wanted(*number))
        .map(|(_, version)| version)
        .collect();
    if versions.is_empty() {
        let text = "there is no TLS version between the minimum and the maximum";
        return Err(PyValueError::new_err(text));
    }
    Ok(versions)
}

fn refused(error: ConfigError) -> PyErr {
    errors::of_configuration(&error)
}

/// The versions' numbers in the protocol.
pub(super) const TLS12: u16 = 0x0303;
pub(super) const TLS13: u16 = 0x0304;
