"""Descriptors arrive when the table has no room for them: run under `prlimit --nofile`."""

import os
import socket
import tempfile

from scenario import Recorder, Scenario, descriptors, factory_of
from twisted.internet.interfaces import IFileDescriptorReceiver
from zope.interface import implementer

SENT = 8
ROOM = 3


@implementer(IFileDescriptorReceiver)
class Receiver(Recorder):
    def __init__(self, scenario):
        super().__init__(scenario)
        self.descriptors = []

    def fileDescriptorReceived(self, descriptor):
        self.descriptors.append(descriptor)


async def deliver(scenario, peer, protocol):
    """Send descriptors; how many arrive with the data."""
    received = protocol.received
    socket.send_fds(peer, [b"data"], [0] * SENT)
    await scenario.until(lambda: protocol.received > received or protocol.reason)
    arrived = len(protocol.descriptors)
    for descriptor in protocol.descriptors:
        os.close(descriptor)
    protocol.descriptors.clear()
    return arrived


async def main(scenario):
    factory = factory_of(lambda: Receiver(scenario))
    unwanting = factory_of(lambda: Recorder(scenario))
    with tempfile.TemporaryDirectory() as directory:
        for build in (factory, unwanting):
            path = os.path.join(directory, "socket")
            port = scenario.reactor.listenUNIX(path, build)
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(path)
                await scenario.until(lambda b=build: b.built and b.built[0].transport)
                protocol = build.built[0]
                protocol.descriptors = []
                before = len(descriptors())
                scenario.record("with room", await deliver(scenario, peer, protocol))
                filling = []
                while True:
                    try:
                        filling.append(os.dup(0))
                    except OSError:
                        break
                for descriptor in filling[-ROOM:]:
                    os.close(descriptor)
                scenario.record("nearly full", await deliver(scenario, peer, protocol))
                held = [os.dup(0) for _ in range(ROOM)]
                scenario.record("full", await deliver(scenario, peer, protocol))
                for descriptor in filling[:-ROOM] + held:
                    os.close(descriptor)
                scenario.record("with room again", await deliver(scenario, peer, protocol))
                scenario.record("kept", len(descriptors()) - before)
                scenario.record("received", protocol.received)
            await scenario.until(lambda p=protocol: p.reason)
            await scenario.stop(port)


scenario = Scenario()
scenario.run(main)
