"""Handshakes that fail, and which reason each side hears."""

from scenario import Recorder, Scenario, connect, factory_of
from ssl_peers import AUTHORITY, Authority, Pair, for_client, for_server, silent

from ropewalk import ssl

STRANGER = Authority("stranger")


def server_with(*names, **kw):
    return ssl.ServerOptions(*AUTHORITY.issue(*names, **kw))


OLDER, NEWER = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3

CASES = {
    "expired": lambda: (server_with("localhost", days_ago=3), for_client()),
    "not yet valid": lambda: (server_with("localhost", days_ago=-7), for_client()),
    "wrong name": lambda: (server_with("example.org"), for_client()),
    "wrong address": lambda: (server_with("localhost"), for_client("127.0.0.1")),
    "right address": lambda: (server_with("127.0.0.1"), for_client("127.0.0.1")),
    "unknown issuer": lambda: (for_server(), for_client(trustRoot=STRANGER.pem)),
    "anybody": lambda: (
        server_with("example.org"),
        ssl.ClientOptions("localhost", insecurelyAcceptAnyCertificate=True),
    ),
    "client without": lambda: (for_server(trustRoot=AUTHORITY.pem), for_client()),
    "client unknown": lambda: (
        for_server(trustRoot=AUTHORITY.pem),
        for_client(clientCertificate=STRANGER.issue("client")),
    ),
    "no common protocol": lambda: (
        for_server(acceptableProtocols=[b"h2"]),
        for_client(acceptableProtocols=[b"spdy"]),
    ),
    "no common version": lambda: (
        for_server(minimumVersion=NEWER),
        for_client(maximumVersion=OLDER),
    ),
}


async def tls(scenario):
    """Both sides speak TLS, and do not agree."""
    for name, case in CASES.items():
        pair = Pair(scenario, *case(), make_server=Recorder, make_client=Recorder)
        scenario.record("case", name)
        ended = await scenario.until(
            lambda pair=pair: pair._clients.built and pair.client.reason, 1 if good(name) else 10
        )
        if ended:
            scenario.record(name, kinds(pair.client.reason.value))
            await scenario.until(lambda pair=pair: pair.server.reason)
        await pair.stop()
        if not ended:
            pair.connector.disconnect()
            await pair.ended()


def good(name):
    return name in ("right address", "anybody")


def kinds(error):
    """Its classes in ropewalk.ssl."""
    return [c.__qualname__ for c in type(error).__mro__ if c.__module__ == "ropewalk.ssl"]


async def other(scenario):
    """The peer does not speak TLS."""
    factory = factory_of(lambda: Recorder(scenario))
    port = scenario.reactor.listenSSL(0, factory, for_server(), interface="127.0.0.1")
    for words in (b"GET / HTTP/1.1\r\n\r\n", b"\0\1\2\3\4\5\6\7", b"\x16\x03\x01\x00\x05hello"):
        peer = connect(port)
        peer.sendall(words)
        await scenario.until(lambda: factory.built and factory.built[-1].reason)
        scenario.record("is", kinds(factory.built[-1].reason.value))
        peer.close()
        factory.built.clear()
    peer = connect(port)
    peer.sendall(b"\x16\x03\x01")
    peer.close()
    await scenario.until(lambda: factory.built and factory.built[-1].reason)
    await scenario.stop(port)


async def plain_server(scenario):
    """A client of TLS at a server that does not speak it."""

    class Plain(Recorder):
        def connectionMade(self):
            self.transport.write(b"220 hello\r\n")

    port = scenario.listen(factory_of(lambda: Plain(scenario)))
    clients = silent(factory_of(lambda: Recorder(scenario, "client")))
    number = port.getHost().port
    scenario.reactor.connectSSL("127.0.0.1", number, clients, for_client())
    await scenario.until(lambda: clients.built and clients.built[0].reason)
    scenario.record("is", kinds(clients.built[0].reason.value))
    await scenario.stop(port)


async def tampered(scenario):
    """A record that somebody changed."""
    pair = Pair(scenario, for_server(), for_client())
    await pair.made()
    pair.client.transport.transport.write(b"\x17\x03\x03\x00\x20" + b"?" * 32)
    await pair.ended()
    scenario.record("is", kinds(pair.server.reason.value))
    scenario.record("alert", pair.client.reason.value.alert)
    await pair.stop()


scenario = Scenario()
scenario.run(globals()[scenario.arguments[0]])
