"""A server on any Twisted reactor: echo_twisted.py REACTOR PORT [echo|sink|source].

REACTOR is a name that ``twist --reactor`` knows, as ``epoll`` or ``ropewalk``; with ``@uvloop``
behind it, the reactor runs in uvloop's event loop.
"""

import resource
import sys

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
from twisted.internet.protocol import Factory, Protocol  # noqa: E402
from zope.interface import implementer  # noqa: E402

CHUNK = b"x" * 65536


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


MODES = {"echo": Echo, "sink": Sink, "source": Source}

factory = Factory.forProtocol(MODES[sys.argv[3] if len(sys.argv) > 3 else "echo"])
factory.noisy = False
port = reactor.listenTCP(int(sys.argv[2]), factory, backlog=1024, interface="127.0.0.1")
print(f"listening on 127.0.0.1:{port.getHost().port}", flush=True)
reactor.run()
