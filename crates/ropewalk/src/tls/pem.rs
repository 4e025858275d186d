//! Certificates and keys as PEM, from files and from memory.

use std::fs;
use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};

use super::{ConfigError, Fault};

/// PEM, and the file that it came from.
pub(super) struct Pem<'a> {
    path: Option<&'a Path>,
    bytes: Vec<u8>,
}

/// How an encrypted key begins, as PKCS #8 and in the format before it: rustls skips both.
const ENCRYPTED: [&[u8]; 2] = [
    b"-----BEGIN ENCRYPTED PRIVATE KEY-----",
    b"Proc-Type: 4,ENCRYPTED",
];

impl<'a> Pem<'a> {
    pub(super) fn read(path: &'a Path) -> Result<Self, ConfigError> {
        let bytes = fs::read(path)
            .map_err(Fault::Unreadable)
            .map_err(ConfigError::at(Some(path)))?;
        Ok(Self {
            path: Some(path),
            bytes,
        })
    }

    pub(super) fn of(bytes: &[u8]) -> Self {
        Self {
            path: None,
            bytes: bytes.to_vec(),
        }
    }

    /// Every certificate, in order; at least one.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
        let all: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&self.bytes).collect();
        let all = all.map_err(|error| self.wrong(Fault::Malformed(error)))?;
        if all.is_empty() {
            return Err(self.wrong(Fault::NoCertificate));
        }
        Ok(all)
    }

    /// The first private key.
    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, ConfigError> {
        let encrypted = || {
            let begins = |mark: &&[u8]| self.bytes.windows(mark.len()).any(|part| part == *mark);
            ENCRYPTED.iter().any(begins)
        };
        PrivateKeyDer::from_pem_slice(&self.bytes).map_err(|error| match error {
            _ if encrypted() => self.wrong(Fault::EncryptedKey),
            pem::Error::NoItemsFound => self.wrong(Fault::NoKey),
            error => self.wrong(Fault::Malformed(error)),
        })
    }

    /// An error that names the file.
    pub(super) fn wrong(&self, fault: Fault) -> ConfigError {
        ConfigError::at(self.path)(fault)
    }
}
