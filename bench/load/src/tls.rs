//! The client's side of TLS. It offers one protocol version, cipher suite, group and signature, so
//! that all servers do the same cryptography, and fails when anything else comes of it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind,
    SignatureScheme, version,
};

use crate::Result;

/// More than the longest record, so that one read of a socket brings at least one.
const INPUT: usize = 64 * 1024;

/// Makes connections; those of one slot resume each other's sessions, if any do.
pub(crate) struct Connector {
    provider: Arc<CryptoProvider>,
    verifier: Arc<Pinned>,
    resume: bool,
    slots: Vec<Slot>,
}

struct Slot {
    config: Arc<ClientConfig>,
    used: bool,
}

impl Connector {
    /// Trusts the one certificate in the PEM file at `certificate`.
    pub(crate) fn new(certificate: &Path, resume: bool) -> Result<Self> {
        let provider = Arc::new(CryptoProvider {
            cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![kx_group::X25519],
            ..default_provider()
        });
        let verifier = Arc::new(Pinned {
            certificate: CertificateDer::from_pem_file(certificate)?,
            provider: Arc::clone(&provider),
        });
        Ok(Self {
            provider,
            verifier,
            resume,
            slots: Vec::new(),
        })
    }

    /// Begins TLS on a connected socket. Nothing is sent yet.
    pub(crate) fn open(&mut self, socket: OwnedFd, slot: usize) -> Result<TlsStream> {
        while self.slots.len() <= slot {
            let config = Arc::new(self.config()?);
            self.slots.push(Slot {
                config,
                used: false,
            });
        }
        let slot = &mut self.slots[slot];
        let expected = if self.resume && slot.used {
            HandshakeKind::Resumed
        } else {
            HandshakeKind::Full
        };
        slot.used = true;
        let name = ServerName::try_from("localhost")?;
        let mut session = ClientConnection::new(Arc::clone(&slot.config), name)?;
        session.set_buffer_limit(None);
        Ok(TlsStream {
            socket: TcpStream::from(socket),
            session,
            expected,
            input: vec![0; INPUT],
            start: 0,
            end: 0,
        })
    }

    /// Each slot has its own: rustls keeps at most eight tickets for a server.
    fn config(&self) -> Result<ClientConfig> {
        let verifier = Arc::clone(&self.verifier);
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.resumption = if self.resume {
            Resumption::in_memory_sessions(1)
        } else {
            Resumption::disabled()
        };
        Ok(config)
    }
}

/// Accepts one certificate, whoever issued it, and checks that the server has its key.
#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::UnknownIssuer.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 was not offered".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// A connection that behaves as its socket does: it blocks, or returns `WouldBlock`.
pub(crate) struct TlsStream {
    socket: TcpStream,
    session: ClientConnection,
    expected: HandshakeKind,
    /// What was read of the socket; `start..end` is not decrypted yet.
    input: Vec<u8>,
    start: usize,
    end: usize,
}

impl TlsStream {
    /// Waits for the end of the handshake; only on a blocking socket.
    pub(crate) fn shake_hands(&mut self) -> io::Result<()> {
        while self.session.is_handshaking() {
            self.session.complete_io(&mut self.socket)?;
        }
        Ok(())
    }

    /// How much of `data` was taken; what of it is not sent is [pending](Self::is_pending).
    pub(crate) fn send(&mut self, data: &[u8]) -> io::Result<usize> {
        self.flush()?;
        let taken = if self.is_pending() {
            0
        } else {
            self.session.writer().write(data)?
        };
        self.flush()?;
        Ok(taken)
    }

    /// Whether something has to be sent as soon as the socket takes it.
    pub(crate) fn is_pending(&self) -> bool {
        self.session.wants_write()
    }

    /// Fills `buffer` with what one read of the socket brings; 0 at the end. What the socket has
    /// brought is never kept back, unless `buffer` is full.
    pub(crate) fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut got = 0;
        while got < buffer.len() {
            match self.session.reader().read(&mut buffer[got..]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.decrypt(got == 0)? {
                        break;
                    }
                }
                Ok(0) => break,
                Ok(more) => got += more,
                Err(error) => return Err(error),
            }
        }
        Ok(got)
    }

    /// Whether there was something to decrypt; the socket is read only if `may_read`.
    fn decrypt(&mut self, may_read: bool) -> io::Result<bool> {
        if self.start == self.end {
            if !may_read {
                return Ok(false);
            }
            self.start = 0;
            self.end = 0;
            self.end = self.socket.read(&mut self.input)?;
            if self.end == 0 {
                return Ok(false);
            }
        }
        let mut rest = &self.input[self.start..self.end];
        self.session.read_tls(&mut rest)?;
        self.start = self.end - rest.len();
        self.session
            .process_new_packets()
            .map_err(io::Error::other)?;
        // The handshake may have an answer ready.
        self.flush()?;
        Ok(true)
    }

    /// Sends what is pending, as far as the socket takes it.
    fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                result => result?,
            };
        }
        Ok(())
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.session.send_close_notify();
        self.flush()
    }

    /// Fails unless the handshake was what it was meant to be.
    pub(crate) fn check(&self) -> Result<()> {
        let kind = self.session.handshake_kind();
        if kind != Some(self.expected) {
            return Err(format!("the handshake was {kind:?}, not {:?}", self.expected).into());
        }
        Ok(())
    }
}

impl AsFd for TlsStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for TlsStream {
    fn drop(&mut self) {
        // A peer that has gone needs no goodbye.
        let _ = self.finish();
    }
}
