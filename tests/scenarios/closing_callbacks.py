"""A protocol that closes something inside every callback: itself, its port, or its neighbours."""

import socket

from scenario import Recorder, Scenario, connect, factory_of
from twisted.internet.interfaces import IHalfCloseableProtocol
from zope.interface import implementer

PLACES = ["connectionMade", "dataReceived", "readConnectionLost", "connectionLost", "resume"]


@implementer(IHalfCloseableProtocol)
class Closer(Recorder):
    """Does `close(self)` in the callback named `place`."""

    def __init__(self, scenario, place, close):
        super().__init__(scenario)
        self.place = place
        self.close = close

    def at(self, place):
        if place == self.place:
            self.close(self)

    def connectionMade(self):
        super().connectionMade()
        self.at("connectionMade")
        if self.place == "resume":
            self.transport.registerProducer(self, False)

    def dataReceived(self, data):
        super().dataReceived(data)
        self.at("dataReceived")

    def readConnectionLost(self):
        self.at("readConnectionLost")
        self.transport.loseConnection()

    def writeConnectionLost(self):
        self.scenario.record("server", "writeConnectionLost")

    def connectionLost(self, reason):
        super().connectionLost(reason)
        self.at("connectionLost")

    def resumeProducing(self):
        self.transport.unregisterProducer()
        self.at("resume")

    def stopProducing(self):
        self.scenario.record("server", "stopProducing")


def lose(protocol):
    protocol.transport.loseConnection()


def write_and_lose(protocol):
    protocol.transport.write(b"x" * 300_000)
    protocol.transport.loseConnection()


def abort(protocol):
    protocol.transport.abortConnection()


def write_and_abort(protocol):
    protocol.transport.write(b"x" * 300_000)
    protocol.transport.abortConnection()


def half_close(protocol):
    protocol.transport.loseWriteConnection()


def close_neighbours(protocol):
    for other in list(protocol.factory.built):
        if other.transport is not None:
            other.transport.abortConnection()


def stop_listening(protocol):
    protocol.factory.port.stopListening()
    protocol.transport.loseConnection()


def remove_self(protocol):
    reactor = protocol.scenario.reactor
    reactor.removeReader(protocol.transport)
    reactor.removeWriter(protocol.transport)
    reactor.callLater(0, protocol.transport.loseConnection)


WAYS = [
    lose,
    write_and_lose,
    abort,
    write_and_abort,
    half_close,
    close_neighbours,
    stop_listening,
    remove_self,
]


async def one(scenario, place, close):
    scenario.record("place", place, close.__name__)
    factory = factory_of(lambda: Closer(scenario, place, close))
    factory.port = port = scenario.listen(factory)
    with connect(port) as peer:
        await scenario.until(lambda: factory.built and factory.built[0].transport)
        server = factory.built[0]
        await scenario.sleep(0.005)
        if not server.reason:
            try:
                peer.sendall(b"data")
                await scenario.until(lambda: server.received or server.reason, 0.1)
                peer.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the server was faster
        received, end = await scenario.end_of(peer, 0.5)
        # Aborted while bytes are on their way, any number of them may have arrived.
        scenario.record("peer", "some" if close is write_and_abort else received, end)
    scenario.record("lost", await scenario.until(lambda: server.reason, 2))
    await scenario.stop(port)
    if place == "connectionLost":
        scenario.events = [event for event in scenario.events if not is_refusal(event)]


def is_refusal(event):
    """Whether a closed descriptor was refused, which is different with each of Twisted's pollers.

    epoll does not add one, kqueue and asyncio have other words for it, poll does not remove one
    either, and select takes it and drops it later. ropewalk does what Twisted's epoll does with all
    of them.
    """
    words = ("negative", "Invalid file descriptor")
    return event[0] == "logged" and any(word in event[-1][-1] for word in words)


async def crowd(scenario, close):
    """All of a batch become readable at once, and the first closes the others."""
    scenario.record("crowd", close.__name__)
    factory = factory_of(lambda: Closer(scenario, "dataReceived", close))
    factory.port = port = scenario.listen(factory)
    peers = [connect(port) for _ in range(20)]
    await scenario.until(lambda: len(factory.built) == len(peers))
    for peer in peers:
        peer.sendall(b"data")
    await scenario.until(lambda: all(p.reason for p in factory.built))
    scenario.record("all lost", all(p.reason for p in factory.built))
    for peer in peers:
        peer.close()
    await scenario.stop(port)


async def main(scenario):
    for place in PLACES:
        for close in WAYS:
            await one(scenario, place, close)
    await crowd(scenario, lose)
    events, scenario.events = scenario.events, []
    await crowd(scenario, close_neighbours)
    # Which one is first is the poller's choice; how many of each kind is not.
    scenario.events = events + sorted(scenario.events, key=repr)


scenario = Scenario()
scenario.run(main)
