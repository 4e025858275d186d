"""pyOpenSSL is optional, as it is for Twisted; TLS is there without it, by `ropewalk.ssl`."""

import subprocess
import sys

from support import SCENARIOS, environment_of

PROGRAM = """
import sys

sys.modules["OpenSSL"] = None  # As if it were not installed.

import ropewalk

ropewalk.install()

from twisted.internet import protocol, reactor


class Echo(protocol.Protocol):
    def dataReceived(self, data):
        self.transport.write(data)


class Client(protocol.Protocol):
    def connectionMade(self):
        print(hasattr(self.transport, "startTLS"))
        self.transport.write(b"over plain TCP")

    def dataReceived(self, data):
        print(data.decode())
        reactor.stop()


port = reactor.listenTCP(0, protocol.Factory.forProtocol(Echo), interface="127.0.0.1")
client = protocol.ClientFactory.forProtocol(Client)
reactor.connectTCP("127.0.0.1", port.getHost().port, client)
reactor.run()
"""


def test_the_reactor_works_without_pyopenssl() -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.split("\n")[:2] == ["True", "over plain TCP"]


SECURE = """
import sys

sys.modules["OpenSSL"] = None  # As if it were not installed.
sys.path.insert(0, sys.argv[2])

from twisted.application.reactors import installReactor

reactor = installReactor(sys.argv[1])

from ssl_peers import for_client, for_server
from twisted.internet import endpoints, protocol
from twisted.internet.interfaces import IReactorSSL, ISSLTransport, ITLSTransport


class Server(protocol.Protocol):
    def dataReceived(self, data):
        if data == b"STARTTLS":
            self.transport.write(b"go")
            self.transport.startTLS(for_server())
        else:
            self.transport.write(data.upper())
            self.transport.loseConnection()


class Client(protocol.Protocol):
    def connectionMade(self):
        print(ITLSTransport.providedBy(self.transport), IReactorSSL.providedBy(reactor))
        self.transport.write(b"STARTTLS")

    def dataReceived(self, data):
        if data == b"go":
            self.transport.startTLS(for_client())
            self.transport.write(b"hello")
            print(ISSLTransport.providedBy(self.transport))
        else:
            print(data.decode(), self.transport.getPeerCertificate() is not None)

    def connectionLost(self, reason):
        print(reason.type.__name__)
        second()


class Listener(protocol.Protocol):
    def dataReceived(self, data):
        print(data.decode())
        self.transport.loseConnection()

    def connectionLost(self, reason):
        print(reason.type.__name__)
        reactor.stop()


class Greeter(protocol.Protocol):
    def connectionMade(self):
        self.transport.write(b"greeting")


def second():
    at = endpoints.SSL4ServerEndpoint(reactor, 0, for_server(), interface="127.0.0.1")
    at.listen(protocol.Factory.forProtocol(Greeter)).addCallback(connect)


def connect(port):
    to = endpoints.SSL4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port, for_client())
    to.connect(protocol.Factory.forProtocol(Listener))


port = reactor.listenTCP(0, protocol.Factory.forProtocol(Server), interface="127.0.0.1")
client = protocol.ClientFactory.forProtocol(Client)
reactor.connectTCP("127.0.0.1", port.getHost().port, client)
reactor.run()
"""


def test_tls_is_there_without_pyopenssl(reactor_name: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", SECURE, reactor_name, str(SCENARIOS)],
        env=environment_of(reactor_name),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.splitlines() == [
        "True True",
        "True",
        "HELLO True",
        "ConnectionDone",
        "greeting",
        "ConnectionDone",
    ]
