//! How sessions end.

use ropewalk_proto::tls::TlsError;

use crate::support::*;

#[test]
fn a_close_is_told_once_and_leaves_the_other_direction_open() {
    for version in VERSIONS {
        let (mut client, mut server) = connected(version);
        client.session.close();
        client.session.close();
        assert!(client.session.close_sent() && !client.session.can_seal());
        settle(&mut client, &mut server);
        assert_eq!(server.closes, 1);
        assert!(server.session.peer_closed() && !server.session.close_sent());
        assert_eq!(server.session.end(), Ok(()));

        server.write(b"still here");
        settle(&mut client, &mut server);
        assert_eq!(client.take_read(), b"still here");
        assert_eq!(client.session.end(), Err(TlsError::Truncated));
        server.session.close();
        settle(&mut client, &mut server);
        assert_eq!((client.closes, server.closes), (1, 1));
        assert_eq!(client.session.end(), Ok(()));
    }
}

#[test]
fn nothing_is_sealed_after_a_close() {
    let (mut client, _) = connected(VERSIONS[1]);
    client.session.close();
    client.take();
    client.write(b"late");
    assert_eq!(client.send(), b"");
    assert_eq!(client.queue.len(), 4);
}

#[test]
fn data_before_a_close_in_the_same_input_is_delivered_and_data_after_it_dropped() {
    for version in VERSIONS {
        let (mut client, mut server) = connected(version);
        client.write(b"last words");
        let mut bytes = client.send();
        client.session.close();
        bytes.extend(client.send());
        bytes.extend(b"GET / HTTP/1.1\r\n");
        server.receive(&bytes);
        assert_eq!(server.take_read(), b"last words");
        assert_eq!((server.closes, &server.error), (1, &None));
        server.receive(b"more of that");
        assert_eq!((server.closes, &server.error), (1, &None));
        assert_eq!(server.session.held(), 0);
    }
}

#[test]
fn data_before_an_error_in_the_same_input_is_delivered() {
    for version in VERSIONS {
        let (mut client, mut server) = connected(version);
        client.write(b"good");
        let mut bytes = client.send();
        client.write(b"bad");
        let mut bad = client.send();
        *bad.last_mut().unwrap() ^= 1;
        bytes.extend(bad);
        server.receive(&bytes);
        assert_eq!(server.take_read(), b"good");
        assert!(matches!(server.error, Some(TlsError::Corrupted(_))));
        settle(&mut client, &mut server);
        assert_eq!(
            client.error,
            Some(TlsError::AlertReceived(
                rustls::AlertDescription::BadRecordMac
            ))
        );
    }
}

#[test]
fn a_failure_is_final() {
    let (mut client, mut server) = connected(VERSIONS[1]);
    server.receive(b"no record at all");
    let failure = server.error.take().unwrap();
    server.take();
    client.write(b"hello?");
    let bytes = client.send();
    server.receive(&bytes);
    assert_eq!(server.error.as_ref(), Some(&failure));
    assert_eq!(server.read, b"");
    server.write(b"nobody hears this");
    server.session.close();
    assert_eq!(server.send(), b"");
    assert_eq!(server.session.end(), Err(failure));
}

/// Feeds both sides byte by byte. A session is what its input makes it, so that asking after each
/// byte what an end there would mean asks it of every truncation.
#[test]
fn an_end_at_any_byte_but_behind_the_close_is_a_truncation() {
    for version in VERSIONS {
        let mut client = End::client(client_config(version));
        let mut server = End::server(server_config(version));
        let mut ends = 0;
        client.write(b"question");
        server.write(b"answer");
        assert_eq!(server.session.end(), Err(TlsError::Truncated));
        loop {
            let (there, back) = (closing(&mut client), closing(&mut server));
            if there.is_empty() && back.is_empty() {
                break;
            }
            ends += feed(&mut server, &there, b"question") + feed(&mut client, &back, b"answer");
        }
        assert!(ends > 1000, "{ends}");
        assert_eq!(
            (client.session.end(), server.session.end()),
            (Ok(()), Ok(()))
        );
    }
}

/// Sends, with a close behind the data.
fn closing(end: &mut End) -> Vec<u8> {
    let mut bytes = end.send();
    if end.queue.is_empty() {
        end.session.close();
        bytes.extend(end.take());
    }
    bytes
}

fn feed(end: &mut End, bytes: &[u8], message: &[u8]) -> usize {
    for byte in bytes.chunks(1) {
        assert_eq!(end.session.end(), Err(TlsError::Truncated));
        assert!(!end.session.peer_closed());
        end.receive(byte);
        assert_eq!(end.error, None);
        assert!(end.session.end().is_err() || end.read == message);
    }
    bytes.len()
}

#[test]
fn a_close_during_the_handshake_is_told_behind_it() {
    for version in VERSIONS {
        let mut client = End::client(client_config(version));
        let mut server = End::server(server_config(version));
        client.session.close();
        assert!(!client.session.close_sent());
        settle(&mut client, &mut server);
        assert!(client.session.close_sent() && !client.session.can_seal());
        assert_eq!((server.handshakes, server.closes), (1, 1));
    }
}

#[test]
fn a_bad_record_after_a_close_fails_and_sends_nothing() {
    for version in VERSIONS {
        for bad in [&[23, 3, 3, 0, 1, 0][..], b"GET / HTTP/1.1\r\n"] {
            let (_, mut server) = connected(version);
            server.session.close();
            server.take();
            server.receive(bad);
            assert!(server.error.is_some());
            assert_eq!(server.session.outgoing(), b"");
        }
    }
}
