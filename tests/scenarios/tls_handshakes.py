"""TLS: verification, callbacks of contexts that run Python, renegotiation, one layer in another."""

from OpenSSL import SSL
from scenario import Recorder, Scenario, factory_of
from tls_peers import (
    CERTIFICATE,
    Peer,
    certificate,
    client,
    client_factory_of,
    digest,
    for_client,
    server,
)


class Echo(Recorder):
    def dataReceived(self, data):
        super().dataReceived(data)
        self.transport.write(data)


class Client(Recorder):
    """Sends, and closes when everything has come back."""

    size = 100_000

    def __init__(self, scenario):
        super().__init__(scenario, "client")

    def connectionMade(self):
        self.transport.write(b"c" * self.size)

    def dataReceived(self, data):
        super().dataReceived(data)
        if self.received == self.size:
            self.transport.loseConnection()


async def exchange(scenario, name, listening, connecting):
    """One connection between two factories with their layers."""
    scenario.record(f"-- {name}")
    servers = factory_of(lambda: Recorder(scenario) if "refused" in name else Echo(scenario))
    clients = client_factory_of(lambda: Client(scenario))
    port = scenario.listen(listening(servers))
    scenario.reactor.connectTCP("127.0.0.1", port.getHost().port, connecting(clients))
    await scenario.until(lambda: servers.built and clients.built)
    await scenario.until(lambda: servers.built[0].reason and clients.built[0].reason)
    await scenario.stop(port)


async def verification(scenario):
    def listening(factory):
        return server(scenario, factory)

    def trusting(factory):
        return client(scenario, factory)

    def strange(factory):
        return client(scenario, factory, context=for_client(certificate("other")))

    def misnamed(factory):
        return client(scenario, factory, context=for_client(name="elsewhere"))

    await exchange(scenario, "verified", listening, trusting)
    await exchange(scenario, "refused authority", listening, strange)
    await exchange(scenario, "refused name", listening, misnamed)


async def layers(scenario):
    """TLS over TLS: the inner layer is Twisted's, above records that are moved natively."""

    def listening(factory):
        return server(scenario, server(scenario, factory))

    def connecting(factory):
        return client(scenario, client(scenario, factory))

    await exchange(scenario, "over TLS", listening, connecting)


class Talkative:
    """A context whose callbacks write to the connection from within OpenSSL."""

    def __init__(self, scenario, version):
        self.scenario = scenario
        self.context = CERTIFICATE.options().getContext()
        self.context.set_max_proto_version(version)
        self.context.set_options(SSL.OP_NO_TICKET)
        self.context.set_info_callback(self.info)
        self.protocol = None
        self.done = 0
        #: How many turns each callback makes. OpenSSL is not made for it, nor is Twisted.
        self.nested = int(scenario.arguments[0])

    def info(self, connection, where, result):
        if where & SSL.SSL_CB_HANDSHAKE_DONE:
            self.done += 1
            if self.done > 1:
                self.scenario.record("shaken hands again", self.done)
                self.protocol.transport.write(b"from the callback ")
                for _ in range(self.nested):
                    self.scenario.reactor.iterate(0)

    def getContext(self):
        return self.context


async def renegotiation(scenario):
    """TLS 1.2: the server asks for another handshake, and writes meanwhile."""
    scenario.record("-- renegotiation")
    talkative = Talkative(scenario, SSL.TLS1_2_VERSION)
    factory = factory_of(lambda: Echo(scenario))
    port = scenario.listen(server(scenario, factory, context=talkative))
    peer = Peer(scenario, port)
    scenario.record("handshake", await peer.handshake())
    talkative.protocol = echo = factory.built[0]
    peer.write(b"before ")
    await peer.wait_for(b"before ")
    handle = echo.transport.getHandle()
    scenario.record("renegotiates", handle.renegotiate())
    echo.transport.write(b"asked ")
    await peer.wait_for(b"asked ")
    await scenario.until(lambda: peer.read() or talkative.done == 3)
    for word in (b"one ", b"two "):
        await peer.send(word)
        await peer.wait_for(word)
    # Twisted's aggregator forgets what is written while it flushes.
    written = b"from the callback "
    await scenario.until(lambda: peer.read() or peer.received.count(written) == 2, 1.0)
    scenario.figures["from the callback"] = peer.received.count(written)
    rest = bytes(peer.received).replace(written, b"")
    scenario.record("received", rest, handle.total_renegotiations())
    peer.tls.shutdown()
    peer.flush()
    await scenario.until(lambda: echo.reason)
    peer.close()
    await scenario.stop(port)


async def main(scenario):
    if scenario.arguments[0] == "0":
        await verification(scenario)
        await layers(scenario)
    await renegotiation(scenario)
    scenario.record("digest of nothing", digest(b""))


scenario = Scenario()
scenario.run(main)
