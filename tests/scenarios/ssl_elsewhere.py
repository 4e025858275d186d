"""TLS by rustls on whatever reactor and transport, with pyOpenSSL on either side."""

from OpenSSL import crypto
from scenario import Scenario, factory_of
from ssl_peers import AUTHORITY, CERTIFICATE, KEY, Side, for_client, for_server
from twisted.internet import endpoints
from twisted.internet import ssl as twisted_ssl
from twisted.protocols.tls import TLSMemoryBIOFactory

from ropewalk import ssl
from ropewalk._rustls import TLSFactory

SIZE = 1_000_000


class Echo(Side):
    def dataReceived(self, data):
        super().dataReceived(data)
        self.transport.write(data)


def pyopenssl_server():
    own = twisted_ssl.PrivateCertificate.loadPEM(CERTIFICATE + KEY)
    return own.options()


def pyopenssl_client():
    root = twisted_ssl.Certificate(crypto.load_certificate(crypto.FILETYPE_PEM, AUTHORITY.pem))
    return twisted_ssl.optionsForClientTLS("localhost", trustRoot=root)


async def case(scenario, name, secure_server, secure_client):
    servers = factory_of(lambda: Echo(scenario, "server"))
    clients = factory_of(lambda: Side(scenario, "client"))
    tcp = endpoints.TCP4ServerEndpoint(scenario.reactor, 0, interface="127.0.0.1")
    port = await tcp.listen(secure_server(servers))
    number = port.getHost().port
    below = endpoints.TCP4ClientEndpoint(scenario.reactor, "127.0.0.1", number)
    await below.connect(secure_client(clients))
    client = clients.built[0]
    for start in range(0, SIZE, 100):
        client.transport.write(b"%0100d" % start)
    await scenario.until(lambda: len(client.data) == SIZE)
    sent = b"".join(b"%0100d" % start for start in range(0, SIZE, 100))
    scenario.record(name, bytes(client.data) == sent)
    client.transport.loseConnection()
    await scenario.until(lambda: client.reason and servers.built[0].reason)
    await scenario.stop(port)


async def main(scenario):
    def by_rustls(options):
        return lambda factory: TLSFactory(options, factory)

    def by_openssl(options, is_client):
        return lambda factory: TLSMemoryBIOFactory(options, is_client, factory)

    rustls = by_rustls(for_server()), by_rustls(for_client())
    openssl = by_openssl(pyopenssl_server(), False), by_openssl(pyopenssl_client(), True)
    await case(scenario, "rustls with itself", *rustls)
    await case(scenario, "a rustls server", rustls[0], openssl[1])
    await case(scenario, "a rustls client", openssl[0], rustls[1])

    # A connection inside a connection.
    inner = ssl.ServerOptions(*AUTHORITY.issue("inner")), for_client("inner")
    twice = [
        lambda factory, outer=outer, options=options: outer(TLSFactory(options, factory))
        for outer, options in zip(rustls, inner, strict=True)
    ]
    await case(scenario, "TLS in TLS", *twice)


scenario = Scenario()
scenario.run(main)
