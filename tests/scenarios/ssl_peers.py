"""What the scenarios of ropewalk.ssl share: certificates, and both sides of a connection."""

from __future__ import annotations

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from scenario import Recorder, factory_of
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory
from zope.interface import implementer

from ropewalk import ssl

DAY = datetime.timedelta(days=1)


class Authority:
    """Issues certificates."""

    def __init__(self, name: str = "authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        authority = x509.BasicConstraints(ca=True, path_length=None)
        #: The root certificate as PEM.
        self.pem = self._sign(self._name, self._key, authority, [], 0)

    def issue(self, *names: str, days_ago: int = 0) -> tuple[bytes, bytes]:
        """A certificate for `names`, which ended its time `days_ago`, and its key, as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
        leaf = x509.BasicConstraints(ca=False, path_length=None)
        pem = self._sign(subject, key, leaf, list(names), days_ago)
        return pem, key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def _sign(self, subject, key, constraints, names, days_ago):
        end = datetime.datetime.now(datetime.timezone.utc) + DAY
        if days_ago:
            end -= (days_ago + 1) * DAY
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(end - 3 * DAY)
            .not_valid_after(end)
            .add_extension(constraints, critical=True)
        )
        if names:
            alternatives = x509.SubjectAlternativeName([_general(name) for name in names])
            builder = builder.add_extension(alternatives, critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


AUTHORITY = Authority()
CERTIFICATE, KEY = AUTHORITY.issue("localhost", "127.0.0.1")


def for_server(**kw) -> ssl.ServerOptions:
    return ssl.ServerOptions(CERTIFICATE, KEY, **kw)


def for_client(hostname: str = "localhost", **kw) -> ssl.ClientOptions:
    kw.setdefault("trustRoot", AUTHORITY.pem)
    return ssl.ClientOptions(hostname, **kw)


@implementer(IHandshakeListener)
class Side(Recorder):
    """Records the handshake as well, and keeps what it receives."""

    shaken = False

    def __init__(self, scenario, label) -> None:
        super().__init__(scenario, label)
        self.data = bytearray()

    def handshakeCompleted(self) -> None:
        self.shaken = True
        self.scenario.record(self.label, "handshakeCompleted")

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self.data += data


def silent(factory: Factory) -> Factory:
    """`factory`, for connections that are made."""
    nothing = lambda *_: None  # noqa: E731
    factory.startedConnecting = nothing
    factory.clientConnectionFailed = factory.clientConnectionLost = nothing
    return factory


class Pair:
    """A port and a connection to it, both in this reactor."""

    def __init__(self, scenario, server, client, make_server=Side, make_client=Side) -> None:
        self.scenario = scenario
        self._servers = factory_of(lambda: make_server(scenario, "server"))
        self._clients = silent(factory_of(lambda: make_client(scenario, "client")))
        self.port = scenario.reactor.listenSSL(0, self._servers, server, interface="127.0.0.1")
        scenario.name(self.port.getHost().port, "PORT")
        self.connect(client)

    def connect(self, client) -> None:
        """Make a connection more."""
        self.connector = self.scenario.reactor.connectSSL(
            "127.0.0.1", self.port.getHost().port, self._clients, client
        )

    @property
    def server(self):
        """The server's protocol of the latest connection."""
        return self._servers.built[-1]

    @property
    def client(self):
        return self._clients.built[-1]

    async def made(self, count: int = 1) -> None:
        """Until so many connections have shaken hands on both sides."""
        both = (self._servers, self._clients)
        await self.scenario.until(
            lambda: all(len(f.built) == count and f.built[-1].shaken for f in both)
        )

    async def ended(self, count: int = 1) -> None:
        """Until so many connections have ended on both sides."""
        both = (self._servers, self._clients)
        await self.scenario.until(
            lambda: all(len(f.built) == count and f.built[-1].reason for f in both)
        )

    async def stop(self) -> None:
        await self.scenario.stop(self.port)
