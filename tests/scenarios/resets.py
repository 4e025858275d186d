"""A peer that resets the connection at any point."""

import socket

from scenario import Recorder, Scenario, connect, factory_of, reset
from twisted.internet.interfaces import IHalfCloseableProtocol
from zope.interface import implementer


class Paused(Recorder):
    """Does not read."""

    def connectionMade(self):
        super().connectionMade()
        self.transport.pauseProducing()


class Bulk(Recorder):
    """Sends more than the kernel takes at once."""

    def connectionMade(self):
        super().connectionMade()
        self.transport.write(b"x" * 20_000_000)


class Streaming(Recorder):
    """Sends for ever, as a push producer that minds its consumer."""

    def connectionMade(self):
        super().connectionMade()
        self.paused = False
        self.transport.registerProducer(self, True)
        self.resumeProducing()

    def pauseProducing(self):
        self.paused = True

    def resumeProducing(self):
        self.paused = False
        while not self.paused:
            self.transport.write(b"x" * 65536)

    def stopProducing(self):
        self.scenario.record("server", "stopProducing")


class Echo(Recorder):
    def dataReceived(self, data):
        super().dataReceived(data)
        self.transport.write(data)


class Leaving(Bulk):
    """Has said goodbye, with bytes still to send."""

    def connectionMade(self):
        super().connectionMade()
        self.transport.loseConnection()


@implementer(IHalfCloseableProtocol)
class HalfClosed(Recorder):
    def readConnectionLost(self):
        self.scenario.record("server", "readConnectionLost")
        self.received += 1

    def writeConnectionLost(self):
        self.scenario.record("server", "writeConnectionLost")


async def at_once(peer, scenario, server):
    pass


async def after_data(peer, scenario, server):
    peer.sendall(b"data")
    await scenario.until(lambda: server.received, 0.2)


async def with_unread_data(peer, scenario, server):
    await scenario.sleep(0.02)


async def after_half_close(peer, scenario, server):
    peer.shutdown(socket.SHUT_WR)
    await scenario.until(lambda: server.received, 0.2)


async def after_reading_some(peer, scenario, server):
    peer.setblocking(False)

    def read():
        try:
            return peer.recv(1000)
        except BlockingIOError:
            return b""

    await scenario.until(read)


CASES = [
    (Recorder, at_once),
    (Recorder, after_data),
    (Echo, after_data),
    (Bulk, at_once),
    (Bulk, with_unread_data),
    (Bulk, after_reading_some),
    (Streaming, with_unread_data),
    (Streaming, after_reading_some),
    (Leaving, with_unread_data),
    (Leaving, after_reading_some),
    (HalfClosed, after_half_close),
]


async def main(scenario):
    for kind, before in CASES:
        scenario.record("case", kind.__name__, before.__name__)
        factory = factory_of(lambda kind=kind: kind(scenario))
        port = scenario.listen(factory)
        peer = connect(port)
        await scenario.until(lambda f=factory: f.built and f.built[0].transport)
        server = factory.built[0]
        await before(peer, scenario, server)
        reset(peer)
        scenario.record("lost", await scenario.until(lambda s=server: s.reason, 1))
        server.transport.abortConnection()
        await scenario.stop(port)

    scenario.record("case", "reset before it was accepted")
    factory = factory_of(lambda: Recorder(scenario))
    port = scenario.listen(factory)
    for _ in range(10):
        reset(connect(port))
    with connect(port) as peer:
        await scenario.until(lambda: len(factory.built) >= 11, 2)
        peer.sendall(b"alive")
        await scenario.until(lambda: any(p.received for p in factory.built))
    await scenario.until(lambda: all(p.reason for p in factory.built))
    await scenario.stop(port)

    scenario.record("case", "reset while nobody reads")
    factory = factory_of(lambda: Paused(scenario))
    port = scenario.listen(factory)
    peer = connect(port)
    await scenario.until(lambda: factory.built)
    reset(peer)
    await scenario.sleep(0.05)
    scenario.record("noticed", factory.built[0].reason is not None)
    factory.built[0].transport.resumeProducing()
    scenario.record("noticed", await scenario.until(lambda: factory.built[0].reason))
    await scenario.stop(port)


scenario = Scenario()
scenario.run(main)
