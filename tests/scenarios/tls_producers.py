"""TLS: producers are paused and resumed as the connection below is, and may write to the last."""

import sys

from scenario import Recorder, Scenario, factory_of
from tls_peers import KINDS, Peer, server
from twisted.internet.interfaces import IPullProducer, IPushProducer
from zope.interface import implementer


@implementer(IPushProducer)
class Push:
    """Writes a piece when it is resumed, until all are written."""

    def __init__(self, server, pieces, size):
        self.server, self.pieces, self.size = server, pieces, size

    def record(self, *event):
        self.server.scenario.record("producer", *event)

    def produce(self):
        self.pieces -= 1
        self.server.transport.write(b"p" * self.size)

    def resumeProducing(self):
        self.record("resumed")
        if self.pieces:
            self.produce()
        else:
            self.server.transport.unregisterProducer()
            self.server.transport.loseConnection()

    def pauseProducing(self):
        self.record("paused")

    def stopProducing(self):
        self.record("stopped")


@implementer(IPullProducer)
class Pull(Push):
    def resumeProducing(self):
        if self.pieces:
            self.produce()
        else:
            self.record("is done")
            self.server.transport.unregisterProducer()
            self.server.transport.loseConnection()


class Server(Recorder):
    make = None

    def dataReceived(self, data):
        super().dataReceived(data)
        if self.received < len(b"go"):
            return
        self.make(self)

    def push(self, pieces=4, size=1000, limit=500, lose=False):
        below = self.transport.transport
        below.bufferSize = limit
        producer = Push(self, pieces, size)
        self.transport.registerProducer(producer, True)
        self.scenario.record("registered", below.streamingProducer and True)
        producer.produce()
        if lose:
            self.transport.loseConnection()

    def pull(self):
        self.transport.registerProducer(Pull(self, 20, 5000), False)


async def case(scenario, name, make, slow=False):
    scenario.record(f"-- {name}")

    def build():
        built = Server(scenario)
        built.make = make
        return built

    factory = factory_of(build)
    port = scenario.listen(server(scenario, factory, scenario.arguments[0]))
    peer = Peer(scenario, port)
    scenario.record("handshake", await peer.handshake())
    peer.write(b"go")
    if slow:
        await scenario.until(lambda: ["producer", "paused"] in scenario.events[-2:])
    scenario.record("peer", await peer.wait_for_end(), len(peer.received))
    await scenario.until(lambda: factory.built[0].reason)
    peer.close()
    await scenario.stop(port)


def twice(built):
    built.push(1)
    built.transport.write(b"q")


async def abandoned(scenario):
    """The peer goes while the producer is paused: it is stopped."""
    scenario.record("-- abandoned")

    def build():
        built = Server(scenario)
        built.make = lambda built: built.push(3, 8_000_000, 65536)
        return built

    factory = factory_of(build)
    port = scenario.listen(server(scenario, factory, scenario.arguments[0]))
    peer = Peer(scenario, port)
    scenario.record("handshake", await peer.handshake())
    peer.write(b"go")
    await scenario.until(lambda: ["producer", "paused"] in scenario.events)
    peer.close()
    await scenario.until(lambda: factory.built[0].reason)
    await scenario.stop(port)


async def main(scenario):
    await abandoned(scenario)
    await case(scenario, "push", lambda built: built.push())
    await case(scenario, "push more than fits", lambda built: built.push(3, 200_000, 65536))
    await case(scenario, "push after loseConnection", lambda built: built.push(lose=True))
    await case(scenario, "push twice at once", twice)
    await case(scenario, "pull", Server.pull)
    await case(scenario, "slow reader", lambda built: built.push(2, 8_000_000, 65536), slow=True)


assert sys.argv[2] in KINDS
scenario = Scenario()
scenario.run(main)
