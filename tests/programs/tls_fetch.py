"""Fetches URLs with Twisted's web client, on the reactor named as the first argument.

The second is the file of the authority to trust. It prints the SHA-256 of each body, or the class
of the error.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from twisted.application.reactors import installReactor


def main(name: str, authority: str, *urls: str) -> None:
    installReactor(name)
    # These import the reactor.
    from twisted.internet import ssl, task
    from twisted.internet.defer import inlineCallbacks
    from twisted.web import client
    from twisted.web.iweb import IPolicyForHTTPS
    from zope.interface import implementer

    trusted = ssl.Certificate.loadPEM(Path(authority).read_bytes())

    @implementer(IPolicyForHTTPS)
    class Policy:
        def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
            return ssl.optionsForClientTLS(hostname.decode(), trusted)

    @inlineCallbacks
    def fetch(reactor: Any) -> Any:
        agent = client.Agent(reactor, Policy())
        for url in urls:
            try:
                response = yield agent.request(b"GET", url.encode())
                body = yield client.readBody(response)
            except client.ResponseNeverReceived as error:
                print(json.dumps(error.reasons[0].type.__name__), flush=True)
            else:
                print(json.dumps(hashlib.sha256(body).hexdigest()), flush=True)

    task.react(fetch)


main(*sys.argv[1:])
