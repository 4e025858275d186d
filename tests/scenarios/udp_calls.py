"""A UDP port that answers, to be run under strace: prints the number of its descriptor."""

import socket

from scenario import Scenario
from twisted.internet.protocol import DatagramProtocol


class Echo(DatagramProtocol):
    noisy = False

    def __init__(self):
        self.received = 0

    def datagramReceived(self, data, address):
        self.received += 1
        self.transport.write(data, address)


async def main(scenario):
    singles, together = (int(argument) for argument in scenario.arguments)
    protocol = Echo()
    port = scenario.reactor.listenUDP(0, protocol, "127.0.0.1")
    address = ("127.0.0.1", port.getHost().port)
    scenario.record(port.fileno(), repr(type(port)))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        for _ in range(singles):
            before = protocol.received
            peer.sendto(b"single", address)
            await scenario.until(lambda before=before: protocol.received > before)
        for _ in range(together):
            peer.sendto(b"together", address)
        await scenario.until(lambda: protocol.received == singles + together)
    await port.stopListening()


scenario = Scenario()
scenario.run(main)
