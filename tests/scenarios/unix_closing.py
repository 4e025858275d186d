"""UNIX connections and ports that are closed inside their callbacks."""

import os
import socket
import tempfile

from scenario import Recorder, Scenario, factory_of
from twisted.internet.interfaces import IFileDescriptorReceiver
from zope.interface import implementer

ENDS = ("loseConnection", "abortConnection", "loseWriteConnection")


@implementer(IFileDescriptorReceiver)
class Closing(Recorder):
    """Ends its connection in one callback, in one way."""

    def __init__(self, scenario, where, how):
        super().__init__(scenario)
        self.where, self.how = where, how

    def end(self, where):
        self.scenario.record(self.label, where)
        if where == self.where:
            self.transport.write(b"last words")
            getattr(self.transport, self.how)()

    def connectionMade(self):
        self.end("connectionMade")

    def fileDescriptorReceived(self, descriptor):
        os.close(descriptor)
        self.end("fileDescriptorReceived")

    def dataReceived(self, data):
        super().dataReceived(data)
        self.end("dataReceived")


async def streams(scenario, path):
    for where in ("connectionMade", "fileDescriptorReceived", "dataReceived"):
        for how in ENDS:
            scenario.record("case", where, how)
            factory = factory_of(lambda w=where, h=how: Closing(scenario, w, h))
            port = scenario.reactor.listenUNIX(path, factory)
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(path)
                socket.send_fds(peer, [b"abc"], [0, 0])
                received, end = await scenario.end_of(peer)
                scenario.record("peer", received, end)
            await scenario.until(lambda f=factory: f.built[0].reason)
            await scenario.stop(port)


async def ports(scenario, path):
    """A port that its factory closes while connections wait."""
    port = None

    def build():
        scenario.record("closing the port")
        port.stopListening()
        return Recorder(scenario)

    factory = factory_of(build)
    port = scenario.reactor.listenUNIX(path, factory)
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        first.connect(path)
        second.connect(path)
        await scenario.until(lambda: not os.path.lexists(path))
        scenario.record("path is left", os.path.lexists(path))
    await scenario.until(lambda: all(p.reason for p in factory.built))
    scenario.record("built", len(factory.built))


async def main(scenario):
    with tempfile.TemporaryDirectory() as directory:
        await streams(scenario, os.path.join(directory, "socket"))
        await ports(scenario, os.path.join(directory, "port"))


scenario = Scenario()
scenario.run(main)
