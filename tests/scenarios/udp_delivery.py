"""Datagrams of every size, in bursts, to protocols that raise, go away, or turn the reactor."""

import gc
import socket
import weakref

from scenario import Scenario
from twisted.internet.protocol import DatagramProtocol
from twisted.python import context
from twisted.python.log import ILogContext

SIZES = [0, 1, 2, 63, 1471, 1472, 1473, 8191, 8192, 8193, 32768, 65506, 65507]


class Receiver(DatagramProtocol):
    """Keeps what it receives, then does `then(self)`."""

    noisy = False

    def __init__(self, scenario, then=None):
        self.scenario = scenario
        self.then = then
        self.received = []

    def datagramReceived(self, data, address):
        self.received.append((data, address))
        if self.then is not None:
            self.then(self)

    def stopProtocol(self):
        self.scenario.record("stopProtocol", len(self.received))


def raw_peer(interface="127.0.0.1"):
    family = socket.AF_INET6 if ":" in interface else socket.AF_INET
    peer = socket.socket(family, socket.SOCK_DGRAM)
    peer.bind((interface, 0))
    return peer


def target(port):
    host = port.getHost()
    return host.host, host.port


async def sizes(scenario, interface, **options):
    """One datagram after the other, by size; the answer goes back."""
    protocol = Receiver(scenario)
    port = scenario.reactor.listenUDP(0, protocol, interface, **options)
    with raw_peer(interface) as peer:
        for size in SIZES:
            data = bytes(number % 251 for number in range(size))
            peer.sendto(data, target(port))
            await scenario.until(lambda: protocol.received)
            received, address = protocol.received.pop()
            whole = received == data
            cut = received == data[: len(received)]
            known = address == peer.getsockname()[:2]
            scenario.record(size, len(received), whole, cut, known, repr(type(address)))
            port.write(received, address)
            answer = peer.recv(1 << 20)
            scenario.record("answer", answer == received)
    await port.stopListening()


async def burst(scenario, label, then, *, count=5, **attributes):
    """Several datagrams that wait when the port first looks."""
    scenario.record(label)
    protocol = Receiver(scenario, then)
    port = scenario.reactor.listenUDP(0, protocol, "127.0.0.1")
    for name, value in attributes.items():
        setattr(port, name, value)
    with raw_peer() as peer:
        for number in range(count):
            peer.sendto(b"%d" % number, target(port))
        await scenario.until(lambda: len(protocol.received) == count, 0.2)
        scenario.record(label, [data.decode() for data, _ in protocol.received])
    await scenario.stop(port)


class StandIn:
    """A socket that says when it is read from and written to."""

    def __init__(self, scenario, real):
        self.scenario = scenario
        self.real = real

    def recvfrom(self, size):
        data, address = self.real.recvfrom(size)
        self.scenario.record("recvfrom", size, data.decode())
        return data.upper(), address

    def sendto(self, data, address):
        self.scenario.record("sendto", data.decode())
        return self.real.sendto(data, address)

    def __getattr__(self, name):
        return getattr(self.real, name)


async def stand_in(scenario):
    """What a program puts in the place of the socket is what is read from and written to."""
    protocol = Receiver(scenario, lambda receiver: port.write(*receiver.received[-1]))
    port = scenario.reactor.listenUDP(0, protocol, "127.0.0.1")
    port.socket = StandIn(scenario, port.socket)
    with raw_peer() as peer:
        peer.sendto(b"asked", target(port))
        await scenario.until(lambda: protocol.received)
        scenario.record("answer", peer.recv(100).decode())
    await port.stopListening()


async def membership(scenario):
    """Who is a reader, and who is let go."""
    reactor = scenario.reactor
    port = reactor.listenUDP(0, Receiver(scenario), "127.0.0.1")

    def say(label):
        scenario.record(label, reactor.getReaders().count(port), port in reactor.getWriters())

    say("listening")
    port.stopReading()
    say("stopped")
    reactor.addReader(port)
    say("added")
    reactor.addReader(port)
    say("added twice")
    reactor.removeReader(port)
    say("removed")
    port.resumeProducing()
    say("resumed")
    scenario.record("all", port in reactor.removeAll())
    say("after all")
    port.startReading()
    await port.stopListening()
    say("closed")
    gone = paused_and_dropped(scenario)
    gc.collect()
    scenario.record("collected", gone() is None)


def paused_and_dropped(scenario):
    """A port that nobody refers to but itself."""
    port = scenario.reactor.listenUDP(0, Receiver(scenario), "127.0.0.1")
    port.pauseProducing()
    port.getHandle().close()
    return weakref.ref(port.protocol)


async def unwritable(scenario):
    """A port is no writer: asking for writability ends it."""
    reactor = scenario.reactor
    port = reactor.listenUDP(0, Receiver(scenario), "127.0.0.1")
    port.startWriting()
    scenario.record("writers", reactor.getWriters().count(port))
    await scenario.until(lambda: not port.connected)
    scenario.record("left", reactor.getReaders().count(port), reactor.getWriters().count(port))


def raises(protocol):
    protocol.scenario.record("raises", len(protocol.received))
    raise KeyError(len(protocol.received)) if len(protocol.received) % 2 else SystemExit(3)


def loses(protocol):
    if len(protocol.received) == 2:
        protocol.transport.connectionLost()


def replaces(protocol):
    if len(protocol.received) == 2:
        port = protocol.transport
        other = Receiver(protocol.scenario, lambda other: protocol.scenario.record("replaced"))
        other.makeConnection(port)
        port.protocol = other


def turns(protocol):
    # A turn inside the first two callbacks finds what waits behind them.
    protocol.scenario.record("begin", protocol.received[-1][0].decode())
    if len(protocol.received) < 3:
        protocol.scenario.reactor.iterate(0)
    protocol.scenario.record("end", len(protocol.received))


def limits(protocol):
    """Marks where one event ends and the next begins."""
    protocol.scenario.record("datagram")
    if not getattr(protocol, "marked", False):
        protocol.marked = True

        def mark():
            protocol.marked = False
            protocol.scenario.record("turn")

        protocol.scenario.reactor.callLater(0, mark)


def says_system(protocol):
    protocol.scenario.record("system", context.get(ILogContext)["system"])


def name_classes(scenario):
    """A class's name is in the error of `doWrite`."""
    for name in ("ropewalk.udp.Port", "twisted.internet.udp.Port"):
        scenario.name(name, "Port")


async def main(scenario):
    name_classes(scenario)
    for interface in ["127.0.0.1", "::1"] if socket.has_ipv6 else ["127.0.0.1"]:
        await sizes(scenario, interface)
        await sizes(scenario, interface, maxPacketSize=65536)
        await sizes(scenario, interface, maxPacketSize=0)
    await burst(scenario, "raises", raises)
    await burst(scenario, "loses", loses)
    await burst(scenario, "replaces", replaces)
    await burst(scenario, "limit of none", None, maxThroughput=-1)
    await burst(scenario, "many", None, count=100)
    await burst(scenario, "system", says_system, count=1)
    await stand_in(scenario)
    await membership(scenario)
    if "polled" in scenario.arguments:
        # The reactor inside asyncio logs these, and orders its timers, in another way.
        await burst(scenario, "wrong size", None, count=1, maxPacketSize="8192")
        await burst(scenario, "negative size", None, count=1, maxPacketSize=-1)
        await burst(scenario, "own doRead", None, count=1, doRead=lambda: 1 / 0)
        await unwritable(scenario)
        await burst(scenario, "turns", turns)
        await burst(scenario, "limits", limits, maxThroughput=2)
        await burst(scenario, "limits of one", limits, count=40, maxThroughput=1)


scenario = Scenario()
scenario.run(main)
