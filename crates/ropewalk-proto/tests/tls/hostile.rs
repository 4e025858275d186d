//! Peers that do not speak TLS, or abuse it.

use ropewalk_proto::tls::TlsError;
use rustls::AlertDescription;

use crate::support::*;

fn server() -> End {
    End::server(server_config(VERSIONS[1]))
}

/// Asserts that a fatal alert waits to be sent in the clear.
fn assert_alert(end: &mut End, expected: AlertDescription) {
    let bytes = end.take();
    let [21, 3, _, 0, 2, 2, code] = bytes[..] else {
        panic!("{bytes:?}");
    };
    assert_eq!(AlertDescription::from(code), expected);
}

#[test]
fn what_is_no_tls_is_named_so_and_answered_with_an_alert() {
    for garbage in [
        &b"SSH-2.0-OpenSSH\r\n"[..],
        &[0; 5],
        &[0xff; 100],
        b"EHLO x\r\n",
    ] {
        let mut server = server();
        server.receive(garbage);
        assert!(matches!(server.error, Some(TlsError::NotTls(_))));
        assert_alert(&mut server, AlertDescription::DecodeError);
    }
}

#[test]
fn a_plain_request_to_a_tls_server_is_named_so() {
    let mut server = server();
    server.receive(b"GET /");
    assert_eq!(server.error, Some(TlsError::PlainHttp));
    assert!(server.error.unwrap().to_string().contains("plain HTTP"));
}

#[test]
fn a_plain_answer_to_a_tls_client_is_named_so() {
    let mut client = End::client(client_config(VERSIONS[1]));
    client.receive(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    assert_eq!(client.error, Some(TlsError::PlainHttp));
}

#[test]
fn a_record_of_unknown_type_is_malformed() {
    for version in VERSIONS {
        let (_, mut server) = connected(version);
        server.receive(&[99, 3, 3, 0, 1, 0]);
        assert!(matches!(server.error, Some(TlsError::Malformed(_))));
    }
}

#[test]
fn plain_http_in_the_middle_of_a_session_is_malformed() {
    let (_, mut server) = connected(VERSIONS[1]);
    server.receive(b"GET / HTTP/1.1\r\n");
    assert!(matches!(server.error, Some(TlsError::Malformed(_))));
}

#[test]
fn an_oversized_record_is_refused_by_its_header() {
    for version in VERSIONS {
        let (mut client, mut server) = connected(version);
        server.receive(&[23, 3, 3, 0x48, 0x01]);
        assert!(matches!(server.error, Some(TlsError::Oversized(_))));
        settle(&mut client, &mut server);
        assert_eq!(
            client.error,
            Some(TlsError::AlertReceived(AlertDescription::DecodeError))
        );
    }
}

#[test]
fn the_longest_record_is_read_before_it_is_judged() {
    for version in VERSIONS {
        let (_, mut server) = connected(version);
        let mut record = vec![0; 5 + 0x47ff];
        record[..5].copy_from_slice(&[23, 3, 3, 0x47, 0xff]);
        server.receive(&record);
        assert!(matches!(server.error, Some(TlsError::Corrupted(_))));
    }
}

#[test]
fn data_before_the_handshake_is_against_the_rules() {
    let mut server = server();
    server.receive(&[23, 3, 3, 0, 1, 0]);
    assert!(matches!(server.error, Some(TlsError::Misbehaved(_))));
    assert_alert(&mut server, AlertDescription::UnexpectedMessage);
}

#[test]
fn a_repeated_record_does_not_decrypt() {
    for version in VERSIONS {
        let (mut client, mut server) = connected(version);
        client.write(b"pay once");
        let bytes = client.send();
        server.receive(&bytes);
        server.receive(&bytes);
        assert_eq!(server.take_read(), b"pay once");
        assert!(matches!(server.error, Some(TlsError::Corrupted(_))));
    }
}

#[test]
fn a_hello_of_megabytes_is_refused_when_it_says_so() {
    let mut server = server();
    server.receive(&[22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff]);
    assert!(matches!(server.error, Some(TlsError::Oversized(_))));
}

#[test]
fn a_hello_in_endless_tiny_records_takes_bounded_memory() {
    let mut server = server();
    server.receive(&[22, 3, 1, 0, 4, 1, 0, 0xff, 0xff]);
    let mut sent = 9;
    while server.error.is_none() {
        server.receive(&[22, 3, 1, 0, 1, 0]);
        sent += 6;
        assert!(
            sent < 72 * 1024,
            "64 KiB for a message, and its last record"
        );
        assert_eq!(
            (server.session.held(), server.session.outgoing()),
            (0, &b""[..])
        );
    }
    assert!(matches!(server.error, Some(TlsError::Oversized(_))));
}

#[test]
fn a_flood_of_warnings_ends_the_session() {
    let mut server = server();
    for _ in 0..4 {
        server.receive(&[21, 3, 3, 0, 2, 1, 90]);
        assert_eq!(server.error, None);
    }
    server.receive(&[21, 3, 3, 0, 2, 1, 90]);
    assert!(matches!(server.error, Some(TlsError::Flooded(_))));
}

#[test]
fn a_flood_of_key_updates_ends_the_session_and_queues_nothing() {
    let mut server = server();
    let mut client = Peer::client(client_config(VERSIONS[1]));
    settle_peer(&mut server, &mut client);
    let mut updates = 0;
    while server.error.is_none() {
        client.0.refresh_traffic_keys().unwrap();
        server.receive(&client.send());
        assert_eq!(server.session.outgoing(), b"");
        updates += 1;
        assert!(updates < 40);
    }
    assert!(matches!(server.error, Some(TlsError::Flooded(_))));
}

#[test]
fn key_updates_with_data_between_them_queue_nothing_for_a_peer_that_does_not_read() {
    let mut server = server();
    let mut client = Peer::client(client_config(VERSIONS[1]));
    settle_peer(&mut server, &mut client);
    for _ in 0..200 {
        client.0.refresh_traffic_keys().unwrap();
        client.write(b"x");
        server.receive(&client.send());
        assert_eq!(server.session.outgoing(), b"");
    }
    assert_eq!(server.take_read(), b"x".repeat(200));
    server.write(b"fine");
    assert_eq!(client.receive(&server.send()).unwrap(), b"fine");
}

#[test]
fn any_flipped_byte_of_a_hello_leaves_a_session_or_an_error() {
    let hello = End::client(client_config(VERSIONS[1])).send();
    let mut failed = 0;
    for at in 0..hello.len() {
        let mut changed = hello.clone();
        changed[at] ^= 0x55;
        let mut server = server();
        server.receive(&changed);
        assert!(server.session.held() <= hello.len());
        assert!(server.session.end().is_err());
        failed += usize::from(server.error.is_some());
    }
    assert!(failed > 0 && failed < hello.len());
}
