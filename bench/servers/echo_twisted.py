"""A server on any Twisted reactor: echo_twisted.py REACTOR PORT MODE.

MODE is echo (the default), sink, source, writes, unix (echo at a path), udp (echo) or udp-count.
With ``tls-`` before one of the first four, it is served over TLS; the certificate and its key are
in the PEM file that the environment's BENCH_CERTIFICATE names. If BENCH_TLS is ``ropewalk.ssl``,
that is used in the place of pyOpenSSL.

REACTOR is a name that ``twist --reactor`` knows, as ``epoll`` or ``ropewalk``; with ``@uvloop``
behind it, the reactor runs in uvloop's event loop.
"""

import os
import resource
import sys
import tempfile

from twisted.application.reactors import getReactorTypes, installReactor
from twisted.python.reflect import namedModule

_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def install(name, loop):
    """Install the reactor of that name, in an event loop of its own if one is named."""
    if not loop:
        return installReactor(name)
    [found] = {r.moduleName for r in getReactorTypes() if r.shortName == name}
    namedModule(found).install(namedModule(loop).new_event_loop())
    return namedModule("twisted.internet.reactor")


name, _, loop = sys.argv[1].partition("@")
reactor = install(name, loop)

from twisted.internet.interfaces import IPullProducer  # noqa: E402
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol  # noqa: E402
from zope.interface import implementer  # noqa: E402

CHUNK = b"x" * 65536
PIECES = [b"%09d\n" % number for number in range(1000)]


class Echo(Protocol):
    def connectionMade(self):
        self.transport.setTcpNoDelay(True)

    def dataReceived(self, data):
        self.transport.write(data)


class Sink(Protocol):
    def dataReceived(self, data):
        pass


@implementer(IPullProducer)
class Source(Protocol):
    """Sends until the peer closes."""

    def connectionMade(self):
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, False)

    def resumeProducing(self):
        self.transport.write(CHUNK)

    def stopProducing(self):
        pass


class Writes(Protocol):
    """Answers a question, which is short enough to come whole, with many small writes."""

    def connectionMade(self):
        self.transport.setTcpNoDelay(True)

    def dataReceived(self, data):
        write = self.transport.write
        for piece in PIECES:
            write(piece)


class UnixEcho(Protocol):
    def dataReceived(self, data):
        self.transport.write(data)


class UDPEcho(DatagramProtocol):
    noisy = False

    def datagramReceived(self, datagram, address):
        self.transport.write(datagram, address)


class UDPCount(DatagramProtocol):
    """Counts datagrams, and answers ``?`` with their number."""

    noisy = False
    count = 0

    def datagramReceived(self, datagram, address):
        if datagram == b"?":
            self.transport.write(str(self.count).encode(), address)
        else:
            self.count += 1


def context():
    """What TLS needs to know; only servers of pyOpenSSL's need pyOpenSSL."""
    if os.environ.get("BENCH_TLS") == "ropewalk.ssl":
        from ropewalk.ssl import ServerOptions

        return ServerOptions(os.environ["BENCH_CERTIFICATE"])

    from twisted.internet.ssl import CertificateOptions, PrivateCertificate

    with open(os.environ["BENCH_CERTIFICATE"]) as file:
        own = PrivateCertificate.loadPEM(file.read())
    # Sessions, which the others have unasked, for the workload that resumes them.
    return CertificateOptions(own.privateKey.original, own.original, enableSessions=True)


def listen(mode, port):
    """Serve in that mode; where the server is, for the client."""
    if mode in DATAGRAMS:
        port = reactor.listenUDP(port, DATAGRAMS[mode](), interface="127.0.0.1")
        return f"udp:127.0.0.1:{port.getHost().port}"
    _, secure, mode = mode.rpartition("tls-")
    factory = Factory.forProtocol(STREAMS[mode])
    factory.noisy = False
    if secure:
        options = {"backlog": 1024, "interface": "127.0.0.1"}
        port = reactor.listenSSL(port, factory, context(), **options)
        return f"tls:127.0.0.1:{port.getHost().port}"
    if mode == "unix":
        path = os.path.join(tempfile.mkdtemp(prefix="ropewalk-bench-"), "socket")
        reactor.listenUNIX(path, factory, backlog=1024)
        return f"unix:{path}"
    port = reactor.listenTCP(port, factory, backlog=1024, interface="127.0.0.1")
    return f"127.0.0.1:{port.getHost().port}"


STREAMS = {"echo": Echo, "sink": Sink, "source": Source, "writes": Writes, "unix": UnixEcho}
DATAGRAMS = {"udp": UDPEcho, "udp-count": UDPCount}

where = listen(sys.argv[3] if len(sys.argv) > 3 else "echo", int(sys.argv[2]))
print(f"listening on {where}", flush=True)
reactor.run()
