"""Every callback of the reactor raises, with exceptions that end other programs as well."""

import socket

from scenario import Recorder, Scenario, connect, factory_of
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import ClientFactory
from zope.interface import implementer

ERRORS = [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit]


@implementer(IHalfCloseableProtocol)
class Raiser(Recorder):
    """Raises in the callback named `place`."""

    def __init__(self, scenario, place, error, label="server"):
        super().__init__(scenario, label)
        self.place = place
        self.error = error

    def raise_at(self, place):
        if place == self.place:
            raise self.error(f"in {place}")

    def connectionMade(self):
        super().connectionMade()
        self.raise_at("connectionMade")

    def dataReceived(self, data):
        super().dataReceived(data)
        self.raise_at("dataReceived")

    def readConnectionLost(self):
        self.scenario.record("server", "readConnectionLost")
        self.raise_at("readConnectionLost")
        self.transport.loseConnection()

    def writeConnectionLost(self):
        self.scenario.record("server", "writeConnectionLost")
        self.raise_at("writeConnectionLost")

    def connectionLost(self, reason):
        super().connectionLost(reason)
        self.raise_at("connectionLost")

    def resumeProducing(self):
        self.transport.unregisterProducer()
        self.raise_at("resumeProducing")
        self.transport.loseConnection()

    def stopProducing(self):
        self.scenario.record("server", "stopProducing")


async def server_callbacks(scenario, error):
    for place in (
        "connectionMade",
        "dataReceived",
        "readConnectionLost",
        "writeConnectionLost",
        "connectionLost",
        "resumeProducing",
    ):
        scenario.record("place", place, error.__name__)
        factory = factory_of(lambda place=place: Raiser(scenario, place, error))
        port = scenario.listen(factory)
        with connect(port) as peer:
            await scenario.until(lambda f=factory: f.built and f.built[0].transport)
            server = factory.built[0]
            if place == "writeConnectionLost":
                server.transport.loseWriteConnection()
            elif place == "resumeProducing":
                scenario.attempt("register", server.transport.registerProducer, server, False)
            elif server.transport.connected:
                peer.sendall(b"data")
                await scenario.until(lambda s=server: s.received or s.reason)
                try:
                    peer.shutdown(socket.SHUT_WR)
                except OSError:
                    pass  # the server reset the connection
            scenario.record("peer", await scenario.end_of(peer, 0.5))
        await scenario.until(lambda s=server: s.reason, 2)
        await scenario.stop(port)


async def accepting(scenario, error):
    tried = []

    def build(address):
        tried.append(address)
        raise error("in buildProtocol")

    scenario.record("place", "buildProtocol", error.__name__)
    factory = factory_of(lambda: None)
    factory.buildProtocol = build
    port = scenario.listen(factory)
    with connect(port) as peer, connect(port) as second:
        # Whether the first peer sees its end before the second is accepted is chance.
        await scenario.until(lambda: len(tried) == 2, 1)
        scenario.record("peer", await scenario.end_of(peer, 0.3))
        scenario.record("second", await scenario.end_of(second, 0.3))
    await scenario.stop(port)


class Client(ClientFactory):
    noisy = False

    def __init__(self, scenario, place, error):
        self.scenario = scenario
        self.place = place
        self.error = error
        self.done = False

    def raise_at(self, place):
        self.scenario.record("client", place)
        if place == self.place:
            raise self.error(f"in {place}")

    def startedConnecting(self, connector):
        self.raise_at("startedConnecting")

    def buildProtocol(self, address):
        self.raise_at("buildProtocol")
        return Recorder(self.scenario, "client")

    def clientConnectionFailed(self, connector, reason):
        self.done = True
        self.scenario.record("client", reason)
        self.raise_at("clientConnectionFailed")

    def clientConnectionLost(self, connector, reason):
        self.done = True
        self.raise_at("clientConnectionLost")


async def connecting(scenario, error):
    for place in ("buildProtocol", "clientConnectionLost", "clientConnectionFailed"):
        scenario.record("place", f"client {place}", error.__name__)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            number = listener.getsockname()[1]
            scenario.name(number, "PORT")
            client = Client(scenario, place, error)
            if place == "clientConnectionFailed":
                listener.close()
            scenario.reactor.connectTCP("127.0.0.1", number, client, timeout=5)
            if place != "clientConnectionFailed":
                listener.setblocking(False)
                await scenario.sleep(0.02)
                listener.accept()[0].close()
            await scenario.until(lambda c=client: c.done, 0.5)


class Foreign:
    """A descriptor of the program's own that raises in the method named `place`."""

    def __init__(self, scenario, place, error):
        self.scenario = scenario
        self.place = place
        self.error = error
        self.socket, self.other = socket.socketpair()
        self.lost = False

    def raise_at(self, place):
        if place == self.place:
            raise self.error(f"in {place}")

    def fileno(self):
        return self.socket.fileno()

    def logPrefix(self):
        self.raise_at("logPrefix")
        return "foreign"

    def doRead(self):
        self.socket.recv(100)
        self.raise_at("doRead")
        return ValueError("lost") if self.place == "connectionLost" else None

    def doWrite(self):
        self.raise_at("doWrite")
        self.scenario.reactor.removeWriter(self)

    def connectionLost(self, reason):
        self.lost = True
        self.scenario.record("foreign", "connectionLost", reason)
        self.raise_at("connectionLost")


async def foreign(scenario, error):
    for place in ("doRead", "doWrite", "logPrefix", "connectionLost"):
        if (place, error) == ("logPrefix", KeyboardInterrupt):
            continue  # not caught around logPrefix: every turn of the loop fails anew
        scenario.record("place", f"foreign {place}", error.__name__)
        source = Foreign(scenario, place, error)
        scenario.reactor.addReader(source)
        if place == "doWrite":
            scenario.reactor.addWriter(source)
        source.other.send(b"x")
        await scenario.until(lambda s=source: s.lost, 0.2)
        present = [source in scenario.reactor.getReaders()]
        present.append(source in scenario.reactor.getWriters())
        scenario.record("foreign", "still there", present)
        scenario.reactor.removeReader(source)
        scenario.reactor.removeWriter(source)
        source.socket.close()
        source.other.close()


async def main(scenario):
    def fail(error, place):
        raise error(f"in {place}")

    for error in ERRORS:
        scenario.reactor.callLater(0, fail, error, "callLater")
        await scenario.sleep(0.01)
        scenario.reactor.callFromThread(fail, error, "callFromThread")
        await scenario.sleep(0.01)
        await server_callbacks(scenario, error)
        await accepting(scenario, error)
        await connecting(scenario, error)
        await foreign(scenario, error)
        scenario.reactor.addSystemEventTrigger("before", "custom", fail, error, "trigger")
        scenario.reactor.fireSystemEvent("custom")
    scenario.reactor.addSystemEventTrigger("during", "shutdown", fail, SystemExit, "shutdown")


scenario = Scenario()
scenario.run(main)
