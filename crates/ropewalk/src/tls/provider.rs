//! Whose cryptography is used.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::ProducesTickets;

use super::{ConfigError, Fault};

/// The process's default provider if the program has installed one, else the one built in.
pub(super) fn provider() -> Result<Arc<CryptoProvider>, ConfigError> {
    if let Some(installed) = CryptoProvider::get_default() {
        return Ok(Arc::clone(installed));
    }
    built_in()
        .map(Arc::new)
        .ok_or_else(|| Fault::NoProvider.into())
}

#[cfg(feature = "aws-lc-rs")]
fn built_in() -> Option<CryptoProvider> {
    Some(rustls::crypto::aws_lc_rs::default_provider())
}

#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
fn built_in() -> Option<CryptoProvider> {
    Some(rustls::crypto::ring::default_provider())
}

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
fn built_in() -> Option<CryptoProvider> {
    None
}

/// What seals a server's session tickets, with keys that change every six hours. Without any,
/// sessions stay in the server's memory.
pub(super) fn ticketer() -> Option<Result<Arc<dyn ProducesTickets>, rustls::Error>> {
    #[cfg(feature = "aws-lc-rs")]
    return Some(rustls::crypto::aws_lc_rs::Ticketer::new());
    #[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
    return Some(rustls::crypto::ring::Ticketer::new());
    #[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
    return None;
}
