"""startTLS in the middle of a stream, on both sides and in both roles, over TCP and UNIX."""

import os
import tempfile

from scenario import Recorder, Scenario, factory_of
from tls_peers import (
    CERTIFICATE,
    by_rustls,
    client_factory_of,
    digest,
    for_client,
    options_of_rustls,
)
from twisted.internet.interfaces import ISSLTransport


class Starter(Recorder):
    """Says `start`, shakes hands when it is answered, and then sends much."""

    def __init__(self, scenario, label, context, normal, speaks):
        super().__init__(scenario, label)
        self.context, self.normal, self.speaks = context, normal, speaks
        self.data = b""
        self.secure = False

    def connectionMade(self):
        if self.speaks:
            self.transport.write(b"start.")

    def start(self):
        self.secure = True
        self.transport.startTLS(self.context, self.normal)
        self.scenario.record(self.label, "TLS", ISSLTransport.providedBy(self.transport))
        # Goes through TLS, though the handshake has not begun.
        self.transport.write(f"{self.label} is secure.".encode())
        self.transport.writeSequence([b"x" * 100_000, b"."])

    def dataReceived(self, data):
        super().dataReceived(data)
        self.data += data
        if not self.secure and self.data == b"start.":
            self.data = b""
            if not self.speaks:
                self.transport.write(b"start.")
            self.start()
        elif self.secure and self.data.count(b".") == 2:
            self.scenario.record(self.label, "got", len(self.data), digest(self.data))
            certificate = self.transport.getPeerCertificate()
            self.scenario.record(self.label, "certificate", certificate is not None)
            self.data = b""
            if self.speaks:
                self.transport.write(b"and more")
                self.transport.loseConnection()

    def connectionLost(self, reason):
        self.reason = reason
        # On a UNIX stream a hang-up may come first, and it is then no clean end to Twisted.
        self.scenario.record(self.label, "connectionLost", self.received, self.data)


async def case(scenario, name, listen, connect, normal):
    scenario.record(f"-- {name}, normal {normal}")
    # The side with the certificate is the one that is a server of TLS.
    contexts = [CERTIFICATE.options(), for_client()]
    if by_rustls(scenario, *scenario.arguments):
        contexts = [options_of_rustls(False), options_of_rustls(True)]
    if not normal:
        contexts.reverse()
    # And answers, so that nothing follows its word in clear.
    servers = factory_of(lambda: Starter(scenario, "server", contexts[0], normal, not normal))
    clients = client_factory_of(lambda: Starter(scenario, "client", contexts[1], normal, normal))
    port = listen(servers)
    connect(port, clients)
    await scenario.until(lambda: servers.built and clients.built)
    await scenario.until(lambda: servers.built[0].reason and clients.built[0].reason)
    await scenario.stop(port)


async def main(scenario):
    reactor = scenario.reactor

    def over_tcp(port, factory):
        reactor.connectTCP("127.0.0.1", port.getHost().port, factory)

    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "socket")

        def listen_unix(factory):
            return reactor.listenUNIX(path, factory)

        def over_unix(port, factory):
            reactor.connectUNIX(path, factory)

        for normal in (True, False):
            await case(scenario, "TCP", scenario.listen, over_tcp, normal)
            await case(scenario, "UNIX", listen_unix, over_unix, normal)


scenario = Scenario()
scenario.run(main)
