//! A TLS peer that is not ropewalk: rustls over a socket, moved on by hand.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ropewalk::Reactor;
use ropewalk::tls::rustls::pki_types::pem::PemObject;
use ropewalk::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use ropewalk::tls::rustls::{
    self, ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
};

use super::{authority_pem, localhost};
use crate::tcp_support::{LIMIT, connect};

/// One side of a connection, and what became of it.
pub(crate) struct Peer {
    pub(crate) tls: Connection,
    pub(crate) socket: TcpStream,
    pub(crate) received: Vec<u8>,
    /// close_notify came.
    pub(crate) closed: bool,
    /// The socket's end came, in order or not.
    pub(crate) ended: Option<io::Result<()>>,
    pub(crate) error: Option<rustls::Error>,
}

pub(crate) fn client_config() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let pem = authority_pem().as_bytes();
    roots
        .add(CertificateDer::from_pem_slice(pem).unwrap())
        .unwrap();
    ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// As [`client_config`], speaking one version only.
pub(crate) fn client_config_of(version: &'static rustls::SupportedProtocolVersion) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let pem = authority_pem().as_bytes();
    roots
        .add(CertificateDer::from_pem_slice(pem).unwrap())
        .unwrap();
    ClientConfig::builder_with_protocol_versions(&[version])
        .with_root_certificates(roots)
        .with_no_client_auth()
}

pub(crate) fn server_config() -> ServerConfig {
    let issued = localhost();
    let chain = vec![CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap()
}

impl Peer {
    /// Connects to a ropewalk server; nothing is sent yet.
    pub(crate) fn client(address: impl ToSocketAddrs, config: ClientConfig) -> Self {
        Self::on(connect(address), config)
    }

    /// A client on a socket that is connected.
    pub(crate) fn on(socket: TcpStream, config: ClientConfig) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        Self::new(tls.into(), socket)
    }

    /// A server on a socket that is connected.
    pub(crate) fn server(socket: TcpStream) -> Self {
        let tls = ServerConnection::new(Arc::new(server_config())).unwrap();
        Self::new(tls.into(), socket)
    }

    fn new(mut tls: Connection, socket: TcpStream) -> Self {
        tls.set_buffer_limit(None);
        socket.set_nonblocking(true).unwrap();
        Self {
            tls,
            socket,
            received: Vec::new(),
            closed: false,
            ended: None,
            error: None,
        }
    }

    /// Sends and receives what can be now.
    pub(crate) fn pump(&mut self) {
        self.flush();
        while self.ended.is_none() && self.read_once() {}
        self.flush();
    }

    pub(crate) fn flush(&mut self) {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Reading tells how the connection ended.
                Err(_) => return,
            }
        }
    }

    /// Reads and decrypts once. Answers whether there may be more.
    pub(crate) fn read_once(&mut self) -> bool {
        let mut buffer = vec![0; 65_536];
        match self.socket.read(&mut buffer) {
            Ok(0) => self.ended = Some(Ok(())),
            Ok(count) => self.take_in(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) => self.ended = Some(Err(error)),
        }
        self.error.is_none()
    }

    fn take_in(&mut self, mut bytes: &[u8]) {
        // After close_notify it takes nothing more.
        while !bytes.is_empty() && self.error.is_none() && !self.closed {
            self.tls.read_tls(&mut bytes).unwrap();
            self.process();
        }
    }

    fn process(&mut self) {
        match self.tls.process_new_packets() {
            Ok(state) => {
                self.closed |= state.peer_has_closed();
                let mut data = vec![0; state.plaintext_bytes_to_read()];
                self.tls.reader().read_exact(&mut data).unwrap();
                self.received.extend(data);
            }
            Err(error) => {
                self.error.get_or_insert(error);
                self.flush();
            }
        }
    }

    /// Turns the reactor and moves this side on until `done`, or fails.
    pub(crate) fn until(&mut self, reactor: &Reactor, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !done(self) {
            assert!(Instant::now() < deadline, "still waiting: {what}");
            self.pump();
            reactor.turn(Some(Duration::ZERO)).unwrap();
        }
    }

    /// Receives until this side has something to send.
    pub(crate) fn until_answered(&mut self, reactor: &Reactor) {
        let deadline = Instant::now() + LIMIT;
        while !self.tls.wants_write() {
            assert!(Instant::now() < deadline, "no answer");
            reactor.turn(Some(Duration::ZERO)).unwrap();
            self.read_once();
        }
    }

    pub(crate) fn shake_hands(&mut self, reactor: &Reactor) {
        self.until(reactor, "the peer's handshake", |peer| {
            !peer.tls.is_handshaking() && !peer.tls.wants_write()
        });
    }

    /// Encrypts `data` and sends it, as far as the system takes it.
    pub(crate) fn send(&mut self, data: &[u8]) {
        self.tls.writer().write_all(data).unwrap();
        self.flush();
    }

    /// Sends close_notify.
    pub(crate) fn say_goodbye(&mut self) {
        self.tls.send_close_notify();
        self.flush();
    }

    /// What TLS would send now, as bytes.
    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// Receives until the connection ends. Answers whether that was in order: close_notify, and
    /// then the end of the stream.
    pub(crate) fn end(&mut self, reactor: &Reactor) -> bool {
        self.until(reactor, "the peer's end", |peer| peer.ended.is_some());
        self.closed && matches!(self.ended, Some(Ok(())))
    }
}
