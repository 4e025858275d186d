"""What ropewalk's UDP ports do in another way than Twisted's.

A port that is paused or stopped by a callback delivers nothing more, though it has received more
already, and a connected port whose peer is not there says so and lives on.
"""

import socket
import time

from scenario import Scenario
from twisted.internet.protocol import DatagramProtocol


class Receiver(DatagramProtocol):
    """Calls `then(transport)` at the second datagram."""

    noisy = False

    def __init__(self, scenario, then=None):
        self.scenario = scenario
        self.then = then
        self.received = []

    def datagramReceived(self, data, address):
        self.received.append(data.decode())
        if len(self.received) == 2 and self.then is not None:
            self.then(self.transport)

    def connectionRefused(self):
        self.scenario.record("refused")

    def stopProtocol(self):
        self.scenario.record("stopped", self.received)


def listen(scenario, protocol):
    port = scenario.reactor.listenUDP(0, protocol, "127.0.0.1")
    return port, ("127.0.0.1", port.getHost().port)


async def pause(scenario, peer, how):
    scenario.record(how)
    protocol = Receiver(scenario, lambda transport: getattr(transport, how)())
    port, address = listen(scenario, protocol)
    for number in range(5):
        peer.sendto(b"%d" % number, address)
    await scenario.sleep(0.05)
    scenario.record("before", protocol.received)
    peer.sendto(b"5", address)
    await scenario.sleep(0.05)
    scenario.record("still", protocol.received)
    begun = time.process_time()
    await scenario.sleep(1)
    scenario.figures[f"cpu_seconds_{how}"] = time.process_time() - begun
    port.resumeProducing()
    await scenario.until(lambda: len(protocol.received) == 6)
    scenario.record("after", protocol.received)
    await port.stopListening()


async def stop(scenario, peer, how):
    scenario.record(how)
    protocol = Receiver(scenario, lambda transport: getattr(transport, how)())
    port, address = listen(scenario, protocol)
    for number in range(5):
        peer.sendto(b"%d" % number, address)
    await scenario.until(lambda: not port.connected)


async def refuse(scenario):
    """The peer is not there, then it is, then it is gone again."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as absent:
        absent.bind(("127.0.0.1", 0))
        address = absent.getsockname()
    protocol = Receiver(scenario)
    port, own = listen(scenario, protocol)
    port.connect(*address)
    port.write(b"to nobody")
    await scenario.sleep(0.05)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as present:
        present.bind(address)
        port.write(b"to somebody")
        scenario.record("peer", present.recv(100).decode())
        present.sendto(b"answer", own)
        await scenario.until(lambda: protocol.received)
    port.write(b"to nobody")
    await scenario.sleep(0.05)
    scenario.record("connected", bool(port.connected))
    await port.stopListening()


async def main(scenario):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        await pause(scenario, peer, "pauseProducing")
        await pause(scenario, peer, "stopReading")
        await stop(scenario, peer, "stopListening")
        await stop(scenario, peer, "connectionLost")
    await refuse(scenario)


scenario = Scenario()
scenario.run(main)
