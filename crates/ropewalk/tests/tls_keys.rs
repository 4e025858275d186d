//! Keys that wear out, over every poller: by a provider whose keys are good for a few records.
#![cfg(feature = "aws-lc-rs")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod tls_support;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use ropewalk::tls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use ropewalk::tls::rustls::pki_types::pem::PemObject;
use ropewalk::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use ropewalk::tls::rustls::version::{TLS12, TLS13};
use ropewalk::tls::rustls::{
    CipherSuiteCommon, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
    Tls12CipherSuite, Tls13CipherSuite,
};
use ropewalk::tls::{TlsError, TlsServer};
use ropewalk::{Disconnect, ListeningPort, Producer, ProducerKind, Reactor, Transport};
use tcp_support::{Log, Recorder, over_every_poller, until};
use tls_support::{Peer, localhost, serve_tls};

over_every_poller! {
    keys_of_tls_1_3_are_renewed_and_nothing_is_lost,
    worn_out_keys_of_tls_1_2_end_the_connection_with_an_error,
    a_producer_of_a_connection_with_worn_out_keys_is_stopped,
    data_that_fits_the_keys_is_sent_and_the_connection_closed_in_order,
}

/// For how many records keys are good here.
const RECORDS: u64 = 10;

static WEAK: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    let usual = aws_lc_rs::default_provider();
    Arc::new(CryptoProvider {
        cipher_suites: usual.cipher_suites.iter().map(weakened).collect(),
        ..usual
    })
});

fn weakened(suite: &SupportedCipherSuite) -> SupportedCipherSuite {
    match suite {
        SupportedCipherSuite::Tls12(suite) => {
            let common = weak_common(&suite.common);
            let suite = Tls12CipherSuite { common, ..**suite };
            SupportedCipherSuite::Tls12(Box::leak(suite.into()))
        }
        SupportedCipherSuite::Tls13(suite) => {
            let common = weak_common(&suite.common);
            let suite = Tls13CipherSuite { common, ..**suite };
            SupportedCipherSuite::Tls13(Box::leak(suite.into()))
        }
    }
}

fn weak_common(common: &CipherSuiteCommon) -> CipherSuiteCommon {
    CipherSuiteCommon {
        confidentiality_limit: RECORDS,
        ..*common
    }
}

/// A server of one version whose keys wear out.
fn weak_server(version: &'static SupportedProtocolVersion) -> TlsServer {
    let issued = localhost();
    let chain = vec![CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::clone(&WEAK))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsServer::from_rustls(config.into())
}

/// A connection of that version whose handshake is done; the peer's keys are as usual.
fn connection(
    reactor: &Reactor,
    version: &'static SupportedProtocolVersion,
) -> (ListeningPort, Peer, Rc<Log>) {
    let log = Log::new();
    let tls = weak_server(version);
    let (port, mut peer) = serve_tls(reactor, &tls, &log, Recorder::new(&log));
    peer.shake_hands(reactor);
    until(reactor, "the handshake", || log.has("handshake"));
    (port, peer, log)
}

/// Data in which a lost, doubled or moved byte shows.
fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .take(length)
        .collect()
}

fn keys_of_tls_1_3_are_renewed_and_nothing_is_lost(reactor: &Reactor) {
    let (_port, mut peer, log) = connection(reactor, &TLS13);
    // One send of many records, and many of one.
    let sent = pattern(1_000_000);
    log.transport().write(&sent);
    peer.until(reactor, "a million bytes", |peer| {
        peer.received.len() == sent.len()
    });
    assert!(peer.received == sent);
    for round in 1..=100 {
        log.transport().write(&[round]);
        let wanted = sent.len() + usize::from(round);
        peer.until(reactor, "a byte", |peer| peer.received.len() == wanted);
        assert_eq!(peer.received[wanted - 1], round);
        peer.send(b"!");
        until(reactor, "an answer", || {
            log.received() == usize::from(round)
        });
    }
    log.transport().lose_connection();
    peer.until(reactor, "the close_notify", |peer| peer.closed);
    peer.say_goodbye();
    until(reactor, "the end", || log.is_lost());
    assert!(log.reason().is_clean(), "{}", log.reason());
}

fn is_worn_out(log: &Log) -> bool {
    matches!(log.reason(), Disconnect::Tls(TlsError::KeysExhausted))
}

fn worn_out_keys_of_tls_1_2_end_the_connection_with_an_error(reactor: &Reactor) {
    for piece in [1, 1000, 100_000] {
        let (_port, mut peer, log) = connection(reactor, &TLS12);
        let mut sent = Vec::new();
        while !log.is_lost() {
            sent.extend(pattern(piece));
            log.transport().write(&sent[sent.len() - piece..]);
            let count = sent.len();
            peer.until(reactor, "a piece, or the end", |peer| {
                peer.received.len() == count || log.is_lost()
            });
        }
        assert!(is_worn_out(&log), "{}", log.reason());
        assert!(log.reason().to_string().contains("used up"));
        // It hears that this is the end of what it gets, and gets all that could be sent.
        peer.until(reactor, "the peer's end", |peer| peer.ended.is_some());
        assert!(peer.closed && peer.error.is_none());
        assert!(sent.starts_with(&peer.received));
        // Pieces of a record and less are sent or not as wholes, one to a record.
        if piece < 16_384 {
            let pieces = peer.received.len() / piece;
            assert_eq!(peer.received.len(), pieces * piece);
            assert!(pieces > 2 && pieces < RECORDS as usize, "{pieces}");
            assert_eq!(
                sent.len(),
                (pieces + 1) * piece,
                "no piece before the last was lost"
            );
        }
    }
}

struct Endless {
    stopped: Rc<Cell<bool>>,
}

impl Producer for Endless {
    fn resume_producing(&self, consumer: &Transport) {
        consumer.write(&[7; 100]);
    }

    fn stop_producing(&self) {
        self.stopped.set(true);
    }
}

fn a_producer_of_a_connection_with_worn_out_keys_is_stopped(reactor: &Reactor) {
    let (_port, mut peer, log) = connection(reactor, &TLS12);
    let stopped = Rc::new(Cell::new(false));
    let endless = Endless {
        stopped: Rc::clone(&stopped),
    };
    let transport = log.transport();
    transport
        .register_producer(endless, ProducerKind::Pull)
        .unwrap();
    peer.until(reactor, "the end", |_| log.is_lost());
    assert!(is_worn_out(&log) && stopped.get(), "{}", log.reason());
    peer.until(reactor, "the peer's end", |peer| peer.ended.is_some());
    assert_eq!(peer.received.len() % 100, 0);
    assert!(peer.closed && !peer.received.is_empty());
}

fn data_that_fits_the_keys_is_sent_and_the_connection_closed_in_order(reactor: &Reactor) {
    let (_port, mut peer, log) = connection(reactor, &TLS12);
    for round in 1..=5 {
        log.transport().write(b"piece");
        peer.until(reactor, "a piece", |peer| peer.received.len() == 5 * round);
    }
    log.transport().lose_connection();
    peer.until(reactor, "the close_notify", |peer| peer.closed);
    peer.say_goodbye();
    until(reactor, "the end", || log.is_lost());
    assert!(log.reason().is_clean(), "{}", log.reason());
}
