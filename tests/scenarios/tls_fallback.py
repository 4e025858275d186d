"""What is not as it is known is left to Twisted's Python, which works as ever; a line says why."""

import contextlib

from OpenSSL import SSL
from scenario import Recorder, Scenario, factory_of
from tls_peers import CERTIFICATE, Peer, server
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.logger import globalLogPublisher
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOProtocol
from zope.interface import implementer


class Echo(Recorder):
    def dataReceived(self, data):
        super().dataReceived(data)
        self.transport.write(data)


class Overrides(BufferingTLSTransport):
    def dataReceived(self, data):
        super().dataReceived(data)


class Harmless(BufferingTLSTransport):
    """Changes nothing of how records are moved."""

    def getPeerCertificate(self):
        return None


class OwnConnection(SSL.Connection):
    pass


@implementer(IOpenSSLServerConnectionCreator)
class OwnCreator:
    """Makes connections of another class, as programs do to wrap pyOpenSSL's."""

    def serverConnectionForTLS(self, protocol):
        return OwnConnection(CERTIFICATE.options().getContext())


def own_connection(factory):
    return server(scenario, factory, context=OwnCreator())


def of_class(protocol_class):
    def listening(factory):
        wrapper = server(scenario, factory)
        wrapper.protocol = protocol_class
        return wrapper

    return listening


def patched_instance(factory):
    class Patched(BufferingTLSTransport):
        def __init__(self, *arguments, **kw):
            super().__init__(*arguments, **kw)
            self._flushSendBIO = super()._flushSendBIO
            self._write = lambda data: BufferingTLSTransport._write(self, data)

    return of_class(Patched)(factory)


def patched_transport(factory):
    class Patched(BufferingTLSTransport):
        def makeConnection(self, transport):
            write = transport.write
            transport.write = lambda data: write(data)
            super().makeConnection(transport)

    return of_class(Patched)(factory)


def own_writing(factory):
    class Patched(BufferingTLSTransport):
        def makeConnection(self, transport):
            write = transport.doWrite
            transport.doWrite = lambda: write()
            super().makeConnection(transport)

    return of_class(Patched)(factory)


@contextlib.contextmanager
def unknown_binding():
    """OpenSSL's functions are somebody's own."""
    library = SSL._lib
    original = library.SSL_read
    library.SSL_read = lambda *arguments: original(*arguments)
    try:
        yield
    finally:
        library.SSL_read = original


@contextlib.contextmanager
def patched_class():
    original = TLSMemoryBIOProtocol._flushReceiveBIO
    TLSMemoryBIOProtocol._flushReceiveBIO = lambda self: original(self)
    try:
        yield
    finally:
        TLSMemoryBIOProtocol._flushReceiveBIO = original


async def case(name, listening, during=contextlib.nullcontext):
    scenario.record(f"-- {name}")
    lines = []
    with during():
        factory = factory_of(lambda: Echo(scenario))
        port = scenario.listen(listening(factory))
        globalLogPublisher.addObserver(lines.append)
        peer = Peer(scenario, port)
        scenario.record("handshake", await peer.handshake())
        for word in (b"one", b"two", b"three"):
            peer.write(word)
            await peer.wait_for(word)
        scenario.record("echoed", bytes(peer.received))
        below = factory.built[0].transport.transport
        native = getattr(below, "_tlsRecords", None) is not None
        globalLogPublisher.removeObserver(lines.append)
        peer.tls.shutdown()
        peer.flush()
        await scenario.until(lambda: factory.built[0].reason)
        peer.close()
        await scenario.stop(port)
    ours = [line for line in lines if line["log_namespace"] == "ropewalk._tls"]
    said = [[line["log_level"].name, line["reason"]] for line in ours]
    scenario.figures[name] = [native, said]


async def main(_):
    def plain(factory):
        return server(scenario, factory)

    # Before any other, for the functions are looked up once.
    await case("unknown binding", plain, unknown_binding)
    await case("as it is", plain)
    await case("harmless subclass", of_class(Harmless))
    await case("overriding subclass", of_class(Overrides))
    await case("own connection", own_connection)
    await case("patched class", plain, patched_class)
    await case("patched instance", patched_instance)
    await case("patched transport", patched_transport)
    await case("own doWrite", own_writing)


scenario = Scenario()
scenario.run(main)
