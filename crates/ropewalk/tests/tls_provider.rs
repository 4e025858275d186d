//! Whose cryptography is used: the process's default, where there is one.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod tls_support;

/// The default is the process's, so this file has this test alone.
#[cfg(feature = "aws-lc-rs")]
#[test]
fn a_provider_that_the_program_installed_is_used() {
    use ropewalk::tls::rustls::CipherSuite;
    use ropewalk::tls::rustls::crypto::aws_lc_rs;
    use tcp_support::Log;
    use tls_support::{client, connected, server};

    let mut own = aws_lc_rs::default_provider();
    own.cipher_suites
        .retain(|suite| suite.suite() == CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    own.install_default().unwrap();
    let variant = variant::Variant::alone(ropewalk::PollerKind::Poll);
    tcp_support::run(variant, |reactor| {
        let (ours, theirs) = (Log::new(), Log::new());
        let _port = connected(reactor, (&server(), &ours), (&client(), &theirs));
        let info = ours.transport().tls().unwrap();
        assert_eq!(info.cipher_suite, Some("TLS13_CHACHA20_POLY1305_SHA256"));
    });
}

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
#[test]
fn without_any_provider_the_error_says_so() {
    use ropewalk::tls::{Fault, Identity, TlsClient};

    let issued = tls_support::localhost();
    let error = Identity::from_pem(issued.certificate, issued.key).unwrap_err();
    assert!(matches!(error.fault(), Fault::NoProvider), "{error}");
    let error = TlsClient::new().unwrap_err();
    assert!(matches!(error.fault(), Fault::NoProvider), "{error}");
}
