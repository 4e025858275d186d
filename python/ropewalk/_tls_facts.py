"""What is known about a TLS connection, and why one failed, for :mod:`ropewalk.ssl`."""

from __future__ import annotations

import enum
from base64 import encodebytes
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.internet.error import ConnectionLost

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography import x509


class TLSVersion(enum.Enum):
    """A version of the protocol."""

    TLSv1_2 = 0x0303
    TLSv1_3 = 0x0304


@dataclass(frozen=True)
class TLSInfo:
    """What two peers have agreed on, as far as the handshake has come."""

    version: TLSVersion | None
    #: The cipher suite's name as IANA has it: ``TLS13_AES_256_GCM_SHA384``.
    cipher: str | None
    #: The protocol that ALPN agreed on.
    negotiatedProtocol: bytes | None
    #: The name that a client asked for, or that this client is to talk to.
    serverName: str | None
    #: Whether the session of an earlier connection was resumed.
    resumed: bool
    handshakeCompleted: bool


class Certificate:
    """A peer's certificate, and those it sent with it.

    What is in it, other than its bytes, is told by the package ``cryptography``, which pyOpenSSL
    brings along; without it, the properties that need it raise an ``ImportError``.
    """

    def __init__(self, der: bytes, chain: tuple[bytes, ...]) -> None:
        #: The certificate as DER.
        self.der = der
        #: All that the peer sent, its own first, as DER.
        self.chain = chain

    @property
    def pem(self) -> bytes:
        """The certificate as PEM."""
        text = encodebytes(self.der).replace(b"\n", b"")
        lines = [text[start : start + 64] for start in range(0, len(text), 64)]
        begin, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
        return b"\n".join([begin, *lines, end, b""])

    def x509(self) -> x509.Certificate:
        """The certificate as an object of ``cryptography``."""
        from cryptography import x509

        return x509.load_der_x509_certificate(self.der)

    @property
    def subject(self) -> str:
        """Whose it is, as in RFC 4514: ``CN=example.org``."""
        return self.x509().subject.rfc4514_string()

    @property
    def issuer(self) -> str:
        """Who vouches for it, as in RFC 4514."""
        return self.x509().issuer.rfc4514_string()

    @property
    def notBefore(self) -> datetime:
        """When its time begins."""
        return self.x509().not_valid_before_utc

    @property
    def notAfter(self) -> datetime:
        """When its time ends."""
        return self.x509().not_valid_after_utc

    @property
    def names(self) -> list[str]:
        """The host names and addresses that it is for."""
        from cryptography import x509

        try:
            extension = self.x509().extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except x509.ExtensionNotFound:
            return []
        kinds = (x509.DNSName, x509.IPAddress)
        return [str(name.value) for name in extension.value if isinstance(name, kinds)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and self.der == other.der

    def __hash__(self) -> int:
        return hash(self.der)


class TLSError(Exception):
    """TLS failed, on this side or on the other. The text says why."""


class CertificateRefused(TLSError):
    """The peer's certificate was refused, for one of the reasons below or another one."""


class CertificateExpired(CertificateRefused):
    """Its time is over."""


class CertificateNotYetValid(CertificateRefused):
    """Its time has not begun."""


class WrongName(CertificateRefused):
    """It is for other names."""


class UnknownIssuer(CertificateRefused):
    """No trusted authority vouches for it."""


class CertificateRevoked(CertificateRefused):
    """It was revoked."""


class CertificateMissing(CertificateRefused):
    """A certificate is required, and the peer sent none."""


class AlertReceived(TLSError):
    """The peer ended the session with an alert."""

    def __init__(self, text: str, alert: str) -> None:
        super().__init__(text)
        #: The alert's name: ``UnknownCA``, ``CertificateExpired``, ``HandshakeFailure``, …
        self.alert = alert


class NotTLS(TLSError):
    """The peer's first bytes are no TLS."""


class PlainHTTP(NotTLS):
    """The peer speaks HTTP in the clear."""


class IncompatiblePeer(TLSError):
    """There is no version, cipher suite or ALPN protocol that both sides accept."""


class ProtocolViolation(TLSError):
    """The peer sent what it may not send, or somebody changed it on its way."""


class HandshakeTimeout(TLSError):
    """The handshake took too long."""


_KINDS = {
    "certificate": CertificateRefused,
    "expired": CertificateExpired,
    "incompatible": IncompatiblePeer,
    "missing": CertificateMissing,
    "not TLS": NotTLS,
    "not yet valid": CertificateNotYetValid,
    "other": TLSError,
    "plain HTTP": PlainHTTP,
    "revoked": CertificateRevoked,
    "unknown issuer": UnknownIssuer,
    "violation": ProtocolViolation,
    "wrong name": WrongName,
}


def failure(kind: str, text: str, alert: str | None) -> Exception:
    """The exception for a failure that the native part tells of."""
    if alert is not None:
        return AlertReceived(text, alert)
    if kind == "truncated":
        return ConnectionLost(text)
    return _KINDS[kind](text)


_PUBLIC = (TLSVersion, TLSInfo, Certificate, HandshakeTimeout, AlertReceived, *_KINDS.values())

for _public in _PUBLIC:
    # Where programs find them, and where tracebacks say they are.
    _public.__module__ = "ropewalk.ssl"
