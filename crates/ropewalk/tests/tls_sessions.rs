//! Sessions without a stream, made by the configuration for programs that move the bytes themselves.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use ropewalk::proto::tls::{Intake, Session};
use ropewalk::tls::{Fault, Identity, Roots, TlsClient, TlsServer};

/// Hands what each side has to say to the other, until both have said all.
fn shake_hands(client: &mut Session, server: &mut Session) {
    while pass(client, server) | pass(server, client) {}
}

fn pass(from: &mut Session, to: &mut Session) -> bool {
    let ciphertext = from.outgoing().to_vec();
    from.advance(ciphertext.len(), &mut Vec::new());
    let mut buffer = vec![0; Session::MIN_READ_BUFFER];
    let held = to.begin_read(&mut buffer);
    let length = held + ciphertext.len();
    buffer[held..length].copy_from_slice(&ciphertext);
    let received = to.process(&mut buffer[..length], Intake::All);
    assert_eq!(received.error, None);
    !ciphertext.is_empty()
}

fn pair() -> (TlsServer, TlsClient) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let server = TlsServer::builder(Identity::from_pem(&certificate, key).unwrap()).alpn(["a"]);
    let roots = Roots::from_pem(certificate).unwrap();
    let client = TlsClient::builder().roots(roots).alpn(["a", "b"]);
    (server.build().unwrap(), client.build().unwrap())
}

#[test]
fn sessions_speak_as_they_are_configured() {
    let (server, client) = pair();
    let mut here = client.session("localhost").unwrap();
    let mut there = server.session().unwrap();
    shake_hands(&mut here, &mut there);
    assert!(!here.is_handshaking() && !there.is_handshaking());
    assert_eq!(here.alpn_protocol(), Some(&b"a"[..]));
}

#[test]
fn a_session_may_speak_other_protocols() {
    let (server, client) = pair();
    let mut here = client.session("localhost").unwrap();
    let mut there = server.session_speaking(vec![b"b".to_vec()]).unwrap();
    shake_hands(&mut here, &mut there);
    assert_eq!(there.alpn_protocol(), Some(&b"b"[..]));
    let mut here = client
        .session_speaking("localhost", vec![b"a".to_vec()])
        .unwrap();
    let mut there = server.session().unwrap();
    shake_hands(&mut here, &mut there);
    assert_eq!(there.alpn_protocol(), Some(&b"a"[..]));
}

#[test]
fn a_session_is_with_somebody_who_can_have_a_certificate() {
    let (_, client) = pair();
    let error = client.session("not a name").unwrap_err();
    assert!(matches!(error.fault(), Fault::InvalidName(_)));
}
