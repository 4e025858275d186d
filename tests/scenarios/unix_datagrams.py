"""UNIX datagrams from senders of every kind, in bursts, and what may not be sent."""

import os
import socket
import tempfile

from scenario import Scenario
from twisted.internet.protocol import DatagramProtocol


class Receiver(DatagramProtocol):
    """Records what it receives; a name that it is sent is answered."""

    noisy = False

    def __init__(self, scenario, fails=False):
        self.scenario = scenario
        self.fails = fails
        self.received = 0

    def datagramReceived(self, data, address):
        self.received += 1
        self.scenario.record(len(data), bytes(data[:8]), address)
        if self.fails:
            raise KeyError(self.received)
        if address:
            self.scenario.attempt("answer", self.transport.write, data, address)


def raw(name=None):
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    if name is not None:
        peer.bind(name)
    return peer


async def senders(scenario, port, protocol, directory):
    """A path, a path that is no text, an abstract name, and none."""
    names = [f"{directory}/sender", os.fsencode(f"{directory}/") + b"\xff", b"\0ropewalk", None]
    for name in names:
        with raw(name) as peer:
            for size in [0, 1, 8191, 8192, 8193, 60_000]:
                before = protocol.received
                peer.sendto(b"x" * size, port.port)
                await scenario.until(lambda before=before: protocol.received > before)
                if name is not None:
                    scenario.record("answered", len(peer.recv(1 << 20)))


def misuse(scenario, port, directory):
    for label, data, address in [
        ("text", "text", port.port),
        ("nobody", b"x", f"{directory}/nobody"),
        ("nothing", b"x", None),
        ("a host", b"x", ("127.0.0.1", 9)),
        ("long path", b"x", "/" * 200),
        ("too much", b"x" * 10_000_000, port.port),
    ]:
        scenario.attempt(f"write {label}", port.write, data, address)


async def main(scenario):
    reactor = scenario.reactor
    with tempfile.TemporaryDirectory() as directory:
        scenario.name(directory, "DIRECTORY")
        for where in [f"{directory}/path", "\0ropewalk-receiver"]:
            protocol = Receiver(scenario)
            port = reactor.listenUNIXDatagram(where, protocol)
            scenario.record(port.getHost(), repr(port))
            await senders(scenario, port, protocol, directory)
            for left in os.listdir(directory):
                if left != "path":
                    os.unlink(os.path.join(directory, left))
            misuse(scenario, port, directory)
            await port.stopListening()
        scenario.record("left", os.listdir(directory))
        scenario.attempt(
            "taken", reactor.listenUNIXDatagram, f"{directory}/path", Receiver(scenario)
        )
        protocol = Receiver(scenario, fails=True)
        port = reactor.listenUNIXDatagram(f"{directory}/burst", protocol, maxPacketSize=3)
        with raw() as peer:
            for number in range(8):
                peer.sendto(b"%d-long" % number, port.port)
        await scenario.until(lambda: protocol.received == 8)
        await port.stopListening()


scenario = Scenario()
scenario.run(main)
