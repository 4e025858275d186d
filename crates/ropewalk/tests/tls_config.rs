//! Configurations of TLS: what is refused, and that errors name the file and the cause.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod tcp_support;
mod tls_support;
mod unix_support;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use ropewalk::tls::{
    ClientCertificates, ConfigError, Fault, Identities, Identity, Roots, TlsClient, TlsServer,
    Version,
};
use tls_support::{authority_pem, issue, localhost, server};
use unix_support::Directory;

/// A directory with a certificate and its key.
fn files() -> (Directory, PathBuf, PathBuf) {
    let directory = Directory::new();
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    fs::write(&certificate, localhost().certificate).unwrap();
    fs::write(&key, localhost().key).unwrap();
    (directory, certificate, key)
}

/// Checks that `error` is about `path`, in its text too.
fn names(error: &ConfigError, path: &Path) {
    assert_eq!(error.path(), Some(path));
    let text = error.to_string();
    assert!(text.starts_with(&path.display().to_string()), "{text}");
}

#[test]
fn pem_files_make_an_identity() {
    let (_directory, certificate, key) = files();
    let identity = Identity::from_pem_files(&certificate, &key).unwrap();
    assert_eq!(identity.certificates().len(), 1);
}

#[test]
fn certificate_and_key_may_be_in_one_file() {
    let (directory, ..) = files();
    let both = directory.join("both.pem");
    let chain = localhost().certificate + authority_pem();
    fs::write(&both, localhost().key + &chain).unwrap();
    let identity = Identity::from_pem_files(&both, &both).unwrap();
    assert_eq!(identity.certificates().len(), 2);
}

#[test]
fn a_missing_file_is_named() {
    let (directory, certificate, _) = files();
    let missing = directory.join("none.pem");
    let error = Identity::from_pem_files(&certificate, &missing).unwrap_err();
    names(&error, &missing);
    let Fault::Unreadable(cause) = error.fault() else {
        panic!("{error}")
    };
    assert_eq!(cause.kind(), ErrorKind::NotFound);
    names(
        &Identity::from_pem_files(&missing, &missing).unwrap_err(),
        &missing,
    );
    names(&Roots::from_pem_file(&missing).unwrap_err(), &missing);
}

#[test]
fn a_directory_is_no_file() {
    let (directory, _, key) = files();
    let path = directory.path().to_path_buf();
    let error = Identity::from_pem_files(&path, &key).unwrap_err();
    names(&error, &path);
    assert!(matches!(error.fault(), Fault::Unreadable(_)), "{error}");
}

#[test]
fn a_file_without_a_certificate_is_named() {
    let (_directory, _, key) = files();
    let error = Identity::from_pem_files(&key, &key).unwrap_err();
    names(&error, &key);
    assert!(matches!(error.fault(), Fault::NoCertificate), "{error}");
    assert!(matches!(
        Roots::from_pem_file(&key).unwrap_err().fault(),
        Fault::NoCertificate
    ));
}

#[test]
fn a_file_without_a_key_is_named() {
    let (_directory, certificate, _) = files();
    let error = Identity::from_pem_files(&certificate, &certificate).unwrap_err();
    names(&error, &certificate);
    assert!(matches!(error.fault(), Fault::NoKey), "{error}");
}

#[test]
fn malformed_pem_is_named() {
    let (directory, _, key) = files();
    let broken = directory.join("broken.pem");
    for text in [
        "-----BEGIN CERTIFICATE-----\n%%%%\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nAAAA\n",
    ] {
        fs::write(&broken, text).unwrap();
        let error = Identity::from_pem_files(&broken, &key).unwrap_err();
        names(&error, &broken);
        assert!(matches!(error.fault(), Fault::Malformed(_)), "{error}");
    }
}

#[test]
fn an_encrypted_key_is_told_as_such() {
    let (directory, certificate, _) = files();
    let encrypted = directory.join("encrypted.pem");
    for text in [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n\
         -----END EC PRIVATE KEY-----\n",
    ] {
        fs::write(&encrypted, text).unwrap();
        let error = Identity::from_pem_files(&certificate, &encrypted).unwrap_err();
        names(&error, &encrypted);
        assert!(matches!(error.fault(), Fault::EncryptedKey), "{error}");
    }
}

#[test]
fn a_key_of_no_known_type_is_named() {
    let (directory, certificate, _) = files();
    let strange = directory.join("strange.pem");
    fs::write(
        &strange,
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    )
    .unwrap();
    let error = Identity::from_pem_files(&certificate, &strange).unwrap_err();
    names(&error, &strange);
    assert!(matches!(error.fault(), Fault::UnusableKey(_)), "{error}");
}

#[test]
fn the_key_of_another_certificate_is_named() {
    let (directory, certificate, _) = files();
    let other = directory.join("other.pem");
    fs::write(&other, issue(&["localhost"]).key).unwrap();
    let error = Identity::from_pem_files(&certificate, &other).unwrap_err();
    names(&error, &other);
    assert!(matches!(error.fault(), Fault::KeyMismatch), "{error}");
}

#[test]
fn a_certificate_that_is_none_is_named() {
    let (directory, _, key) = files();
    let strange = directory.join("strange.pem");
    fs::write(
        &strange,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let error = Identity::from_pem_files(&strange, &key).unwrap_err();
    names(&error, &strange);
    assert!(
        matches!(error.fault(), Fault::UnusableCertificate(_)),
        "{error}"
    );
    let roots = Roots::from_pem_file(&strange).unwrap();
    let error = TlsClient::builder().roots(roots).build().unwrap_err();
    assert!(
        matches!(error.fault(), Fault::UnusableCertificate(_)),
        "{error}"
    );
}

#[test]
fn what_comes_from_memory_names_no_file() {
    let error = Identity::from_pem("", localhost().key).unwrap_err();
    assert_eq!(error.path(), None);
    assert_eq!(error.to_string(), "there is no certificate in it");
}

#[test]
fn a_server_needs_an_identity() {
    let error = TlsServer::new(Identities::named_only()).unwrap_err();
    assert!(matches!(error.fault(), Fault::NoIdentity), "{error}");
    let error = server().reload(Identities::named_only()).unwrap_err();
    assert!(matches!(error.fault(), Fault::NoIdentity), "{error}");
}

#[test]
fn clients_are_checked_against_own_roots_only() {
    for roots in [Roots::platform(), Roots::from_der(Vec::new())] {
        let error = TlsServer::builder(localhost().identity())
            .client_certificates(ClientCertificates::Required(roots))
            .build()
            .unwrap_err();
        assert!(matches!(error.fault(), Fault::NoRoots(_)), "{error}");
    }
}

#[test]
fn a_client_needs_a_root() {
    let roots = Roots::from_der(Vec::new());
    let error = TlsClient::builder().roots(roots).build().unwrap_err();
    assert!(matches!(error.fault(), Fault::NoRoots(_)), "{error}");
}

#[test]
fn at_least_one_version_is_spoken() {
    let none: [Version; 0] = [];
    let error = TlsServer::builder(localhost().identity())
        .versions(none)
        .build()
        .unwrap_err();
    assert!(matches!(error.fault(), Fault::Refused(_)), "{error}");
}

#[test]
fn a_certificate_is_for_a_host_name_or_an_address() {
    let client = tls_support::client();
    let factory = |_| tcp_support::Recorder::new(&tcp_support::Log::new());
    for name in [
        "localhost",
        "a.b.example.",
        "127.0.0.1",
        "::1",
        "fe80::1%lo",
    ] {
        assert!(client.factory(name, factory).is_ok(), "{name}");
    }
    for name in ["", "two words", "-", "a..b", "::1::"] {
        let error = client.factory(name, factory).map(drop).unwrap_err();
        let refused = matches!(error.fault(), Fault::InvalidName(text) if text == name);
        assert!(refused, "{error}");
    }
}
