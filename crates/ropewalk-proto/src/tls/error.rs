//! What goes wrong in a session, by whose fault it is.

use std::error::Error as StdError;
use std::fmt;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerMisbehaved};

/// Why a session failed. After any of these nothing more is received or sealed; an alert that tells
/// the peer is already in [`outgoing`](super::Session::outgoing) where the protocol has one.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TlsError {
    /// The peer's certificate was refused.
    Certificate {
        /// Why.
        problem: CertificateProblem,
        /// In rustls's words.
        source: Error,
    },
    /// The peer ended the session with an alert, whose name says why.
    AlertReceived(AlertDescription),
    /// The peer speaks plain HTTP.
    PlainHttp,
    /// The peer's first bytes are no TLS.
    NotTls(Error),
    /// There is no protocol version, cipher suite, signature scheme, key exchange or ALPN protocol
    /// that both sides accept.
    Incompatible(Error),
    /// The peer sent a message that cannot be read.
    Malformed(Error),
    /// The peer sent a record or a message longer than allowed.
    Oversized(Error),
    /// A record was changed on its way, or encrypted with another key.
    Corrupted(Error),
    /// The peer sent something that its protocol forbids at this point.
    Misbehaved(Error),
    /// The peer sent too many messages of a kind that costs but brings nothing: key updates, empty
    /// records, warnings, renegotiation requests.
    Flooded(Error),
    /// The stream ended without close_notify: what was received may be incomplete.
    Truncated,
    /// The keys of a TLS 1.2 session have encrypted as much as they safely can.
    KeysExhausted,
    /// The program's configuration does not fit, or the session could not do its part.
    Internal(Error),
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CertificateProblem {
    /// Its time is over.
    Expired,
    /// Its time has not begun.
    NotYetValid,
    /// It is for other names.
    WrongName,
    /// No trusted authority vouches for it.
    UnknownIssuer,
    /// It was revoked.
    Revoked,
    /// Whether it was revoked cannot be told.
    UnknownRevocation,
    /// It may not be used for this side of a connection.
    WrongPurpose,
    /// A signature does not fit.
    BadSignature,
    /// A certificate is required, and the peer sent none.
    Missing,
    /// Another reason, which the source of the error gives.
    Other,
}

impl From<Error> for TlsError {
    fn from(source: Error) -> Self {
        match source {
            Error::InvalidCertificate(ref problem) => Self::Certificate {
                problem: CertificateProblem::of(problem),
                source,
            },
            Error::NoCertificatesPresented => Self::Certificate {
                problem: CertificateProblem::Missing,
                source,
            },
            Error::AlertReceived(alert) => Self::AlertReceived(alert),
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Self::Incompatible(source),
            Error::InvalidMessage(
                InvalidMessage::MessageTooLarge
                | InvalidMessage::HandshakePayloadTooLarge
                | InvalidMessage::CertificatePayloadTooLarge,
            )
            | Error::PeerSentOversizedRecord => Self::Oversized(source),
            Error::InvalidMessage(_) => Self::Malformed(source),
            Error::DecryptError => Self::Corrupted(source),
            Error::PeerMisbehaved(
                PeerMisbehaved::TooManyEmptyFragments
                | PeerMisbehaved::TooManyKeyUpdateRequests
                | PeerMisbehaved::TooManyRenegotiationRequests
                | PeerMisbehaved::TooManyWarningAlertsReceived
                | PeerMisbehaved::TooMuchEarlyDataReceived,
            ) => Self::Flooded(source),
            Error::PeerMisbehaved(_)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. } => Self::Misbehaved(source),
            _ => Self::Internal(source),
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate { problem, .. } => {
                write!(f, "the peer's certificate was refused: {problem}")
            }
            Self::AlertReceived(alert) => write!(f, "the peer ended TLS with the alert {alert:?}"),
            Self::PlainHttp => f.write_str("the peer speaks plain HTTP where TLS is expected"),
            Self::NotTls(_) => f.write_str("the peer does not speak TLS"),
            Self::Incompatible(_) => f.write_str("no TLS parameters that both sides accept"),
            Self::Malformed(_) => f.write_str("the peer sent a malformed TLS message"),
            Self::Oversized(_) => f.write_str("the peer sent an oversized TLS message"),
            Self::Corrupted(_) => f.write_str("a TLS record could not be decrypted"),
            Self::Misbehaved(_) => f.write_str("the peer broke the rules of TLS"),
            Self::Flooded(_) => f.write_str("the peer sent too many TLS messages of no use"),
            Self::Truncated => f.write_str("the stream ended without a TLS close_notify"),
            Self::KeysExhausted => f.write_str("the keys of the TLS session are used up"),
            Self::Internal(_) => f.write_str("TLS failed on this side"),
        }
    }
}

impl StdError for TlsError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Certificate { source, .. }
            | Self::NotTls(source)
            | Self::Incompatible(source)
            | Self::Malformed(source)
            | Self::Oversized(source)
            | Self::Corrupted(source)
            | Self::Misbehaved(source)
            | Self::Flooded(source)
            | Self::Internal(source) => Some(source),
            Self::AlertReceived(_) | Self::PlainHttp | Self::Truncated | Self::KeysExhausted => {
                None
            }
        }
    }
}

impl CertificateProblem {
    // rustls names each reason once without and once with details; the former are deprecated in
    // part, and verifiers of other crates still use them.
    fn of(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName
            }
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::Revoked => Self::Revoked,
            CertificateError::UnknownRevocationStatus
            | CertificateError::ExpiredRevocationList
            | CertificateError::ExpiredRevocationListContext { .. } => Self::UnknownRevocation,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::WrongPurpose
            }
            CertificateError::BadSignature => Self::BadSignature,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for CertificateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "it has expired",
            Self::NotYetValid => "it is not valid yet",
            Self::WrongName => "it is for another name",
            Self::UnknownIssuer => "its issuer is not trusted",
            Self::Revoked => "it was revoked",
            Self::UnknownRevocation => "whether it was revoked is unknown",
            Self::WrongPurpose => "it may not be used for this",
            Self::BadSignature => "a signature does not fit",
            Self::Missing => "there is none",
            Self::Other => "it is not acceptable",
        })
    }
}
