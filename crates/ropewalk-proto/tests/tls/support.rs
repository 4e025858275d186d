//! Certificates, configurations, and an end that drives a session as an embedder does.

use std::io::{ErrorKind, Read, Write};
use std::sync::{Arc, OnceLock};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};
use ropewalk_proto::WriteQueue;
use ropewalk_proto::tls::{Intake, Received, Session, TlsError};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, Connection, Error, RootCertStore, ServerConfig,
    ServerConnection, SupportedProtocolVersion,
};

pub const NAME: &str = "ropewalk.test";
pub const VERSIONS: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

/// A certificate chain and its key.
pub type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

pub fn issuer() -> &'static CertifiedIssuer<'static, KeyPair> {
    static ISSUER: OnceLock<CertifiedIssuer<'static, KeyPair>> = OnceLock::new();
    ISSUER.get_or_init(|| {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "ropewalk's test authority");
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    })
}

/// A certificate for `name`, signed by the issuer, as `change` has it.
pub fn identity_with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, issuer()).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    (vec![certificate.der().clone()], key)
}

pub fn identity(name: &str) -> Identity {
    identity_with(name, |_| {})
}

pub fn expired_identity() -> Identity {
    identity_with(NAME, |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    })
}

pub fn roots() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(issuer().der().clone()).unwrap();
    Arc::new(roots)
}

pub fn server_config(version: &'static SupportedProtocolVersion) -> ServerConfig {
    server_config_of(version, identity(NAME))
}

pub fn server_config_of(
    version: &'static SupportedProtocolVersion,
    (chain, key): Identity,
) -> ServerConfig {
    ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap()
}

/// A server that asks for a certificate of the issuer's.
pub fn demanding_server_config(version: &'static SupportedProtocolVersion) -> ServerConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(), provider.clone())
        .build()
        .unwrap();
    let (chain, key) = identity(NAME);
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap()
}

pub fn client_config(version: &'static SupportedProtocolVersion) -> ClientConfig {
    ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots())
        .with_no_client_auth()
}

pub fn name() -> ServerName<'static> {
    ServerName::try_from(NAME).unwrap()
}

/// A session and everything an embedder has around it.
pub struct End {
    pub session: Session,
    pub queue: WriteQueue<Vec<u8>>,
    pub read: Vec<u8>,
    pub intake: Intake,
    pub handshakes: usize,
    pub closes: usize,
    pub error: Option<TlsError>,
    buffer: Vec<u8>,
    spare: Vec<u8>,
}

impl End {
    pub fn new(session: Session) -> Self {
        Self {
            session,
            queue: WriteQueue::new(),
            read: Vec::new(),
            intake: Intake::All,
            handshakes: 0,
            closes: 0,
            error: None,
            buffer: vec![0; 64 * 1024],
            spare: Vec::new(),
        }
    }

    pub fn client(config: ClientConfig) -> Self {
        Self::new(Session::client(Arc::new(config), name()).unwrap())
    }

    pub fn server(config: ServerConfig) -> Self {
        Self::new(Session::server(Arc::new(config)).unwrap())
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.queue.push(bytes.to_vec());
    }

    /// Seals what is queued and takes everything that is to be sent.
    pub fn send(&mut self) -> Vec<u8> {
        self.session
            .seal(&mut self.queue, usize::MAX / 2, &mut drop)
            .unwrap();
        self.take()
    }

    /// Takes what is to be sent already.
    pub fn take(&mut self) -> Vec<u8> {
        let bytes = self.session.outgoing().to_vec();
        self.session.advance(bytes.len(), &mut self.spare);
        assert_eq!(self.session.outgoing(), b"");
        bytes
    }

    /// Receives `bytes`, as much at a time as the buffer has room for.
    pub fn receive(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let start = self.session.begin_read(&mut self.buffer);
            let count = bytes.len().min(self.buffer.len() - start);
            assert!(count > 0, "there is no room to read into");
            self.buffer[start..start + count].copy_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            self.process(start + count);
        }
    }

    /// Has the session process what it holds over.
    pub fn process_pending(&mut self) {
        let length = self.session.begin_read(&mut self.buffer);
        self.process(length);
    }

    fn process(&mut self, length: usize) {
        let input = &mut self.buffer[..length];
        let received = self.session.process(input, self.intake);
        self.read.extend_from_slice(&input[..received.plaintext]);
        let Received {
            handshake_completed,
            peer_closed,
            error,
            ..
        } = received;
        self.handshakes += usize::from(handshake_completed);
        self.closes += usize::from(peer_closed);
        self.error = error;
    }

    /// Takes what was received.
    pub fn take_read(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.read)
    }
}

/// Passes everything both ways until there is nothing more.
pub fn settle(left: &mut End, right: &mut End) {
    loop {
        let there = left.send();
        right.receive(&there);
        let back = right.send();
        left.receive(&back);
        if there.is_empty() && back.is_empty() {
            return;
        }
    }
}

/// A client and a server after their handshake.
pub fn connected(version: &'static SupportedProtocolVersion) -> (End, End) {
    let mut client = End::client(client_config(version));
    let mut server = End::server(server_config(version));
    settle(&mut client, &mut server);
    assert!(!client.session.is_handshaking() && !server.session.is_handshaking());
    (client, server)
}

pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

pub fn self_signed_identity() -> Identity {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([NAME.to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    (vec![certificate.der().clone()], key)
}

/// One of rustls's own connections, as the independent other side.
pub struct Peer(pub Connection);

impl Peer {
    pub fn client(config: ClientConfig) -> Self {
        Self(
            ClientConnection::new(Arc::new(config), name())
                .unwrap()
                .into(),
        )
    }

    pub fn server(config: ServerConfig) -> Self {
        Self(ServerConnection::new(Arc::new(config)).unwrap().into())
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.0.writer().write_all(bytes).unwrap();
    }

    pub fn send(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.0.wants_write() {
            self.0.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// Receives `bytes` and answers the plaintext in them.
    pub fn receive(&mut self, mut bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let mut plaintext = Vec::new();
        while !bytes.is_empty() {
            if self.0.read_tls(&mut bytes).unwrap() == 0 {
                break;
            }
            self.0.process_new_packets()?;
            match self.0.reader().read_to_end(&mut plaintext) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => panic!("{error}"),
                _ => {}
            }
        }
        Ok(plaintext)
    }
}

/// Passes everything both ways until there is nothing more, and answers what the peer read.
pub fn settle_peer(end: &mut End, peer: &mut Peer) -> Vec<u8> {
    let mut read = Vec::new();
    loop {
        let there = end.send();
        read.extend(peer.receive(&there).unwrap());
        let back = peer.send();
        end.receive(&back);
        if there.is_empty() && back.is_empty() {
            return read;
        }
    }
}

/// A small generator of repeatable numbers (xorshift).
pub struct Random(pub u64);

impl Random {
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.number() >> 32) as u8).collect()
    }

    /// A size of any magnitude up to 64 KiB.
    pub fn size(&mut self) -> usize {
        let bits = self.number() % 17;
        (self.number() % (1 << bits)) as usize + 1
    }
}
