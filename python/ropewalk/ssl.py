"""TLS by rustls, without pyOpenSSL: options for servers and clients, what is known about a
connection, and why one failed.

:class:`ServerOptions` and :class:`ClientOptions` are taken by ``listenSSL``, ``connectSSL`` and
``startTLS`` of ropewalk's reactors in the place of a context factory, and so by Twisted's
``SSL4ServerEndpoint`` and ``SSL4ClientEndpoint``::

    from ropewalk import ssl

    reactor.listenSSL(443, factory, ssl.ServerOptions("cert.pem", "key.pem"))
    reactor.connectSSL("example.org", 443, factory, ssl.ClientOptions("example.org"))

Where Twisted makes its own TLS of a context factory (``wrapClientTLS``, ``TLSMemoryBIOFactory``,
the policy of an ``Agent``) it needs pyOpenSSL's objects. :func:`wrapClientTLS` and
:func:`wrapServerTLS` of this module wrap endpoints instead, on any reactor.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

from twisted.internet._idna import _idnaBytes
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint

from ropewalk import _ropewalk
from ropewalk._tls_facts import (
    AlertReceived,
    Certificate,
    CertificateExpired,
    CertificateMissing,
    CertificateNotYetValid,
    CertificateRefused,
    CertificateRevoked,
    HandshakeTimeout,
    IncompatiblePeer,
    NotTLS,
    PlainHTTP,
    ProtocolViolation,
    TLSError,
    TLSInfo,
    TLSVersion,
    UnknownIssuer,
    WrongName,
)

__all__ = [
    "AlertReceived",
    "Certificate",
    "CertificateExpired",
    "CertificateMissing",
    "CertificateNotYetValid",
    "CertificateRefused",
    "CertificateRevoked",
    "ClientOptions",
    "HandshakeTimeout",
    "IncompatiblePeer",
    "NotTLS",
    "PlainHTTP",
    "ProtocolViolation",
    "ServerOptions",
    "TLSError",
    "TLSInfo",
    "TLSVersion",
    "UnknownIssuer",
    "WrongName",
    "platformTrust",
    "wrapClientTLS",
    "wrapServerTLS",
]

#: PEM: the path of a file, or its content as ``bytes``.
PEM: TypeAlias = "str | os.PathLike[str] | bytes"


class _PlatformTrust(enum.Enum):
    PLATFORM = "platform"


#: What a peer's certificate has to lead to: PEM with root certificates, :func:`platformTrust`, or
#: several of them.
TrustRoot: TypeAlias = "PEM | _PlatformTrust | Sequence[PEM | _PlatformTrust]"


def platformTrust() -> _PlatformTrust:
    """The root certificates of the operating system."""
    return _PlatformTrust.PLATFORM


class _Options:
    """What both sides' options have in common."""

    #: Seconds that a handshake may take, None for as long as it likes.
    handshakeTimeout: float | None
    #: The protocols of ALPN, the preferred one first. Those that a factory names itself
    #: (``IProtocolNegotiationFactory``, as twisted.web's ``Site``) come before them.
    acceptableProtocols: list[bytes]
    #: Seconds that a connection which this side has closed waits for the peer to close as well.
    closeTimeout: float

    def _limit(self, handshakeTimeout: float | None, closeTimeout: float) -> None:
        for name, seconds in (
            ("handshakeTimeout", handshakeTimeout),
            ("closeTimeout", closeTimeout),
        ):
            if seconds is not None and not seconds >= 0:
                raise ValueError(f"{name} is {seconds!r}, which is no number of seconds")
        self.handshakeTimeout = handshakeTimeout
        self.closeTimeout = closeTimeout

    def _common(
        self, minimum: TLSVersion, maximum: TLSVersion, sessions: bool, logKeys: bool
    ) -> _ropewalk.TLSCommon:
        return {
            "protocols": self.acceptableProtocols,
            "minimum": TLSVersion(minimum).value,
            "maximum": TLSVersion(maximum).value,
            "sessions": sessions,
            "log_keys": logKeys,
        }

    def getContext(self) -> NoReturn:
        """Say that there is no pyOpenSSL context, to whoever takes this for a context factory."""
        raise TypeError(
            f"{type(self).__qualname__} makes no pyOpenSSL context: it is for listenSSL, connectSSL"
            " and startTLS of ropewalk's reactors, and for ropewalk.ssl.wrapClientTLS and"
            " wrapServerTLS"
        )


class ServerOptions(_Options):
    """How a server speaks TLS. Shared by any number of ports and connections.

    ``certificate`` is followed in its file by those that lead to its root; without ``privateKey``
    the key is in there, too. ``serverNames`` are certificates and keys for clients that ask for a
    name (SNI): ``{"example.org": ("org.pem", "org.key"), "*.example.org": …}``.

    With ``trustRoot``, clients show a certificate that leads there, or none if
    ``requireCertificate`` is false. ``logKeys`` appends the secrets of every connection to the file
    that the environment variable ``SSLKEYLOGFILE`` names, for debugging.

    :raise OSError: a file cannot be read.
    :raise ValueError: what is in it cannot be used; the text names file and cause.
    """

    def __init__(
        self,
        certificate: PEM,
        privateKey: PEM | None = None,
        *,
        serverNames: Mapping[str, tuple[PEM, PEM | None]] | None = None,
        acceptableProtocols: Iterable[bytes] = (),
        trustRoot: TrustRoot | None = None,
        requireCertificate: bool = True,
        minimumVersion: TLSVersion = TLSVersion.TLSv1_2,
        maximumVersion: TLSVersion = TLSVersion.TLSv1_3,
        enableSessions: bool = True,
        handshakeTimeout: float | None = 30.0,
        closeTimeout: float = 10.0,
        logKeys: bool = False,
    ) -> None:
        self._limit(handshakeTimeout, closeTimeout)
        self.acceptableProtocols = _protocols(acceptableProtocols)
        self._identities = (certificate, privateKey), dict(serverNames or {})
        self._native = _ropewalk.TLSServer(
            *self._load(),
            None if trustRoot is None else _roots(trustRoot),
            requireCertificate,
            self._common(minimumVersion, maximumVersion, enableSessions, logKeys),
        )

    def reload(self) -> None:
        """Read all certificates and keys again, for the handshakes to come.

        Connections that are open, and sessions that are resumed, go on as they are.

        :raise OSError: a file cannot be read.
        :raise ValueError: what is in it cannot be used. After either, all stays as it was.
        """
        self._native.reload(*self._load())

    def _load(self) -> tuple[_ropewalk.TLSIdentity, list[tuple[str, _ropewalk.TLSIdentity]]]:
        default, named = self._identities
        others = [(_ascii(name), _identity(*pair)) for name, pair in named.items()]
        return _identity(*default), others

    def _begin(self, layer: _ropewalk.TLSLayer, protocols: list[bytes] | None) -> None:
        layer._beginServer(self._native, protocols)


class ClientOptions(_Options):
    """How a client speaks TLS with the server ``hostname``, a name or an IP address for which the
    server's certificate has to be.

    Making one reads the platform's roots, which takes milliseconds, and its connections resume each
    other's sessions: make one for many connections, and :meth:`forHostname` for other servers.

    ``trustRoot`` is the platform's unless told. ``clientCertificate`` is shown to servers that ask
    for one: PEM with certificate and key, or a pair of both. ``sendServerName`` tells the server
    which name is wanted (SNI).

    ``insecurelyAcceptAnyCertificate`` talks to anybody: whoever sits in between can read and change
    everything.

    :raise OSError: a file cannot be read.
    :raise ValueError: what is in it cannot be used, or no certificate could be for ``hostname``.
    """

    def __init__(
        self,
        hostname: str,
        *,
        trustRoot: TrustRoot | None = None,
        clientCertificate: PEM | tuple[PEM, PEM | None] | None = None,
        acceptableProtocols: Iterable[bytes] = (),
        sendServerName: bool = True,
        minimumVersion: TLSVersion = TLSVersion.TLSv1_2,
        maximumVersion: TLSVersion = TLSVersion.TLSv1_3,
        enableSessions: bool = True,
        handshakeTimeout: float | None = 30.0,
        closeTimeout: float = 10.0,
        logKeys: bool = False,
        insecurelyAcceptAnyCertificate: bool = False,
    ) -> None:
        if insecurelyAcceptAnyCertificate and trustRoot is not None:
            raise TypeError("insecurelyAcceptAnyCertificate checks nothing, so no trustRoot either")
        self._limit(handshakeTimeout, closeTimeout)
        self.acceptableProtocols = _protocols(acceptableProtocols)
        identity = None
        if clientCertificate is not None:
            pair = clientCertificate
            identity = _identity(*pair) if isinstance(pair, tuple) else _identity(pair, None)
        roots = None
        if not insecurelyAcceptAnyCertificate:
            roots = _roots(platformTrust() if trustRoot is None else trustRoot)
        self._native = _ropewalk.TLSClient(
            roots,
            identity,
            sendServerName,
            self._common(minimumVersion, maximumVersion, enableSessions, logKeys),
        )
        self._setHostname(hostname)

    def _setHostname(self, hostname: str) -> None:
        if not isinstance(hostname, str):
            raise TypeError(f"hostname has to be text, not {type(hostname).__name__}")
        self.hostname = hostname
        self._name = _ascii(hostname)
        self._native.check_name(self._name)

    def forHostname(self, hostname: str) -> ClientOptions:
        """The same options for another server. They share sessions and roots.

        :raise ValueError: no certificate could be for ``hostname``.
        """
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._setHostname(hostname)
        return other

    def _begin(self, layer: _ropewalk.TLSLayer, protocols: list[bytes] | None) -> None:
        layer._beginClient(self._native, self._name, protocols)


def _ascii(hostname: str) -> str:
    """A name as certificates have it."""
    if hostname.isascii():
        return hostname
    try:
        return _idnaBytes(hostname).decode("ascii")
    except UnicodeError as error:
        raise ValueError(f"{hostname!r} is no host name: {error}") from error


def _identity(certificate: PEM, privateKey: PEM | None) -> _ropewalk.TLSIdentity:
    key = certificate if privateKey is None else privateKey
    if isinstance(certificate, bytes) and isinstance(key, bytes):
        return _ropewalk.TLSIdentity.from_pem(certificate, key)
    if isinstance(certificate, bytes) or isinstance(key, bytes):
        raise TypeError("a certificate and its key are either both files or both PEM in bytes")
    return _ropewalk.TLSIdentity.from_files(os.fspath(certificate), os.fspath(key))


def _roots(trustRoot: TrustRoot) -> _ropewalk.TLSRoots:
    if isinstance(trustRoot, _PlatformTrust):
        return _ropewalk.TLSRoots.platform()
    if isinstance(trustRoot, bytes):
        return _ropewalk.TLSRoots.from_pem(trustRoot)
    if isinstance(trustRoot, str | os.PathLike):
        return _ropewalk.TLSRoots.from_file(os.fspath(trustRoot))
    several = [_roots(one) for one in trustRoot]
    if not several:
        raise ValueError("an empty trustRoot trusts nobody")
    first, *others = several
    for other in others:
        first = first.and_also(other)
    return first


def _protocols(names: Iterable[bytes]) -> list[bytes]:
    if isinstance(names, bytes | str):
        raise TypeError("acceptableProtocols is a list of bytes, such as [b'h2', b'http/1.1']")
    names = list(names)
    for name in names:
        if not isinstance(name, bytes):
            raise TypeError(f"acceptableProtocols are bytes, not {name!r}")
        if not 1 <= len(name) <= 255:
            raise ValueError(f"{name!r} is no protocol name: those have 1 to 255 bytes")
    return names


def wrapClientTLS(options: ClientOptions, wrappedEndpoint: Any) -> IStreamClientEndpoint:
    """An endpoint that speaks TLS over the connections of ``wrappedEndpoint``, on any reactor."""
    from ropewalk._rustls import ClientEndpoint

    return ClientEndpoint(options, wrappedEndpoint)  # type: ignore[return-value]


def wrapServerTLS(options: ServerOptions, wrappedEndpoint: Any) -> IStreamServerEndpoint:
    """An endpoint that speaks TLS over the connections of ``wrappedEndpoint``, on any reactor."""
    from ropewalk._rustls import ServerEndpoint

    return ServerEndpoint(options, wrappedEndpoint)  # type: ignore[return-value]
