"""How connections end."""

import socket

from scenario import Scenario, connect
from ssl_peers import Pair, Side, for_client, for_server
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure


async def queued(scenario):
    """What is queued arrives before the end; what is written after it does not."""
    pair = Pair(scenario, for_server(), for_client())
    await pair.made()
    pair.client.transport.write(b"x" * 5_000_000)
    pair.client.transport.loseConnection()
    pair.client.transport.write(b"dropped")
    await pair.ended()
    scenario.record("received", len(pair.server.data), b"dropped" in pair.server.data)
    await pair.stop()


async def in_the_handshake(scenario):
    """What was written is delivered first; with nothing written, the connection is aborted."""

    class Writes(Side):
        def connectionMade(self):
            super().connectionMade()
            self.transport.write(b"before")
            self.transport.loseConnection()

    pair = Pair(scenario, for_server(), for_client(), make_client=Writes)
    await pair.ended()
    scenario.record("received", bytes(pair.server.data).decode())
    await pair.stop()

    class Silent(Side):
        def connectionMade(self):
            super().connectionMade()
            self.transport.loseConnection()

    pair = Pair(scenario, for_server(), for_client(), make_client=Silent)
    await scenario.until(lambda: pair._clients.built and pair.client.reason)
    await pair.stop()


async def paused(scenario):
    """A transport that is paused and then closed reads the peer's goodbye, and nothing more."""
    pair = Pair(scenario, for_server(closeTimeout=20), for_client())
    await pair.made()
    pair.server.transport.pauseProducing()
    pair.client.transport.write(b"nobody reads this")
    await scenario.sleep(0.02)
    pair.server.transport.loseConnection()
    await pair.ended()
    await pair.stop()


async def aborted(scenario):
    pair = Pair(scenario, for_server(), for_client())
    await pair.made()
    pair.client.transport.write(b"never sent")
    pair.client.transport.abortConnection()
    pair.client.transport.abortConnection()
    await pair.ended()
    await pair.stop()


async def truncated(scenario):
    """The peer's stream ends without a goodbye."""
    pair = Pair(scenario, for_server(), for_client())
    await pair.made()
    lower = pair.client.transport.transport
    lower.socket.shutdown(socket.SHUT_WR)
    await pair.ended()
    scenario.record("is", pair.server.reason.check(ConnectionLost) is ConnectionLost)
    await pair.stop()


async def unanswered(scenario):
    """A peer that does not say goodbye is waited for, but not for ever."""
    pair = Pair(scenario, for_server(closeTimeout=0.05), for_client())
    await pair.made()
    # It reads nothing any more.
    pair.client.transport.transport.stopReading()
    pair.server.transport.loseConnection()
    await scenario.until(lambda: pair.server.reason)
    pair.client.transport.abortConnection()
    await pair.ended()
    await pair.stop()


async def slow_handshake(scenario):
    """A peer that says nothing."""
    pair = Pair(scenario, for_server(handshakeTimeout=0.05), for_client())
    await pair.made()
    peer = connect(pair.port)
    await scenario.until(lambda: len(pair._servers.built) == 2 and pair.server.reason)
    scenario.record("peer", await scenario.end_of(peer))
    peer.close()
    await pair.stop()


async def raising(scenario):
    """An exception in dataReceived is logged, and what the connection ends with."""

    class Raises(Side):
        def dataReceived(self, data):
            raise ZeroDivisionError("in dataReceived")

    pair = Pair(scenario, for_server(), for_client(), make_server=Raises)
    await pair.made()
    pair.client.transport.write(b"x")
    await pair.ended()
    await pair.stop()


async def verification(scenario):
    """A program that is not content with the certificate."""

    class Refuses(Side):
        def handshakeCompleted(self):
            super().handshakeCompleted()
            self.transport.failVerification(Failure(ValueError("not this one")))

    pair = Pair(scenario, for_server(), for_client(), make_client=Refuses)
    await pair.ended()
    await pair.stop()


async def refused_protocol(scenario):
    """A factory that makes no protocol."""
    pair = Pair(scenario, for_server(), for_client(), make_server=lambda *_: None)
    await scenario.until(lambda: pair._clients.built and pair.client.reason)
    await pair.stop()


async def collected(scenario):
    """Nothing is left of a connection that has ended."""
    import gc
    import weakref

    pair = Pair(scenario, for_server(), for_client())
    await pair.made()
    pair.client.transport.write(b"x")
    await scenario.until(lambda: pair.server.data)
    objects = {}
    for side in (pair.server, pair.client):
        objects[side.label] = weakref.ref(side)
        objects[f"{side.label}'s layer"] = weakref.ref(side.transport)
        objects[f"{side.label}'s stream"] = weakref.ref(side.transport.transport)
    pair.client.transport.loseConnection()
    await pair.ended()
    pair._servers.built.clear()
    pair._clients.built.clear()
    del pair.connector, side
    await scenario.sleep(0)
    gc.collect()
    scenario.record("left", [name for name, reference in objects.items() if reference()])
    await pair.stop()


async def cycles(scenario):
    """A layer that is part of a cycle, and never connected, is collected."""
    import gc
    import weakref

    from ropewalk._rustls import TLSFactory, TLSProtocol

    wrapped = Protocol()
    layer = TLSProtocol(TLSFactory(for_server(), None), wrapped)
    wrapped.transport = layer
    layer.transport = layer
    reference = weakref.ref(layer)
    del wrapped, layer
    scenario.record("cycle", reference() is not None)
    gc.collect()
    scenario.record("collected", reference() is None)


scenario = Scenario()
scenario.run(globals()[scenario.arguments[0]])
