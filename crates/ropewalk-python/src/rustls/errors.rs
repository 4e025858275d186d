//! The errors of TLS as Python is told of them.

use std::error::Error as _;
use std::io;

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use ropewalk::proto::tls::{CertificateProblem, TlsError};
use ropewalk::tls::{ConfigError, Fault};

/// A configuration that cannot be used: an `OSError` with the file's name if that cannot be read,
/// a `ValueError` otherwise, whose text names file and cause.
pub(super) fn of_configuration(error: &ConfigError) -> PyErr {
    match (error.fault(), error.path()) {
        (Fault::Unreadable(source), Some(path)) => match source.raw_os_error() {
            Some(number) => {
                let text = io::Error::from_raw_os_error(number).to_string();
                // Without the number, which `OSError` puts in front.
                let text = text
                    .split(" (os error")
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                PyOSError::new_err((number, text, path.display().to_string()))
            }
            None => PyOSError::new_err(error.to_string()),
        },
        _ => PyValueError::new_err(error.to_string()),
    }
}

/// The kind of a failure, by which `ropewalk.ssl` chooses a class, and the alert that was received.
pub(super) fn kind(error: &TlsError) -> (&'static str, Option<String>) {
    match error {
        TlsError::Certificate { problem, .. } => (of_certificate(*problem), None),
        TlsError::AlertReceived(alert) => ("alert", Some(format!("{alert:?}"))),
        TlsError::PlainHttp => ("plain HTTP", None),
        TlsError::NotTls(_) => ("not TLS", None),
        TlsError::Incompatible(_) => ("incompatible", None),
        TlsError::Malformed(_)
        | TlsError::Oversized(_)
        | TlsError::Corrupted(_)
        | TlsError::Misbehaved(_)
        | TlsError::Flooded(_) => ("violation", None),
        TlsError::Truncated => ("truncated", None),
        _ => ("other", None),
    }
}

fn of_certificate(problem: CertificateProblem) -> &'static str {
    match problem {
        CertificateProblem::Expired => "expired",
        CertificateProblem::NotYetValid => "not yet valid",
        CertificateProblem::WrongName => "wrong name",
        CertificateProblem::UnknownIssuer => "unknown issuer",
        CertificateProblem::Revoked => "revoked",
        CertificateProblem::Missing => "missing",
        _ => "certificate",
    }
}

/// The failure in words, rustls's among them where it has any.
pub(super) fn text(error: &TlsError) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
