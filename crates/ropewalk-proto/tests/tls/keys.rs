//! Against rustls's own connections: the same data, and keys that change or wear out.

use ropewalk_proto::tls::TlsError;
use rustls::crypto::CryptoProvider;
use rustls::{
    CipherSuiteCommon, ClientConfig, SupportedCipherSuite, SupportedProtocolVersion,
    Tls12CipherSuite, Tls13CipherSuite,
};

use crate::stream::records;
use crate::support::*;

#[test]
fn a_client_understands_another_server() {
    for version in VERSIONS {
        let mut client = End::client(client_config(version));
        let mut server = Peer::server(server_config(version));
        check_against(&mut client, &mut server);
    }
}

#[test]
fn a_server_understands_another_client() {
    for version in VERSIONS {
        let mut client = Peer::client(client_config(version));
        let mut server = End::server(server_config(version));
        check_against(&mut server, &mut client);
    }
}

fn check_against(end: &mut End, peer: &mut Peer) {
    let mut random = Random(77);
    settle_peer(end, peer);
    for _ in 0..50 {
        let there = random.bytes(random.0 as usize % 50_000);
        let back = random.bytes(random.0 as usize % 50_000);
        end.write(&there);
        peer.write(&back);
        assert!(settle_peer(end, peer) == there);
        assert!(end.take_read() == back);
    }
    end.session.close();
    peer.0.send_close_notify();
    settle_peer(end, peer);
    assert!(peer.0.process_new_packets().unwrap().peer_has_closed());
    assert_eq!((end.closes, end.session.end()), (1, Ok(())));
}

#[test]
fn new_keys_of_the_peer_are_followed_and_answered_before_the_next_data() {
    let mut client = Peer::client(client_config(VERSIONS[1]));
    let mut server = End::server(server_config(VERSIONS[1]));
    settle_peer(&mut server, &mut client);
    for round in 0..100_u8 {
        client.0.refresh_traffic_keys().unwrap();
        client.write(&[round]);
        server.write(&[round, round]);
        assert_eq!(settle_peer(&mut server, &mut client), [round, round]);
        assert_eq!(server.take_read(), [round]);
        assert_eq!(server.error, None);
    }
}

#[test]
fn an_answer_to_new_keys_cuts_no_record_short() {
    let mut client = Peer::client(client_config(VERSIONS[1]));
    let mut server = End::server(server_config(VERSIONS[1]));
    settle_peer(&mut server, &mut client);
    client.0.refresh_traffic_keys().unwrap();
    server.receive(&client.send());
    server.write(&[1; 4 * 16_384]);
    let lengths = records(&server.send());
    assert_eq!(lengths.len(), 5);
    assert!(lengths[0] < 100 && lengths[1..].iter().all(|&length| length > 16_384));
}

#[test]
fn keys_of_tls_1_3_are_renewed_before_they_wear_out() {
    let mut client = End::client(weak_config(VERSIONS[1]));
    let mut server = Peer::server(server_config(VERSIONS[1]));
    settle_peer(&mut client, &mut server);
    for size in [10, 16_384, 1_000_000] {
        let data = Random(9).bytes(size);
        client.write(&data);
        // An independent peer follows the new keys, or it could not decrypt.
        assert!(settle_peer(&mut client, &mut server) == data);
    }
}

#[test]
fn a_tls_1_2_session_whose_keys_are_worn_out_fails_and_says_so() {
    let mut client = End::client(weak_config(VERSIONS[0]));
    let mut server = End::server(server_config(VERSIONS[0]));
    settle(&mut client, &mut server);
    let mut received = 0;
    let failure = loop {
        client.write(&[1; 10]);
        let sealed = client.session.seal(&mut client.queue, 1 << 20, &mut drop);
        let bytes = client.take();
        server.receive(&bytes);
        match sealed {
            Ok(taken) => received += taken,
            Err(error) => break error,
        }
        assert!(received < 1000);
    };
    assert_eq!(failure, TlsError::KeysExhausted);
    assert_eq!(client.queue.len(), 10, "what was not sent is not lost");
    assert_eq!(server.read.len(), received);
    assert_eq!(server.closes, 1);
    assert!(!client.session.can_seal());
}

/// A client whose keys are good for a few records only.
fn weak_config(version: &'static SupportedProtocolVersion) -> ClientConfig {
    let provider = CryptoProvider {
        cipher_suites: provider().cipher_suites.iter().map(weakened).collect(),
        ..(*provider()).clone()
    };
    ClientConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots())
        .with_no_client_auth()
}

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
        confidentiality_limit: 10,
        ..*common
    }
}
