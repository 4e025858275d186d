"""TLS: what is written arrives, whole and in order, however it is written."""

import sys

from scenario import Recorder, Scenario, factory_of
from tls_peers import client, client_factory_of, digest, server
from twisted.internet.interfaces import IHandshakeListener
from zope.interface import implementer

LARGE = bytes(range(256)) * 20_000


@implementer(IHandshakeListener)
class Echo(Recorder):
    def connectionMade(self):
        # When, is another thing to say than what the client sees.
        self.transport.write(b"greeting ")

    def handshakeCompleted(self):
        self.scenario.record(self.label, "handshakeCompleted")

    def dataReceived(self, data):
        super().dataReceived(data)
        self.transport.write(data)


@implementer(IHandshakeListener)
class Client(Recorder):
    def __init__(self, scenario):
        super().__init__(scenario, "client")
        self.data = b""

    def connectionMade(self):
        super().connectionMade()
        self.kept = self.transport.write
        self.kept(b"from connectionMade ")

    def handshakeCompleted(self):
        self.scenario.record(self.label, "handshakeCompleted")
        self.transport.write(b"from handshakeCompleted ")

    def dataReceived(self, data):
        super().dataReceived(data)
        self.data += data

    async def echoed(self, data):
        await self.scenario.until(lambda: data in self.data)
        self.scenario.record("echoed", len(self.data), digest(self.data))


async def main(scenario):
    kind = scenario.arguments[0]
    echo = factory_of(lambda: Echo(scenario))
    port = scenario.listen(server(scenario, echo, kind))
    clients = client_factory_of(lambda: Client(scenario))
    wrapper = client(scenario, clients, kind)
    connector = scenario.reactor.connectTCP("127.0.0.1", port.getHost().port, wrapper)
    await scenario.until(lambda: clients.built)
    peer = clients.built[0]
    await peer.echoed(b"from handshakeCompleted ")
    await small_writes(scenario, peer)
    await misuse(scenario, peer)
    for size in (1, 16_384, 16_385, 63_999, 64_001, 70_000, len(LARGE)):
        peer.data = b""
        peer.transport.write(LARGE[:size])
        await scenario.until(lambda size=size: len(peer.data) == size)
        scenario.record("echoed", len(peer.data), digest(peer.data))
    scenario.record("disconnecting", bool(connector.transport.disconnecting))
    peer.transport.write(b"the last")
    peer.transport.loseConnection()
    peer.transport.write(b"too late")
    await scenario.until(lambda: peer.reason and echo.built[0].reason)
    peer.transport.write(b"much too late")
    peer.kept(b"much too late")
    await scenario.sleep(0.02)
    await scenario.stop(port)


async def small_writes(scenario, peer):
    """Many in one turn, some through the method kept from before the handshake."""
    for number in range(3000):
        text = b"%d," % number
        if number % 3:
            peer.transport.write(text)
        elif number % 2:
            peer.kept(text)
        else:
            peer.transport.writeSequence([text[:1], text[1:]])
    await peer.echoed(b"2999,")


async def misuse(scenario, peer):
    """What is not bytes; what can be made bytes is sent."""
    for value in ("text", 7, None, memoryview(b"view"), ["list"]):
        scenario.attempt(f"write {type(value).__name__}", peer.transport.write, value)
    scenario.attempt("writeSequence", peer.transport.writeSequence, [b"a", "b"])
    changed = bytearray(b"mutable")
    scenario.attempt("write bytearray", peer.transport.write, changed)
    changed[:] = b"changed"
    scenario.attempt("write nothing", peer.transport.write, b"")
    peer.transport.write(b"marker")
    await peer.echoed(b"marker")


if sys.argv[2] == "unbuffered":
    # Text is encoded there, with a warning each time.
    import warnings

    warnings.simplefilter("ignore")
scenario = Scenario()
scenario.run(main)
