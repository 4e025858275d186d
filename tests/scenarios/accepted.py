"""What a program sees of an accepted connection: names, addresses, options, and who half-closes."""

import socket

from scenario import Scenario, connect
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.python.components import globalRegistry, registerAdapter
from zope.interface import (
    Interface,
    alsoProvides,
    classImplements,
    directlyProvides,
    implementer,
)


class Kept(Protocol):
    """Keeps what it hears of its end."""

    def __init__(self):
        self.heard = []

    def connectionLost(self, reason):
        self.heard.append(reason.type.__name__)


class HalfClosing(Kept):
    def readConnectionLost(self):
        self.heard.append("read")
        self.transport.loseConnection()

    def writeConnectionLost(self):
        self.heard.append("write")


@implementer(IHalfCloseableProtocol)
class Declared(HalfClosing):
    pass


class DeclaredLater(HalfClosing):
    pass


class Conforming(HalfClosing):
    def __conform__(self, interface):
        return self if interface is IHalfCloseableProtocol else None


class IAdaptable(Interface):
    pass


@implementer(IAdaptable)
class Adapted(HalfClosing):
    pass


class Falsy(Declared):
    def __bool__(self):
        return False


class Prefixed(Kept):
    def logPrefix(self):
        return "its own"


class Keeper(Factory):
    """Keeps protocols and their addresses."""

    noisy = False

    def __init__(self, make):
        self.make = make
        self.made = []
        self.addresses = []

    def buildProtocol(self, address):
        protocol = self.make()
        self.made.append(protocol)
        self.addresses.append(address)
        return protocol


async def accept(scenario, make):
    """A connection of a port: the port, its factory, and the peer's socket."""
    factory = Keeper(make)
    port = scenario.listen(factory)
    peer = connect(port)
    await scenario.until(lambda: factory.made and factory.made[0].transport is not None)
    return port, factory, peer


async def until_heard(scenario, factory):
    await scenario.until(lambda: factory.made[0].heard)


async def finish(scenario, port, factory, peer):
    peer.close()
    heard = factory.made[0].heard
    await scenario.until(lambda: heard[-1:] in (["ConnectionDone"], ["ConnectionLost"]))
    await scenario.stop(port)


async def names_and_addresses(scenario):
    port, factory, peer = await accept(scenario, Kept)
    transport = factory.made[0].transport
    host, number = peer.getsockname()
    expected = IPv4Address("TCP", host, number)
    for label, address in (("built", factory.addresses[0]), ("peer", transport.getPeer())):
        scenario.record(
            label, type(address).__name__, address == expected, hash(address) == hash(expected)
        )
        scenario.record(label, repr(address) == repr(expected), list(vars(address)))
    ours = transport.getHost()
    scenario.record(
        "host", ours == port.getHost(), hash(ours) == hash(port.getHost()), type(ours).__name__
    )
    factory.addresses[0].port = 1
    scenario.record("an address of its own", transport.getPeer() == expected)
    scenario.record(
        "client", transport.client == (host, number), transport.hostname, transport.sessionno
    )
    scenario.record("server", transport.server is port, transport.reactor is scenario.reactor)
    scenario.record("prefix", transport.logstr, transport.logPrefix())
    label = f"<Kept #0 on {port.getHost().port}>"
    scenario.record("text", repr(transport) == label, transport.repstr == label)
    transport.repstr = "<another>"
    scenario.record("another", repr(transport))
    del transport.repstr
    scenario.attempt("none", repr, transport)
    for name in ("client", "server", "sessionno", "hostname"):
        setattr(transport, name, "assigned")
        scenario.record(name, getattr(transport, name))
    await finish(scenario, port, factory, peer)
    scenario.attempt("host of a lost one", transport.getHost)


async def label_of_a_closed_port(scenario):
    port, factory, peer = await accept(scenario, Kept)
    number = port.getHost().port
    await scenario.stop(port)
    scenario.record("text", repr(factory.made[0].transport) == f"<Kept #0 on {number}>")
    peer.close()
    await until_heard(scenario, factory)


async def prefixes(scenario):
    def on_the_instance():
        protocol = Kept()
        protocol.logPrefix = lambda: "the instance's"
        return protocol

    for make in (Prefixed, on_the_instance):
        port, factory, peer = await accept(scenario, make)
        scenario.record("prefix", factory.made[0].transport.logstr)
        await finish(scenario, port, factory, peer)


async def options(scenario):
    for kind in ("NoDelay", "KeepAlive"):
        port, factory, peer = await accept(scenario, Kept)
        transport = factory.made[0].transport
        get, set = getattr(transport, f"getTcp{kind}"), getattr(transport, f"setTcp{kind}")
        for value in (True, False, 1, 0, 7, -1, None, True, "text", b"\x01\0\0\0", 2**40):
            scenario.attempt(f"set {kind} {value!r}", set, value)
            scenario.record("get", get())
        await finish(scenario, port, factory, peer)


async def options_of_a_python_socket(scenario):
    port, factory, peer = await accept(scenario, Kept)
    transport = factory.made[0].transport
    scenario.record("socket", type(transport.socket) is socket.socket)
    transport.setTcpNoDelay(1)
    level = (socket.IPPROTO_TCP, socket.TCP_NODELAY)
    scenario.record("get", transport.getTcpNoDelay(), bool(transport.socket.getsockopt(*level)))
    scenario.record("host", transport.getHost() == port.getHost())
    await finish(scenario, port, factory, peer)
    for name in ("getTcpNoDelay", "getTcpKeepAlive", "getHost"):
        scenario.attempt(name, getattr(transport, name))
    for name in ("setTcpNoDelay", "setTcpKeepAlive"):
        scenario.attempt(name, getattr(transport, name), True)


async def half_closing(scenario):
    def directly():
        protocol = HalfClosing()
        directlyProvides(protocol, IHalfCloseableProtocol)
        return protocol

    registerAdapter(lambda adaptable: adaptable, IAdaptable, IHalfCloseableProtocol)
    makers = (HalfClosing, Declared, directly, Conforming, Adapted, Falsy)
    for make in makers:
        port, factory, peer = await accept(scenario, make)
        peer.shutdown(socket.SHUT_WR)
        await until_heard(scenario, factory)
        await finish(scenario, port, factory, peer)
        scenario.record(make.__name__, *factory.made[0].heard)
    globalRegistry.register([IAdaptable], IHalfCloseableProtocol, "", None)


async def half_closing_declared_later(scenario):
    async def lives(change):
        port, factory, peer = await accept(scenario, DeclaredLater)
        change(factory.made[0])
        peer.shutdown(socket.SHUT_WR)
        await until_heard(scenario, factory)
        await finish(scenario, port, factory, peer)
        scenario.record("heard", *factory.made[0].heard)

    await lives(lambda protocol: None)
    await lives(lambda protocol: alsoProvides(protocol, IHalfCloseableProtocol))
    await lives(lambda protocol: None)
    await lives(lambda protocol: classImplements(DeclaredLater, IHalfCloseableProtocol))


async def write_side(scenario):
    for make in (Kept, Declared, Conforming, Falsy):
        port, factory, peer = await accept(scenario, make)
        factory.made[0].transport.write(b"the last")
        factory.made[0].transport.loseWriteConnection()
        scenario.record(make.__name__, await scenario.end_of(peer))
        await finish(scenario, port, factory, peer)
        scenario.record(make.__name__, *factory.made[0].heard)


async def main(scenario):
    for part in (
        names_and_addresses,
        label_of_a_closed_port,
        prefixes,
        options,
        options_of_a_python_socket,
        half_closing,
        half_closing_declared_later,
        write_side,
    ):
        scenario.record(part.__name__)
        await part(scenario)


if __name__ == "__main__":
    scenario = Scenario()
    scenario.run(main)
