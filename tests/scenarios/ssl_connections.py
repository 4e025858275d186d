"""A connection from its beginning to its end: callbacks, data, and what is known about it."""

from scenario import Scenario
from ssl_peers import AUTHORITY, CERTIFICATE, Pair, Side, for_client, for_server
from twisted.internet.interfaces import INegotiated, ISSLTransport, ITCPTransport

SIZE = 10_000_000


class Early(Side):
    """Writes before the handshake."""

    def connectionMade(self):
        super().connectionMade()
        self.transport.write(b"early, ")
        self.transport.writeSequence([b"and ", bytearray(b"more")])


async def life(scenario):
    server = for_server(acceptableProtocols=[b"h2", b"http/1.1"])
    client = for_client(acceptableProtocols=[b"http/1.1"])
    pair = Pair(scenario, server, client, make_client=Early)
    await pair.made()
    await scenario.until(lambda: len(pair.server.data) == len(b"early, and more"))
    scenario.record("early", bytes(pair.server.data).decode())
    facts = pair.client.transport.getHandle()
    scenario.record("version", facts.version.name, "cipher", facts.cipher)
    scenario.record("resumed", facts.resumed, "completed", facts.handshakeCompleted)
    for side in (pair.server, pair.client):
        transport = side.transport
        scenario.record(side.label, transport.negotiatedProtocol, transport.getHandle().serverName)
    provided = [i.providedBy(transport) for i in (INegotiated, ISSLTransport, ITCPTransport)]
    scenario.record("provided", provided)
    shown = pair.client.transport.getPeerCertificate()
    scenario.record("certificate", shown.pem == CERTIFICATE, shown.subject, shown.issuer)
    scenario.record("names", shown.names, shown.notBefore < shown.notAfter)
    scenario.record("none", pair.server.transport.getPeerCertificate())
    pair.client.transport.loseConnection()
    await pair.ended()
    await pair.stop()


async def data(scenario):
    pair = Pair(scenario, for_server(), for_client())
    await pair.made()
    there = bytes(range(250)) * (SIZE // 250)
    back = there[::-1]
    pair.client.transport.write(there)
    for start in range(0, SIZE, 1000):
        pair.server.transport.write(back[start : start + 1000])
    await scenario.until(lambda: len(pair.server.data) == len(pair.client.data) == SIZE)
    scenario.record("same", pair.server.data == there, pair.client.data == back)
    pair.server.transport.loseConnection()
    await pair.ended()
    await pair.stop()


async def names(scenario):
    """Certificates by the name that a client asks for, and after a reload."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as directory:

        def save(name, *certified):
            certificate, key = AUTHORITY.issue(*certified)
            Path(directory, f"{name}.pem").write_bytes(certificate + key)
            return str(Path(directory, f"{name}.pem"))

        from ropewalk import ssl

        default = save("default", "localhost")
        named = {"example.org": (save("exact", "example.org"), None)}
        named["*.example.org"] = (save("star", "*.example.org"), None)
        server = ssl.ServerOptions(default, serverNames=named)
        client = for_client()
        pair = Pair(scenario, server, client)
        hosts = ["localhost", "example.org", "www.example.org"]
        for count, host in enumerate(hosts, 1):
            if count > 1:
                pair.connect(client.forHostname(host))
            await pair.made(count)
            scenario.record(host, pair.client.transport.getPeerCertificate().subject)
            scenario.record("asked", pair.server.transport.getHandle().serverName)
        save("default", "localhost", "renewed")
        server.reload()
        # Another client, which has no session to resume.
        pair.connect(for_client())
        await pair.made(4)
        scenario.record("reloaded", pair.client.transport.getPeerCertificate().names)
        Path(default).write_bytes(b"")
        try:
            server.reload()
        except ValueError as error:
            scenario.record("refused", str(error).replace(directory, ""))
        pair.connect(for_client())
        await pair.made(5)
        scenario.record("kept", pair.client.transport.getPeerCertificate().names)
        await pair.stop()


async def clients(scenario):
    """Certificates of clients: required, optional, and shown."""
    shown = AUTHORITY.issue("client.example.org")
    required = for_server(trustRoot=AUTHORITY.pem)
    pair = Pair(scenario, required, for_client(clientCertificate=shown))
    await pair.made()
    scenario.record("required", pair.server.transport.getPeerCertificate().subject)
    await pair.stop()
    optional = for_server(trustRoot=AUTHORITY.pem, requireCertificate=False)
    pair = Pair(scenario, optional, for_client())
    await pair.made()
    scenario.record("optional", pair.server.transport.getPeerCertificate())
    await pair.stop()


async def resumption(scenario):
    client = for_client()
    for options, again in ((for_server(), client), (for_server(enableSessions=False), client)):
        pair = Pair(scenario, options, again)
        await pair.made()
        # The ticket comes with the first data.
        pair.server.transport.write(b"x")
        await scenario.until(lambda pair=pair: pair.client.data)
        pair.connect(again)
        await pair.made(2)
        sides = (pair.server, pair.client)
        scenario.record("resumed", [side.transport.getHandle().resumed for side in sides])
        await pair.stop()
    older = for_server(maximumVersion=_ssl().TLSVersion.TLSv1_2)
    pair = Pair(scenario, older, for_client())
    await pair.made()
    scenario.record("older", pair.client.transport.getHandle().version.name)
    await pair.stop()


async def keys(scenario):
    """The secrets of those connections that are to be logged, and of no others."""
    import gc
    import os
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "keys")
        os.environ["SSLKEYLOGFILE"] = str(log)
        for sides in ((False, False), (True, False), (True, True)):
            server, client = sides
            pair = Pair(scenario, for_server(logKeys=server), for_client(logKeys=client))
            await pair.made()
            pair.client.transport.loseConnection()
            await pair.ended()
            await pair.stop()
            lines = log.read_text().splitlines() if log.exists() else []
            secrets = [line.split() for line in lines]
            mine = [(label, secret) for label, of, secret in secrets if of == secrets[-1][1]]
            labels = sorted({label for label, _ in mine})
            scenario.record("logged", list(sides), labels, len(mine) - len(set(mine)))
            # The file is open for as long as there are options that log.
            del pair
            gc.collect()


def _ssl():
    from ropewalk import ssl

    return ssl


scenario = Scenario()
scenario.run(globals()[scenario.arguments[0]])
