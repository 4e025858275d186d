//! What the handshake agrees on, and how it fails.

use ropewalk_proto::tls::{CertificateProblem, TlsError};
use rustls::{AlertDescription, ClientConfig, ServerConfig};

use crate::support::*;

#[test]
fn two_sessions_talk_to_each_other() {
    for version in VERSIONS {
        let (mut client, mut server) = connected(version);
        client.write(b"ping");
        server.write(b"pong");
        settle(&mut client, &mut server);
        assert_eq!(server.take_read(), b"ping");
        assert_eq!(client.take_read(), b"pong");
        assert_eq!((client.handshakes, server.handshakes), (1, 1));
        assert_eq!((client.error, server.error), (None, None));
    }
}

#[test]
fn both_sides_tell_the_same_of_the_session() {
    for version in VERSIONS {
        let (client, server) = connected(version);
        let (client, server) = (client.session, server.session);
        assert_eq!(client.protocol_version(), Some(version.version));
        assert_eq!(server.protocol_version(), Some(version.version));
        assert!(client.cipher_suite().is_some());
        assert_eq!(client.cipher_suite(), server.cipher_suite());
        // Which comes first is decided by the provider's features.
        let groups = &provider().kx_groups;
        let group = groups
            .iter()
            .find(|group| group.usable_for_version(version.version));
        let group = group.unwrap().name();
        assert_eq!(client.key_exchange_group(), Some(group));
        assert_eq!(server.key_exchange_group(), Some(group));
        assert_eq!(server.server_name(), Some(NAME));
        assert_eq!(client.peer_certificates().unwrap().len(), 1);
        assert_eq!(server.peer_certificates(), None);
    }
}

#[test]
fn both_sides_export_the_same_key_material() {
    for version in VERSIONS {
        let (client, server) = connected(version);
        let (mut ours, mut theirs, mut other) = ([0; 32], [0; 32], [0; 32]);
        let export = |end: &End, out: &mut [u8; 32], label: &[u8]| {
            end.session
                .export_keying_material(out, label, Some(b"context"))
                .unwrap();
        };
        export(&client, &mut ours, b"EXPORTER-test");
        export(&server, &mut theirs, b"EXPORTER-test");
        export(&server, &mut other, b"EXPORTER-else");
        assert_eq!(ours, theirs);
        assert_ne!(ours, other);
    }
}

#[test]
fn key_material_is_refused_before_the_handshake() {
    let server = End::server(server_config(VERSIONS[1]));
    let refused = server
        .session
        .export_keying_material(&mut [0; 32], b"x", None);
    assert!(matches!(refused, Err(TlsError::Internal(_))));
}

#[test]
fn nothing_is_sealed_before_the_handshake_is_complete() {
    for version in VERSIONS {
        let mut client = End::client(client_config(version));
        let mut server = End::server(server_config(version));
        client.write(b"early");
        server.write(b"bird");
        let hello = client.send();
        assert_eq!(client.queue.len(), 5);
        server.receive(&hello);
        server.send();
        // A server of TLS 1.3 could, but does not know yet whom it talks to.
        assert_eq!(server.queue.len(), 4);
        assert!(!server.session.can_seal());
    }
}

#[test]
fn alpn_picks_the_server_s_favourite() {
    for version in VERSIONS {
        let mut config = client_config(version);
        config.alpn_protocols = vec![b"a".into(), b"b".into()];
        let mut client = End::client(config);
        let mut config = server_config(version);
        config.alpn_protocols = vec![b"c".into(), b"b".into(), b"a".into()];
        let mut server = End::server(config);
        settle(&mut client, &mut server);
        assert_eq!(client.session.alpn_protocol(), Some(&b"b"[..]));
        assert_eq!(server.session.alpn_protocol(), Some(&b"b"[..]));
    }
}

#[test]
fn a_second_session_is_resumed() {
    for version in VERSIONS {
        let client_config = client_config(version);
        let server_config = server_config(version);
        for resumed in [false, true] {
            let mut client = End::client(client_config.clone());
            let mut server = End::server(server_config.clone());
            settle(&mut client, &mut server);
            assert_eq!(client.session.is_resumed(), Some(resumed));
            assert_eq!(server.session.is_resumed(), Some(resumed));
            client.write(b"ping");
            settle(&mut client, &mut server);
            assert_eq!(server.take_read(), b"ping");
        }
    }
}

#[test]
fn a_server_that_offers_early_data_loses_none() {
    let mut client_config = client_config(VERSIONS[1]);
    client_config.enable_early_data = true;
    let client_config = std::sync::Arc::new(client_config);
    let mut server_config = server_config(VERSIONS[1]);
    server_config.max_early_data_size = 1024;
    for early in [false, true] {
        let mut client = rustls::ClientConnection::new(client_config.clone(), name()).unwrap();
        assert!(client.early_data().is_none(), "no ticket may allow it");
        let mut server = End::server(server_config.clone());
        let mut client = Peer(client.into());
        settle_peer(&mut server, &mut client);
        assert_eq!(server.session.is_resumed(), Some(early));
    }
}

#[test]
fn a_client_shows_its_certificate() {
    for version in VERSIONS {
        let (chain, key) = identity("somebody");
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots())
            .with_client_auth_cert(chain.clone(), key)
            .unwrap();
        let mut client = End::client(config);
        let mut server = End::server(demanding_server_config(version));
        settle(&mut client, &mut server);
        assert_eq!(server.session.peer_certificates(), Some(&chain[..]));
    }
}

/// Has the two shake hands and answers how each side failed.
fn failures(client: ClientConfig, server: ServerConfig) -> (TlsError, TlsError) {
    let mut client = End::client(client);
    let mut server = End::server(server);
    settle(&mut client, &mut server);
    (client.error.unwrap(), server.error.unwrap())
}

fn assert_certificate(error: &TlsError, expected: CertificateProblem) {
    let TlsError::Certificate { problem, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(*problem, expected);
}

#[test]
fn a_client_without_a_certificate_is_refused_where_one_is_required() {
    for version in VERSIONS {
        let (client, server) = failures(client_config(version), demanding_server_config(version));
        assert_certificate(&server, CertificateProblem::Missing);
        let TlsError::AlertReceived(alert) = client else {
            panic!("{client:?}");
        };
        assert_eq!(alert, AlertDescription::CertificateRequired);
    }
}

#[test]
fn an_expired_certificate_is_refused_and_the_server_told() {
    for version in VERSIONS {
        let config = server_config_of(version, expired_identity());
        let (client, server) = failures(client_config(version), config);
        assert_certificate(&client, CertificateProblem::Expired);
        assert_eq!(
            server,
            TlsError::AlertReceived(AlertDescription::CertificateExpired)
        );
    }
}

#[test]
fn a_certificate_for_another_name_is_refused_and_the_server_told() {
    for version in VERSIONS {
        let config = server_config_of(version, identity("else.test"));
        let (client, server) = failures(client_config(version), config);
        assert_certificate(&client, CertificateProblem::WrongName);
        assert_eq!(
            server,
            TlsError::AlertReceived(AlertDescription::BadCertificate)
        );
    }
}

#[test]
fn a_certificate_of_an_unknown_issuer_is_refused_and_the_server_told() {
    for version in VERSIONS {
        let config = server_config_of(version, self_signed_identity());
        let (client, server) = failures(client_config(version), config);
        assert_certificate(&client, CertificateProblem::UnknownIssuer);
        assert_eq!(server, TlsError::AlertReceived(AlertDescription::UnknownCA));
    }
}

#[test]
fn sides_without_a_common_version_tell_each_other() {
    let (client, server) = failures(client_config(VERSIONS[0]), server_config(VERSIONS[1]));
    assert!(matches!(server, TlsError::Incompatible(_)), "{server:?}");
    assert_eq!(
        client,
        TlsError::AlertReceived(AlertDescription::ProtocolVersion)
    );
}

#[test]
fn sides_without_a_common_application_protocol_tell_each_other() {
    for version in VERSIONS {
        let mut client_config = client_config(version);
        client_config.alpn_protocols = vec![b"a".into()];
        let mut server_config = server_config(version);
        server_config.alpn_protocols = vec![b"b".into()];
        let (client, server) = failures(client_config, server_config);
        assert!(matches!(server, TlsError::Incompatible(_)), "{server:?}");
        assert_eq!(
            client,
            TlsError::AlertReceived(AlertDescription::NoApplicationProtocol)
        );
    }
}
