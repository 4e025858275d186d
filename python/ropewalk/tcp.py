"""TCP transports: Twisted's classes with a native base in front of them.

What runs per event is native (:class:`ropewalk._ropewalk.Stream`); what runs once per connection
and what nobody calls often is inherited from :mod:`twisted.internet.tcp`.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import tcp
from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import ITLSTransport
from twisted.python import log
from zope.interface import implementer

from ropewalk import _ropewalk, _rustls, ssl

try:
    from twisted.internet import _newtls
    from twisted.protocols.tls import TLSMemoryBIOProtocol
except ImportError:
    # Without pyOpenSSL Twisted's connections know nothing of TLS. These do, by `ropewalk.ssl`.
    _newtls = None  # type: ignore[assignment]
else:
    from ropewalk import _tls

    _ropewalk.move_tls_records(TLSMemoryBIOProtocol, _tls)

__all__ = ["Client", "Connection", "Connector", "Port", "Server"]


def speaksNatively(contextFactory: object) -> bool:
    """Whether TLS with these options is rustls's. Without pyOpenSSL, there is no other."""
    return _newtls is None or isinstance(contextFactory, ssl.ServerOptions | ssl.ClientOptions)


class _BelowTLS:
    """The methods by which a TLS layer reaches the connection below it."""

    write = _ropewalk.Stream._writeBelowTLS
    writeSequence = _ropewalk.Stream._writeSequenceBelowTLS
    loseConnection = FileDescriptor.loseConnection
    registerProducer = FileDescriptor.registerProducer
    unregisterProducer = FileDescriptor.unregisterProducer


class _ThroughTLS:
    """What goes through the TLS layer, if there is one, beside writing, which is native.

    Twisted's connections have these methods as well, where pyOpenSSL is installed.
    """

    def loseConnection(self: Any) -> None:
        if not self.TLS:
            FileDescriptor.loseConnection(self)
        elif self.connected and not self.disconnecting:
            self.protocol.loseConnection()

    def registerProducer(self: Any, producer: Any, streaming: bool) -> None:
        if self.TLS:
            self.protocol.registerProducer(producer, streaming)
        else:
            FileDescriptor.registerProducer(self, producer, streaming)

    def unregisterProducer(self: Any) -> None:
        if self.TLS:
            self.protocol.unregisterProducer()
        else:
            FileDescriptor.unregisterProducer(self)


@implementer(ITLSTransport)
class Connection(_ropewalk.Stream, _ThroughTLS, tcp.Connection):
    """What accepted and outgoing connections share."""

    def __init__(self, skt: Any, protocol: Any, reactor: Any = None) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self.reactor = reactor
        self._attach(reactor._core)
        skt.setblocking(False)
        self.socket = skt
        self.protocol = protocol

    def startTLS(self, ctx: Any, normal: bool = True) -> None:
        """See twisted.internet.interfaces.ITLSTransport.startTLS."""
        if speaksNatively(ctx):
            _rustls.startTLS(self, ctx, normal, _BelowTLS)
        else:
            _newtls.startTLS(self, ctx, normal, _BelowTLS)


class Server(Connection, tcp.Server):
    """A connection that a listening port accepted."""

    _base = Connection
    _tlsClientDefault = False

    def __init__(
        self,
        sock: Any,
        protocol: Any,
        client: tuple[Any, ...],
        server: Any,
        sessionno: int,
        reactor: Any,
    ) -> None:
        sock.setblocking(False)
        self.socket = sock
        self._begin(protocol, client, server, sessionno, reactor)


class Client(Connection, tcp.Client):
    """A connection that a connector makes."""

    _base = Connection
    _commonConnection = Connection
    _tlsClientDefault = True

    # Twisted's classes name these two through the class above; here `Connection` stands in front.
    __init__ = tcp.Client.__init__
    connectionLost = tcp.Client.connectionLost

    def _collectSocketDetails(self) -> None:
        del self.socket


class Port(tcp.Port):
    """A port that accepts natively and whose connections are native."""

    transport = _nativeTransport = Server

    def doRead(self) -> None:
        """Accept what waits, up to a cap that follows the traffic."""
        native = self._nativeTransport
        if self.transport is not native or type(self.socket) is not socket.socket:
            # Somebody put a transport or a socket of their own in place.
            return super().doRead()
        try:
            accepted, refused = _ropewalk.accept_connections(self, native, self.numberAccepts)
            if refused:
                # Twisted's loop meets the same refusal, and sheds connections or logs the reason.
                super().doRead()
            if accepted == self.numberAccepts:
                self.numberAccepts += 20
            else:
                self.numberAccepts = max(1, accepted)
        except BaseException:
            log.deferr()


class Connector(tcp.Connector):
    """A connector whose connections are native."""

    def _makeTransport(self) -> Client:
        return Client(self.host, self.port, self.bindAddress, self, self.reactor)
