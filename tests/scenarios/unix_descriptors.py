"""Descriptors through UNIX streams: wanted, not wanted, too many, wrong ones."""

import os
import socket
import tempfile

from scenario import Recorder, Scenario, factory_of
from twisted.internet.interfaces import IFileDescriptorReceiver
from twisted.internet.protocol import ClientFactory
from twisted.logger import globalLogPublisher
from zope.interface import implementer


class Server(Recorder):
    """Does not want descriptors."""

    def dataReceived(self, data):
        super().dataReceived(data)
        # How much of more than this comes at once is chance.
        if len(data) < 10:
            self.scenario.record(self.label, "data", data.decode())


@implementer(IFileDescriptorReceiver)
class Receiver(Server):
    """Takes descriptors, reads what is in them and closes them."""

    raises_at = None

    def fileDescriptorReceived(self, descriptor):
        self.scenario.record(self.label, "descriptor", os.get_inheritable(descriptor))
        self.scenario.record(self.label, "content", os.pread(descriptor, 20, 0).decode())
        os.close(descriptor)
        if self.raises_at is not None:
            self.raises_at -= 1
            if self.raises_at == 0:
                raise RuntimeError("the receiver failed")


class Sender(Recorder):
    """A client, driven by the scenario."""


class Producer:
    """A push producer that records what it is told."""

    def __init__(self, scenario):
        self.scenario = scenario

    def __getattr__(self, name):
        return lambda: self.scenario.record("producer", name)


async def pair(scenario, path, build):
    """A connection: the server's protocol and the client's."""
    factory = factory_of(build)
    port = scenario.reactor.listenUNIX(path, factory)
    client = factory_of(lambda: Sender(scenario, "client"))
    connecting = ClientFactory()
    connecting.noisy = False
    connecting.buildProtocol = client.buildProtocol
    scenario.reactor.connectUNIX(path, connecting)
    await scenario.until(lambda: client.built and client.built[0].transport and factory.built)
    await scenario.stop(port)
    return factory.built[0], client.built[0]


async def ended(scenario, *protocols):
    scenario.record("ended", await scenario.until(lambda: all(p.reason for p in protocols)))


async def unwanted(scenario, path, file):
    server, client = await pair(scenario, path, lambda: Server(scenario))
    for _ in range(3):
        client.transport.sendFileDescriptor(file.fileno())
    client.transport.write(b"abcdef")
    await scenario.until(lambda: server.received == 6)
    client.transport.loseConnection()
    await ended(scenario, server, client)


async def wanted(scenario, path, file):
    server, client = await pair(scenario, path, lambda: Receiver(scenario))
    for data in (b"a", b"bc", b"def" * 100_000):
        client.transport.write(data[:1])
        client.transport.sendFileDescriptor(file.fileno())
        client.transport.writeSequence([data[1:], b"."])
        received = server.received
        count = len(data) + 1
        await scenario.until(lambda r=received, c=count: server.received == r + c)
        scenario.record("received", server.received)
    # Without descriptors it is as ever.
    client.transport.write(b"plain")
    await scenario.until(lambda: server.received == 300_011)
    server.transport.write(b"to the client")
    await scenario.until(lambda: client.received)
    client.transport.loseConnection()
    await ended(scenario, server, client)


async def raw_messages(scenario, path, file):
    """Several descriptors in one message, and a receiver that fails at one of them."""
    for raises_at in (None, 2):
        factory = factory_of(lambda: Receiver(scenario))
        port = scenario.reactor.listenUNIX(path, factory)
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(path)
            await scenario.until(lambda f=factory: f.built and f.built[0].transport)
            factory.built[0].raises_at = raises_at
            socket.send_fds(peer, [b"many"], [file.fileno()] * 3)
            await scenario.until(lambda f=factory: f.built[0].received or f.built[0].reason)
        await ended(scenario, factory.built[0])
        await scenario.stop(port)


async def overrun(scenario, path, file):
    for data in (b"", b"x"):
        server, client = await pair(scenario, path, lambda: Server(scenario))
        client.transport.sendFileDescriptor(file.fileno())
        client.transport.sendFileDescriptor(file.fileno())
        client.transport.write(data)
        await ended(scenario, server, client)


async def full_of_descriptors(scenario, path, file):
    """A push producer is paused by more than 64 descriptors, and resumed when they are sent."""
    server, client = await pair(scenario, path, lambda: Receiver(scenario, "many"))
    # The events of 70 descriptors say no more than their number.
    events = []
    server.fileDescriptorReceived = lambda fd: (os.close(fd), events.append(fd))
    server.dataReceived = lambda data: None
    client.transport.registerProducer(Producer(scenario), True)
    client.transport.write(b"x" * 70)
    for index in range(70):
        if index in (64, 65):
            scenario.record("before", index)
        client.transport.sendFileDescriptor(file.fileno())
    scenario.record("received", await scenario.until(lambda: len(events) == 70))
    client.transport.unregisterProducer()
    client.transport.loseConnection()
    await ended(scenario, server, client)


async def wrong_descriptors(scenario, path, file):
    for wrong in (10_000, -1, "text", 1 << 40):
        server, client = await pair(scenario, path, lambda: Server(scenario))
        scenario.attempt("send", client.transport.sendFileDescriptor, wrong)
        client.transport.write(b"abc")
        await ended(scenario, server, client)


def observe(scenario):
    def observer(event):
        if "IFileDescriptorReceiver" in event.get("format", ""):
            keys = ("protocolName", "hostAddress", "peerAddress")
            scenario.record("closed", event["format"], *(repr(event[key]) for key in keys))

    globalLogPublisher.addObserver(observer)


async def main(scenario):
    observe(scenario)
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryFile() as file:
        scenario.name(directory, "DIRECTORY")
        file.write(b"the content")
        file.flush()
        for part in (unwanted, wanted, raw_messages, overrun, full_of_descriptors):
            scenario.record("part", part.__name__)
            await part(scenario, os.path.join(directory, part.__name__), file)
        scenario.record("part", "wrong_descriptors")
        await wrong_descriptors(scenario, os.path.join(directory, "w"), file)


scenario = Scenario()
scenario.run(main)
