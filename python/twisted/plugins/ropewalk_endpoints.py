"""Makes ``ropewalk-tls:`` known to ``serverFromString`` and ``clientFromString``."""

# Nothing of ropewalk is imported until a string is parsed: a plugin is loaded by every program that
# lists plugins.
from typing import Any

from twisted.internet.interfaces import (
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpointStringParser,
)
from twisted.plugin import IPlugin
from zope.interface import implementer


@implementer(IPlugin, IStreamServerEndpointStringParser)
class _Server:
    prefix = "ropewalk-tls"

    def parseStreamServer(self, reactor: Any, *args: Any, **kwargs: Any) -> Any:
        from ropewalk._endpoints import server

        return server(reactor, *args, **kwargs)


@implementer(IPlugin, IStreamClientEndpointStringParserWithReactor)
class _Client:
    prefix = "ropewalk-tls"

    def parseStreamClient(self, reactor: Any, *args: Any, **kwargs: Any) -> Any:
        from ropewalk._endpoints import client

        return client(reactor, *args, **kwargs)


ropewalk_tls_server = _Server()
ropewalk_tls_client = _Client()
