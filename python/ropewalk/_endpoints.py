"""Endpoint strings: ``ropewalk-tls:8443:certificate=cert.pem:privateKey=key.pem`` for servers, and
``ropewalk-tls:example.org:443`` for clients.

Names and meanings are those of the options in :mod:`ropewalk.ssl`. ``protocols`` are those of ALPN,
with commas between them; ``trustRoots`` is a PEM file.
"""

from __future__ import annotations

from typing import Any

from twisted.internet._idna import _idnaBytes
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    clientFromString,
    serverFromString,
)

from ropewalk import ssl


def server(
    reactor: Any,
    port: str = "",
    *,
    certificate: str,
    privateKey: str | None = None,
    interface: str = "",
    backlog: str = "50",
    endpoint: str | None = None,
    protocols: str = "",
    trustRoots: str | None = None,
    requireCertificate: str = "yes",
    minimumVersion: str = "TLSv1_2",
) -> Any:
    """The endpoint of a server. ``endpoint`` is a string to listen at in the place of a port."""
    if (endpoint is None) == (not port):
        raise ValueError("ropewalk-tls: takes either a port or an endpoint to listen at")
    options = ssl.ServerOptions(
        certificate,
        privateKey,
        acceptableProtocols=_protocols(protocols),
        trustRoot=trustRoots,
        requireCertificate=_truth("requireCertificate", requireCertificate),
        minimumVersion=_version(minimumVersion),
    )
    if endpoint is not None:
        return ssl.wrapServerTLS(options, serverFromString(reactor, endpoint))
    kind = TCP6ServerEndpoint if ":" in interface else TCP4ServerEndpoint
    return ssl.wrapServerTLS(options, kind(reactor, int(port), int(backlog), interface))


def client(
    reactor: Any,
    host: str,
    port: str = "443",
    *,
    timeout: str = "30",
    bindAddress: str | None = None,
    certificate: str | None = None,
    privateKey: str | None = None,
    endpoint: str | None = None,
    protocols: str = "",
    trustRoots: str | None = None,
    minimumVersion: str = "TLSv1_2",
) -> Any:
    """The endpoint of a client. ``endpoint`` is a string to connect by; then ``host`` is only the
    name that the certificate has to be for."""
    options = ssl.ClientOptions(
        host,
        trustRoot=trustRoots,
        clientCertificate=None if certificate is None else (certificate, privateKey),
        acceptableProtocols=_protocols(protocols),
        minimumVersion=_version(minimumVersion),
    )
    if endpoint is not None:
        return ssl.wrapClientTLS(options, clientFromString(reactor, endpoint))
    source = None if bindAddress is None else (bindAddress, 0)
    wrapped = HostnameEndpoint(reactor, _idnaBytes(host), int(port), float(timeout), source)
    return ssl.wrapClientTLS(options, wrapped)


def _protocols(names: str) -> list[bytes]:
    return [name.encode() for name in names.split(",") if name]


def _version(name: str) -> ssl.TLSVersion:
    try:
        return ssl.TLSVersion[name]
    except KeyError:
        known = ", ".join(ssl.TLSVersion.__members__)
        raise ValueError(f"minimumVersion is {name!r}, and not one of {known}") from None


def _truth(option: str, word: str) -> bool:
    if word not in ("yes", "no"):
        raise ValueError(f"{option} is {word!r}, and neither yes nor no")
    return word == "yes"
