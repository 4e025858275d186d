"""What the TLS scenarios share: a certificate, factories, and a peer driven step by step."""

from __future__ import annotations

import datetime
import hashlib
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from scenario import connect, factory_of
from twisted.internet import ssl
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol

#: Twisted's default; no gathering of small writes; gathered, but timed by another clock; and, where
#: the reactor is ropewalk's, by `ropewalk.ssl`, which is to do the same as Twisted's default.
KINDS = ("gathered", "unbuffered", "other clock", "rustls")


def certificate(name: str = "localhost") -> ssl.PrivateCertificate:
    """A certificate of its own authority, with its key."""
    return ssl.PrivateCertificate.loadPEM(pem(name))


def pem(name: str) -> bytes:
    """The same, as it stands in a file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


CERTIFICATE = certificate()


def for_client(authority=CERTIFICATE, name="localhost"):
    """What a client verifies a server with."""
    return ssl.optionsForClientTLS(name, trustRoot=authority)


class OtherClock:
    """A clock that is not the reactor, as far as anybody can tell."""

    def __init__(self, reactor):
        self.callLater = reactor.callLater


def server(scenario, factory, kind="gathered", context=None):
    """`factory` behind TLS."""
    return wrapped(scenario, factory, kind, False, context or CERTIFICATE.options())


def client(scenario, factory, kind="gathered", context=None):
    """`factory` behind TLS, as a client."""
    return wrapped(scenario, factory, kind, True, context or for_client())


def client_factory_of(build):
    """A silent factory for connections that are made."""
    factory = factory_of(build)
    nothing = lambda *_: None  # noqa: E731
    factory.startedConnecting = nothing
    factory.clientConnectionFailed = factory.clientConnectionLost = nothing
    return factory


def by_rustls(scenario, kind=None):
    """Whether TLS is not pyOpenSSL's."""
    return kind == "rustls" and type(scenario.reactor).__module__.startswith("ropewalk.")


def options_of_rustls(is_client):
    """What CERTIFICATE and `for_client` are to `ropewalk.ssl`."""
    from ropewalk.ssl import ClientOptions, ServerOptions

    pem = CERTIFICATE.dumpPEM()
    if is_client:
        return ClientOptions("localhost", trustRoot=pem)
    return ServerOptions(pem)


def wrapped(scenario, factory, kind, is_client, context):
    if by_rustls(scenario, kind):
        from ropewalk._rustls import TLSFactory

        return TLSFactory(options_of_rustls(is_client), factory)
    clock = OtherClock(scenario.reactor) if kind == "other clock" else scenario.reactor
    wrapper = TLSMemoryBIOFactory(context, is_client, factory, clock)
    if kind == "unbuffered":
        wrapper.protocol = TLSMemoryBIOProtocol
    return wrapper


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


class Peer:
    """A TLS client whose every step the scenario makes, over a socket of its own."""

    def __init__(self, scenario, port, context=None):
        self.scenario = scenario
        self.socket = connect(port)
        self.socket.setblocking(False)
        self.tls = SSL.Connection(context or SSL.Context(SSL.TLS_METHOD))
        self.tls.set_connect_state()
        self.received = bytearray()
        #: How the connection ended, once it has.
        self.end = None

    async def handshake(self) -> bool:
        """Shake hands; False if that fails."""

        def step():
            try:
                self.tls.do_handshake()
                return True
            except SSL.WantReadError:
                return self.end
            except SSL.Error as error:
                self.end = repr(error)
                return True
            finally:
                self.flush()
                self.fetch()

        await self.scenario.until(step)
        return self.end is None

    def take(self) -> bytes:
        """What OpenSSL has to send."""
        taken = b""
        while True:
            try:
                taken += self.tls.bio_read(1 << 16)
            except SSL.WantReadError:
                return taken

    def flush(self) -> None:
        """Send what OpenSSL has to send, unless the connection has ended."""
        try:
            self.socket.sendall(self.take())
        except OSError as error:
            self.end = self.end or os.strerror(error.errno)

    def fetch(self) -> None:
        """Give OpenSSL what has come."""
        try:
            data = self.socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError as error:
            self.end = os.strerror(error.errno)
            return
        if data:
            self.tls.bio_write(data)
        else:
            self.end = self.end or "cut"

    def write(self, data: bytes) -> None:
        """Send data in records of its own, in one segment."""
        self.tls.send(data)
        self.flush()

    def read(self) -> str | None:
        """Decrypt what has come; how the connection ended, if it has."""
        try:
            while True:
                self.received += self.tls.recv(1 << 16)
        except SSL.WantReadError:
            self.flush()
        except SSL.ZeroReturnError:
            self.end = "close notify"
            self.tls.shutdown()
            self.flush()
        except SSL.Error as error:
            self.end = repr(error)
        if self.end is None:
            self.fetch()
        return self.end

    async def send(self, data: bytes) -> None:
        """Send data, though a handshake may have to come first."""

        def step():
            try:
                self.tls.send(data)
                return True
            except SSL.WantReadError:
                return self.fetch()
            finally:
                self.flush()

        await self.scenario.until(step)

    async def wait_for(self, data: bytes) -> None:
        """Read until `data` has come."""
        await self.scenario.until(lambda: self.read() or data in self.received)

    async def wait_for_end(self) -> str | None:
        """Read until the connection has ended."""
        await self.scenario.until(self.read)
        return self.end

    def close(self) -> None:
        self.socket.close()
