"""Wrong arguments to a UDP port, and calls at the wrong time."""

import socket

from scenario import Scenario
from twisted.internet.protocol import DatagramProtocol


class Refusals(DatagramProtocol):
    noisy = False

    def __init__(self, scenario):
        self.scenario = scenario

    def connectionRefused(self):
        self.scenario.record("connectionRefused")

    def stopProtocol(self):
        self.scenario.record("stopProtocol", self.transport is None)


def listening_errors(scenario, taken):
    attempt, listen = scenario.attempt, scenario.reactor.listenUDP
    protocol = Refusals(scenario)
    attempt("name as interface", listen, 0, protocol, interface="example.com")
    attempt("swapped", listen, protocol, 0, interface="example.com")
    attempt("taken", listen, taken, protocol, interface="127.0.0.1")
    attempt("not here", listen, 0, protocol, interface="192.0.2.1")
    attempt("text as port", listen, "domain", protocol)
    attempt("negative port", listen, -1, protocol)
    attempt("large port", listen, 65536, protocol)
    adopt = scenario.reactor.adoptDatagramPort
    attempt("adopt UNIX", adopt, 0, socket.AF_UNIX, protocol)
    attempt("adopt nothing", adopt, 999, socket.AF_INET, protocol)


def wrong_writes(scenario, port, peer):
    def attempt(label, *arguments):
        scenario.attempt(f"write {label}", port.write, *arguments)

    attempt("text", "text", peer)
    attempt("None", None, peer)
    attempt("number", 5, peer)
    attempt("bytearray", bytearray(b"four"), peer)
    attempt("memoryview", memoryview(b"four"), peer)
    attempt("nothing", b"", peer)
    attempt("without address", b"x")
    attempt("to a name", b"x", ("localhost", peer[1]))
    attempt("text to a name", "x", ("localhost", peer[1]))
    attempt("to bytes", b"x", (b"127.0.0.1", peer[1]))
    attempt("to a list", b"x", list(peer))
    attempt("to text", b"x", "127.0.0.1")
    attempt("to nothing", b"x", ())
    attempt("to three", b"x", (*peer, 0))
    attempt("to IPv6", b"x", ("::1", peer[1]))
    attempt("text to IPv6", "x", ("::1", peer[1]))
    attempt("to short form", b"x", ("127.1", peer[1]))
    attempt("to zeros", b"x", ("127.000.000.001", peer[1]))
    attempt("to port 0", b"x", ("127.0.0.1", 0))
    attempt("to port 65536", b"x", ("127.0.0.1", 65536))
    attempt("to port -1", b"x", ("127.0.0.1", -1))
    attempt("to port as text", b"x", ("127.0.0.1", str(peer[1])))
    attempt("to port True", b"x", ("127.0.0.1", True))
    attempt("to broadcast", b"x", ("<broadcast>", 9))
    attempt("too long", b"x" * 65508, peer)
    attempt("much too long", b"x" * 1_000_000, peer)
    scenario.attempt("writeSequence", port.writeSequence, [b"a", b"b"], peer)
    scenario.attempt("writeSequence of text", port.writeSequence, ["a"], peer)
    scenario.attempt("keyword", port.write, datagram=b"x", addr=peer)


def wrong_connects(scenario, port, peer):
    def attempt(label, function, *arguments):
        scenario.attempt(label, function, *arguments)

    attempt("connect to a name", port.connect, "localhost", peer[1])
    attempt("connect", port.connect, *peer)
    attempt("connect twice", port.connect, *peer)
    attempt("connected write", port.write, b"x")
    attempt("connected write to the peer", port.write, b"x", peer)
    attempt("connected write to another", port.write, b"x", ("127.0.0.2", peer[1]))
    attempt("connected write to a list", port.write, b"x", list(peer))
    attempt("connected write of text", port.write, "x")
    attempt("connected write too long", port.write, b"x" * 65508)
    attempt("connected write of much", port.write, b"x" * 65507)


async def main(scenario):
    reactor = scenario.reactor
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as raw:
        raw.bind(("127.0.0.1", 0))
        peer = raw.getsockname()
        scenario.name(peer[1], "PEER")
        listening_errors(scenario, peer[1])
        protocol = Refusals(scenario)
        port = reactor.listenUDP(0, protocol, interface="127.0.0.1")
        scenario.name(port.getHost().port, "PORT")
        wrong_writes(scenario, port, peer)
        wrong_connects(scenario, port, peer)
        scenario.attempt("broadcast allowed", port.getBroadcastAllowed)
        scenario.attempt("allow broadcast", port.setBroadcastAllowed, True)
    # The peer is gone: the first write arrives nowhere, and the second one hears of it.
    scenario.attempt("write to nobody", port.write, b"x")
    scenario.attempt("write to nobody again", port.write, b"x")
    stopped = port.stopListening()
    scenario.attempt("write while stopping", port.write, b"x")
    await stopped
    for label, function, arguments in [
        ("write after stop", port.write, (b"x",)),
        ("write to an address after stop", port.write, (b"x", peer)),
        ("write to a name after stop", port.write, (b"x", ("localhost", 1))),
        ("host after stop", port.getHost, ()),
        ("handle after stop", port.getHandle, ()),
        ("number after stop", lambda: scenario.record("number", port.fileno()), ()),
        ("stop after stop", port.stopListening, ()),
        ("stop writing", port.stopWriting, ()),
        ("attribute", lambda: port.socket, ()),
        ("delete attribute", lambda: delattr(port, "socket"), ()),
    ]:
        scenario.attempt(label, function, *arguments)
    scenario.attempt("text", repr, port)


scenario = Scenario()
scenario.run(main)
