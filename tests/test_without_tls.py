"""pyOpenSSL is optional, as it is for Twisted; TLS is there without it, by `ropewalk.ssl`."""

import subprocess
import sys

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
