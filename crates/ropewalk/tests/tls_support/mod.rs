//! What the TLS tests share: an authority with the certificates it issues, both sides' settings,
//! and a peer that is driven step by step.
#![allow(
    dead_code,
    unused_imports,
    reason = "each test file uses its part of this"
)]

pub(crate) mod peer;

use std::rc::Rc;
use std::sync::LazyLock;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use ropewalk::tls::{Identity, Roots, ServerBuilder, TlsClient, TlsServer};
use ropewalk::{Disconnect, ListeningPort, Protocol, Reactor, Transport};

pub(crate) use self::peer::Peer;
use crate::tcp_support::{Log, Recorder, until};

/// Who issues the tests' certificates.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| authority("the tests' authority"));
static LOCALHOST: LazyLock<Issued> = LazyLock::new(|| issue(&["localhost", "127.0.0.1"]));

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    Authority {
        pem,
        issuer: Issuer::new(params, key),
    }
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Issued {
    pub(crate) fn identity(&self) -> Identity {
        Identity::from_pem(&self.certificate, &self.key).unwrap()
    }
}

/// A certificate for `names`, from the authority.
pub(crate) fn issue(names: &[&str]) -> Issued {
    issue_with(names, |_| ())
}

pub(crate) fn issue_with(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Issued {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &AUTHORITY.issuer).unwrap();
    Issued {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    }
}

/// For localhost and 127.0.0.1; the same each time.
pub(crate) fn localhost() -> Issued {
    LOCALHOST.clone()
}

/// The authority's certificate, as PEM.
pub(crate) fn authority_pem() -> &'static str {
    &AUTHORITY.pem
}

pub(crate) fn roots() -> Roots {
    Roots::from_pem(&AUTHORITY.pem).unwrap()
}

/// A certificate for localhost that nobody trusts.
pub(crate) fn stranger() -> Issued {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    Issued {
        certificate: made.cert.pem(),
        key: made.signing_key.serialize_pem(),
    }
}

pub(crate) fn server() -> TlsServer {
    server_builder().build().unwrap()
}

pub(crate) fn server_builder() -> ServerBuilder {
    TlsServer::builder(localhost().identity())
}

pub(crate) fn client() -> TlsClient {
    client_builder().build().unwrap()
}

pub(crate) fn client_builder() -> ropewalk::tls::ClientBuilder {
    TlsClient::builder().roots(roots())
}

/// Listens with one recorder for one connection, and connects a peer to it that has sent nothing.
pub(crate) fn serve_tls(
    reactor: &Reactor,
    tls: &TlsServer,
    log: &Rc<Log>,
    recorder: Recorder,
) -> (ListeningPort, Peer) {
    let mut recorder = Some(recorder);
    let factory = move |_| recorder.take().expect("one connection");
    let port = reactor.listen_tls("127.0.0.1:0", tls, factory).unwrap();
    let peer = Peer::client(port.local_addr(), peer::client_config());
    until(reactor, "a connection", || log.is_connected());
    (port, peer)
}

/// As [`serve_tls`], with the handshake done.
pub(crate) fn served(
    reactor: &Reactor,
    log: &Rc<Log>,
    recorder: Recorder,
) -> (ListeningPort, Peer) {
    let (port, mut peer) = serve_tls(reactor, &server(), log, recorder);
    peer.shake_hands(reactor);
    until(reactor, "the handshake", || log.has("handshake"));
    (port, peer)
}

/// Connects one recorder to another, both in this reactor.
pub(crate) fn pair(
    reactor: &Reactor,
    server: (&TlsServer, Recorder),
    client: (&TlsClient, Recorder),
) -> ListeningPort {
    let (tls, recorder) = server;
    let mut recorder = Some(recorder);
    let factory = move |_| recorder.take().expect("one connection");
    let port = reactor.listen_tls("127.0.0.1:0", tls, factory).unwrap();
    let (tls, recorder) = client;
    let mut recorder = Some(recorder);
    let factory = move |_| recorder.take().expect("one connection");
    let factory = tls.factory("localhost", factory).unwrap();
    reactor
        .connect_tcp(port.local_addr().to_string(), factory)
        .unwrap();
    port
}

/// Runs a case that needs both sides: their logs, after the handshake.
pub(crate) fn connected(
    reactor: &Reactor,
    server: (&TlsServer, &Rc<Log>),
    client: (&TlsClient, &Rc<Log>),
) -> ListeningPort {
    let port = pair(
        reactor,
        (server.0, Recorder::new(server.1)),
        (client.0, Recorder::new(client.1)),
    );
    until(reactor, "both handshakes", || {
        server.1.has("handshake") && client.1.has("handshake")
    });
    port
}
