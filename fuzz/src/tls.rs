//! A TLS conversation in which the bytes to one side are tampered with at one place.

use std::sync::{Arc, OnceLock};

use rcgen::{CertificateParams, KeyPair};
use ropewalk_proto::WriteQueue;
use ropewalk_proto::tls::{Intake, MAX_RECORD, Session};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

/// What is done to the bytes on their way to the victim, which is everything in the input.
pub struct Tampering<'a> {
    /// Where in the stream, in bytes.
    position: usize,
    /// How many bytes are dropped there. The whole rest, when it is the largest number.
    dropped: usize,
    /// What comes in their place.
    inserted: &'a [u8],
    /// How many bytes the victim reads at a time; 0 for as many as there are.
    chunk: usize,
    flags: u8,
}

impl<'a> Tampering<'a> {
    pub fn parse(input: &'a [u8]) -> Option<Self> {
        let (head, inserted) = input.split_first_chunk::<6>()?;
        let [p, q, d, e, chunk, flags] = *head;
        Some(Self {
            position: usize::from(u16::from_le_bytes([p, q]) % STREAM),
            dropped: match u16::from_le_bytes([d, e]) {
                u16::MAX => usize::MAX,
                count => usize::from(count),
            },
            inserted,
            chunk: usize::from(chunk),
            flags,
        })
    }

    pub fn version(&self) -> &'static SupportedProtocolVersion {
        if self.flags & 1 == 0 { &TLS13 } else { &TLS12 }
    }

    /// Whether the victim's program does not read before the conversation has come to a halt.
    fn pauses(&self) -> bool {
        self.flags & 2 != 0
    }

    /// Whether nothing of what the other side sends arrives.
    fn replaces_everything(&self) -> bool {
        self.position == 0 && self.dropped == usize::MAX
    }

    /// Gives what becomes of `bytes`, which begin at `offset` of the stream.
    fn apply(&self, bytes: &[u8], offset: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for (place, &byte) in (offset..).zip(bytes) {
            if place == self.position {
                out.extend_from_slice(self.inserted);
            }
            if place < self.position || place - self.position >= self.dropped {
                out.push(byte);
            }
        }
        out
    }
}

/// Makes a client that trusts the server of [`server`].
pub fn client(version: &'static SupportedProtocolVersion) -> Session {
    let name = ServerName::try_from(NAME).unwrap();
    Session::client(configs(version).0.clone(), name).unwrap()
}

/// Makes a server.
pub fn server(version: &'static SupportedProtocolVersion) -> Session {
    Session::server(configs(version).1.clone()).unwrap()
}

type Configs = (Arc<ClientConfig>, Arc<ServerConfig>);

fn configs(version: &'static SupportedProtocolVersion) -> &'static Configs {
    static CONFIGS: OnceLock<[Configs; 2]> = OnceLock::new();
    let [older, newer] = CONFIGS.get_or_init(|| [&TLS12, &TLS13].map(make_configs));
    if version == &TLS12 { older } else { newer }
}

fn make_configs(version: &'static SupportedProtocolVersion) -> Configs {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([NAME.to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    (Arc::new(client), Arc::new(server))
}

/// Has the two talk until nothing moves, and checks what must hold whatever the victim is sent.
pub fn run(victim: Session, peer: impl FnOnce() -> Session, tampering: &Tampering<'_>) {
    let intake = if tampering.pauses() {
        Intake::Handshake
    } else {
        Intake::All
    };
    let message: Vec<u8> = (0..MESSAGE).map(|i| i as u8).collect();
    let mut victim = Side::new(victim, intake, true);
    victim.queue.push(message.clone());
    if tampering.replaces_everything() {
        victim.receive(tampering.inserted, tampering.chunk);
        victim.send();
    } else {
        let mut peer = Side::new(peer(), Intake::All, false);
        peer.queue.push(message.clone());
        talk(&mut victim, &mut peer, tampering);
    }
    if victim.intake == Intake::Handshake {
        victim.resume();
    }
    assert!(message.starts_with(&victim.read), "a forged message");
    if victim.session.end().is_ok() {
        assert_eq!(victim.read, message, "an unnoticed truncation");
    }
}

fn talk(victim: &mut Side, peer: &mut Side, tampering: &Tampering<'_>) {
    let mut offset = 0;
    loop {
        let sent = peer.send();
        let changed = tampering.apply(&sent, offset);
        offset += sent.len();
        victim.receive(&changed, tampering.chunk);
        let answer = victim.send();
        peer.receive(&answer, 0);
        if sent.is_empty() && answer.is_empty() {
            return;
        }
    }
}

struct Side {
    session: Session,
    queue: WriteQueue<Vec<u8>>,
    intake: Intake,
    is_victim: bool,
    /// Whether everything is sealed.
    closing: bool,
    read: Vec<u8>,
    buffer: Vec<u8>,
    spare: Vec<u8>,
}

impl Side {
    fn new(session: Session, intake: Intake, is_victim: bool) -> Self {
        Self {
            session,
            queue: WriteQueue::new(),
            intake,
            is_victim,
            closing: false,
            read: Vec::new(),
            buffer: vec![0; BUFFER],
            spare: Vec::new(),
        }
    }

    fn send(&mut self) -> Vec<u8> {
        let sealed = self
            .session
            .seal(&mut self.queue, 1024 * 1024, &mut drop)
            .unwrap();
        assert!(sealed == 0 || self.queue.is_empty());
        // rustls asserts, with debug assertions, that no bad record follows its own close_notify.
        // The session catches that, but libFuzzer ends at any panic. `-O` leaves assertions out.
        self.closing |= sealed > 0;
        if self.closing
            && (self.session.peer_closed() || !self.is_victim || !cfg!(debug_assertions))
        {
            self.session.close();
        }
        let bytes = self.session.outgoing().to_vec();
        assert!(bytes.len() <= MESSAGE + MAX_CONTROL, "unbounded output");
        self.session.advance(bytes.len(), &mut self.spare);
        bytes
    }

    fn receive(&mut self, mut bytes: &[u8], chunk: usize) {
        while !bytes.is_empty() {
            let start = self.session.begin_read(&mut self.buffer);
            let room = BUFFER - start;
            if room == 0 {
                assert_eq!(self.intake, Intake::Handshake);
                return;
            }
            let limit = if chunk == 0 { room } else { chunk.min(room) };
            let count = limit.min(bytes.len());
            self.buffer[start..start + count].copy_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            self.process(start + count);
        }
    }

    fn resume(&mut self) {
        self.intake = Intake::All;
        let length = self.session.begin_read(&mut self.buffer);
        self.process(length);
    }

    fn process(&mut self, length: usize) {
        let failed = self.session.failure().cloned();
        let closed = self.session.peer_closed();
        let input = &mut self.buffer[..length];
        let received = self.session.process(input, self.intake);
        assert!(received.plaintext <= length);
        self.read.extend_from_slice(&input[..received.plaintext]);
        assert_eq!(received.error.as_ref(), self.session.failure());
        if failed.is_some() || closed {
            assert_eq!(received.plaintext, 0, "data after the end");
        }
        if failed.is_some() {
            assert_eq!(received.error, failed, "a failure was replaced");
        }
        if received.error.is_some() || self.session.peer_closed() {
            assert_eq!(self.session.held(), 0);
        }
        if self.intake == Intake::All {
            assert!(self.session.held() < MAX_RECORD, "too much is held over");
            assert!(!self.session.has_pending(), "a whole record is left");
        }
    }
}

const NAME: &str = "ropewalk.test";

/// More than a side sends, in bytes, but not much: a tampering beyond it changes nothing.
const STREAM: u16 = 4096;

/// How long the message is that each side sends, in bytes.
const MESSAGE: usize = 600;

/// What a side may have to send besides, in bytes.
const MAX_CONTROL: usize = 16 * 1024;

/// The size of a read buffer, in bytes.
const BUFFER: usize = 64 * 1024;
