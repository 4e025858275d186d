"""What a type checker sees of ropewalk; `make lint` runs it over this file, nobody runs it."""

from pathlib import Path

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.protocol import DatagramProtocol, Factory
from typing_extensions import assert_type

import ropewalk
import ropewalk.default
import ropewalk.epollreactor
import ropewalk.pollreactor
from ropewalk import ssl, tcp, udp

assert_type(ropewalk.__version__, str)
assert_type(ropewalk.install(), None)
assert_type(ropewalk.default.install(), None)
assert_type(ropewalk.epollreactor.install(), None)
assert_type(ropewalk.pollreactor.install(), None)

reactor = ropewalk.epollreactor.EPollReactor()
base: PosixReactorBase = reactor
assert_type(reactor.poller, str)
assert_type(reactor.timeout(), float | None)
assert_type(reactor.listenTCP(0, Factory(), interface="127.0.0.1"), tcp.Port)
assert_type(reactor.listenUDP(0, DatagramProtocol()), udp.Port)
assert_type(reactor.listenMulticast(0, DatagramProtocol()), udp.MulticastPort)

server = ssl.ServerOptions("cert.pem", Path("key.pem"), serverNames={"a": (b"", None)})
assert_type(server.reload(), None)
client = ssl.ClientOptions("a", trustRoot=["ca.pem", b"", ssl.platformTrust()])
assert_type(client.forHostname("b"), ssl.ClientOptions)
assert_type(client.handshakeTimeout, float | None)
ssl.wrapClientTLS(client, TCP4ClientEndpoint(reactor, "a", 443))
unusable: Exception = ssl.CertificateExpired("")
refused: type[ssl.TLSError] = ssl.CertificateRefused


def known(info: ssl.TLSInfo, certificate: ssl.Certificate) -> None:
    """What a transport tells."""
    assert_type(info.version, ssl.TLSVersion | None)
    assert_type(info.negotiatedProtocol, bytes | None)
    assert_type(certificate.der, bytes)
    assert_type(certificate.names, list[str])
