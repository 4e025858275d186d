"""Twisted's servers over TLS, on the reactor named as the first argument.

The others are the directory to serve, and the files of the certificate, of its key and of the
authority that signs clients' certificates. It prints the numbers of its ports as JSON and serves
until its input ends; then it prints what it has to tell: whether the records of each kind of
connection were moved natively, and the mails that came.
"""

import json
import sys
from pathlib import Path
from typing import Any

from twisted.application.reactors import installReactor


def main(name: str, directory: str, certificate: str, key: str, authority: str) -> None:
    reactor = installReactor(name)
    # These import the reactor.
    from OpenSSL import crypto
    from twisted.internet import protocol, ssl, stdio
    from twisted.mail import smtp
    from twisted.web import resource, server, static
    from zope.interface import implementer

    told: dict[str, Any] = {"native": {}, "mails": []}

    seen: set[Any] = set()

    def is_native(kind: str, layer: Any) -> None:
        """Note it, but for the first time: that data may have come with the handshake's end."""
        if layer in seen:
            known = told["native"].get(kind, True)
            told["native"][kind] = known and type(layer._aggregator).__name__ == "TLSRecords"
        seen.add(layer)

    def options(**more: Any) -> ssl.CertificateOptions:
        return ssl.CertificateOptions(
            privateKey=crypto.load_privatekey(crypto.FILETYPE_PEM, Path(key).read_bytes()),
            certificate=crypto.load_certificate(
                crypto.FILETYPE_PEM, Path(certificate).read_bytes()
            ),
            enableSessions=True,
            **more,
        )

    class Which(resource.Resource):
        """Says which protocol a request came by, and notes how its records are moved."""

        isLeaf = True

        def render_GET(self, request: Any) -> bytes:
            for layer in web.factory.protocols:
                is_native("web", layer)
            return bytes(request.clientproto)

    class Echo(protocol.Protocol):
        def dataReceived(self, data: bytes) -> None:
            is_native("echo", self.transport)
            subject = self.transport.getPeerCertificate().get_subject().CN  # type: ignore
            self.transport.write(subject.encode() + b" said " + data)  # type: ignore

    @implementer(smtp.IMessage)
    class Mail:
        def __init__(self, transport: Any) -> None:
            self.transport = transport
            self.lines: list[str] = []

        def lineReceived(self, line: bytes) -> None:
            self.lines.append(line.decode())

        def eomReceived(self) -> Any:
            from twisted.internet.defer import succeed

            for _ in range(2):
                is_native("mail", self.transport.protocol)
            told["mails"].append(self.lines)
            return succeed(None)

        def connectionLost(self) -> None:
            pass

    class Mailbox(smtp.ESMTP):
        def receivedHeader(self, helo: Any, origin: Any, recipients: Any) -> bytes:
            # Twisted's fails for want of bytes.
            return b"Received: by a test"

        def validateFrom(self, helo: Any, origin: Any) -> Any:
            return origin

        def validateTo(self, user: Any) -> Any:
            return lambda: Mail(self.transport)

    class Mailboxes(protocol.ServerFactory):
        def buildProtocol(self, address: Any) -> Any:
            made = Mailbox(contextFactory=options())
            made.factory = self  # type: ignore[assignment]
            return made

    class Input(protocol.Protocol):
        def connectionLost(self, reason: Any = None) -> None:
            print(json.dumps(told), flush=True)
            if reactor.running:
                reactor.stop()

    root = resource.Resource()
    root.putChild(b"which", Which())
    root.putChild(b"files", static.File(directory))
    site = server.Site(root)
    web = reactor.listenSSL(
        0,
        site,
        options(acceptableProtocols=[b"h2", b"http/1.1"]),
        interface="127.0.0.1",
    )
    signers = crypto.load_certificate(crypto.FILETYPE_PEM, Path(authority).read_bytes())
    strict = options(verify=True, requireCertificate=True, caCerts=[signers])
    ports = {
        "web": web,
        "echo": reactor.listenSSL(
            0, protocol.Factory.forProtocol(Echo), strict, interface="127.0.0.1"
        ),
        "mail": reactor.listenTCP(0, Mailboxes(), interface="127.0.0.1"),
    }
    stdio.StandardIO(Input(), reactor=reactor)
    print(json.dumps({kind: port.getHost().port for kind, port in ports.items()}), flush=True)
    reactor.run()


main(*sys.argv[1:])
