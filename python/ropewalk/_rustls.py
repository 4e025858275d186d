"""The protocol between a transport and the program's protocol that speaks TLS by rustls.

It behaves as Twisted's ``TLSMemoryBIOProtocol`` does, and is usable with any transport. What runs
per batch of data is native (:class:`ropewalk._ropewalk.TLSLayer`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from twisted.internet import interfaces
from twisted.internet._producer_helpers import _PullToPush
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import directlyProvides, implementer, providedBy

from ropewalk import _ropewalk
from ropewalk._tls_facts import Certificate, HandshakeTimeout, TLSInfo, TLSVersion, failure
from ropewalk.ssl import ClientOptions, ServerOptions


@implementer(interfaces.IPushProducer)
class _Membrane:
    """Stands for a producer, whom both the transport and the handshake pause and resume."""

    def __init__(self, producer: Any) -> None:
        self._producer = producer
        self._paused = False

    def pauseProducing(self) -> None:
        if not self._paused:
            self._paused = True
            self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        if self._paused:
            self._paused = False
            self._producer.resumeProducing()

    def stopProducing(self) -> None:
        self._producer.stopProducing()


@implementer(interfaces.ISystemHandle, interfaces.INegotiated, interfaces.ITransport)
class TLSProtocol(_ropewalk.TLSLayer, ProtocolWrapper):
    """The transport of the protocol that it wraps."""

    factory: TLSFactory
    transport: Any
    wrappedProtocol: Any
    _producer: Any
    #: What the connection ends with, if it is not the transport's reason.
    _reason: Failure | None = None
    #: The handshake's time limit, and later the close's.
    _timer: Any = None

    def __init__(
        self, factory: TLSFactory, wrappedProtocol: Any, connectWrapped: bool = True
    ) -> None:
        ProtocolWrapper.__init__(self, factory, wrappedProtocol)
        self._connectWrapped = connectWrapped

    # What is known

    def getHandle(self) -> TLSInfo:
        """What was agreed on, as far as the handshake has come."""
        number, cipher, resumed, asked = self._facts()
        options = self.factory.options
        return TLSInfo(
            version=None if number is None else TLSVersion(number),
            cipher=cipher,
            negotiatedProtocol=self.negotiatedProtocol,
            serverName=options.hostname if isinstance(options, ClientOptions) else asked,
            resumed=resumed,
            handshakeCompleted=not self._handshaking,
        )

    def getPeerCertificate(self) -> Certificate | None:
        """The certificate that the peer showed, or None if it has shown none."""
        chain = self._peerCertificates()
        return Certificate(chain[0], tuple(chain)) if chain else None

    # The beginning

    def makeConnection(self, transport: Any) -> None:
        """Start the session, and connect the wrapped protocol to this transport."""
        options = self.factory.options
        options._begin(self, self.factory.protocolsForALPN())
        directlyProvides(self, providedBy(transport))
        # Not the wrapper's, which connects the wrapped protocol in any case.
        Protocol.makeConnection(self, transport)
        self.factory.registerProtocol(self)
        stream = _streamBelow(self)
        if stream is not None and _isUnchanged(self):
            around: Any = stream.protocol
            if around is self:
                self._lieOn(stream, None)
            elif _passesOn(around) and around._wrappedProtocol is self:
                self._lieOn(stream, around)
        if options.handshakeTimeout is not None:
            self._limit(options.handshakeTimeout, self._handshakeTimedOut)
        if self._connectWrapped:
            self.wrappedProtocol.makeConnection(self)
        if not self._aborted:
            self._flush()

    def _handshakeCompleted(self) -> None:
        self._stopTimer()
        if interfaces.IHandshakeListener.providedBy(self.wrappedProtocol):
            self.wrappedProtocol.handshakeCompleted()
        if self._aborted or self._lost:
            return
        self._flush()
        if self._producer is not None:
            self._producer.resumeProducing()
        elif self.disconnecting:
            self._shutdown()

    def _handshakeTimedOut(self) -> None:
        self._timer = None
        limit = self.factory.options.handshakeTimeout
        text = f"the TLS handshake took longer than {limit} seconds"
        self.failVerification(Failure(HandshakeTimeout(text)))

    def _scheduleFlush(self) -> None:
        self._clock().callLater(0, self._flush)

    # The end

    def loseConnection(self) -> None:
        """Send what is written and a close_notify, wait for the peer's, and close."""
        if self.disconnecting or not self.connected:
            return
        if self._handshaking and not self._hasPending:
            # Nothing is to be said that would need the handshake.
            self.abortConnection()
            return
        self.disconnecting = True
        if not self._handshaking and self._producer is None:
            self._shutdown()

    def abortConnection(self) -> None:
        """Close without a word; the peer sees a reset."""
        self._aborted = self._deaf = self.disconnecting = True
        self._stopTimer()
        self._dropPending()
        self._abortTransport()

    def _abortTransport(self) -> None:
        # Only those of TCP and UNIX streams are known to have it.
        abort = getattr(self.transport, "abortConnection", None)
        (abort or self.transport.loseConnection)()

    def failVerification(self, reason: Failure) -> None:
        """Abort the connection, with ``reason`` for the wrapped protocol's ``connectionLost``."""
        self._reason = reason
        self.abortConnection()

    def _shutdown(self) -> None:
        """Say goodbye, and close when the peer has done so or does not for too long."""
        if self._lost or self._aborted:
            return
        if self._sayGoodbye():
            self.transport.loseConnection()
            return
        self._limit(self.factory.options.closeTimeout, self._closeTimedOut)
        if not getattr(self.transport, "_isReading", True):
            # The peer's goodbye has to be read, and nobody wants what may be in front of it.
            self._deaf = True
            self.transport.resumeProducing()

    def _closeTimedOut(self) -> None:
        self._timer = None
        if getattr(self.transport, "_tempDataLen", 0):
            # Not even what was written has been taken.
            self._abortTransport()
        else:
            self._end(None)

    def _peerClosed(self) -> None:
        if not self._aborted:
            self._sayGoodbye()
            self._end(None)

    def _failed(self, kind: str, text: str, alert: str | None) -> None:
        self._end(Failure(failure(kind, text, alert)))

    def _end(self, reason: Failure | None) -> None:
        """Close the transport when it has sent the session's last words."""
        if self._reason is None:
            self._reason = reason
        self._lost = True
        self._dropPending()
        self._flush()
        self._limit(self.factory.options.closeTimeout, self._abortTransport)
        # Never calls connectionLost itself.
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Tell the wrapped protocol, once."""
        self._stopTimer()
        cut = self._truncated and not (self._lost or self._goodbyeSaid)
        if self._reason is None and cut and reason.check(ConnectionDone):
            where = " during the handshake" if self._handshaking else ""
            text = f"the stream ended without a TLS close_notify{where}"
            reason = Failure(ConnectionLost(text))
        self._lost = True
        self._dropPending()
        self.connected = 0
        reason, self._reason = self._reason or reason, None
        ProtocolWrapper.connectionLost(self, reason)

    # Producers

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See twisted.internet.interfaces.IConsumer.registerProducer."""
        if self._lost:
            producer.stopProducing()
            return
        pulled = None if streaming else _PullToPush(producer, self)
        membrane = _Membrane(producer if pulled is None else pulled)
        # Raises an exception if there is a producer already.
        self.transport.registerProducer(membrane, True)
        self._producer = membrane
        if pulled is not None:
            pulled.startStreaming()

    def unregisterProducer(self) -> None:
        """See twisted.internet.interfaces.IConsumer.unregisterProducer."""
        if self._producer is None:
            return
        if isinstance(self._producer._producer, _PullToPush):
            self._producer._producer.stopStreaming()
        self._producer = None
        self.transport.unregisterProducer()
        if self.disconnecting and not self._handshaking:
            self._shutdown()

    # Time

    def _clock(self) -> Any:
        reactor = getattr(self.transport, "reactor", None)
        if reactor is None:
            from twisted.internet import reactor
        return reactor

    def _limit(self, seconds: float, expired: Callable[[], object]) -> None:
        self._stopTimer()
        self._timer = self._clock().callLater(seconds, expired)

    def _stopTimer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()


def _streamBelow(layer: TLSProtocol) -> _ropewalk.Stream | None:
    """The native stream that takes what the layer writes, if nobody has put a method in between."""
    below: Any = layer.transport
    if type(below) is _Below:
        return below._connection
    if not isinstance(below, _ropewalk.Stream) or below.TLS or "write" in vars(below):
        return None
    return below if type(below).write is _ropewalk.Stream.write else None


def _isUnchanged(layer: TLSProtocol) -> bool:
    """Whether what the layer receives goes to its own method."""
    own = type(layer).dataReceived is _ropewalk.TLSLayer.dataReceived
    return own and "dataReceived" not in vars(layer)


def _passesOn(protocol: object) -> bool:
    """Whether it is what a client endpoint puts around every protocol."""
    # Whoever has not imported it yet has none.
    endpoints = sys.modules.get("twisted.internet.endpoints")
    return endpoints is not None and type(protocol) is endpoints._WrappingProtocol


class TLSFactory(WrappingFactory):
    """Has the connections of another factory speak TLS from their start."""

    protocol = TLSProtocol
    noisy = False

    def __init__(self, options: ServerOptions | ClientOptions, wrappedFactory: Any) -> None:
        super().__init__(wrappedFactory)
        self.options = options

    def protocolsForALPN(self) -> list[bytes] | None:
        """What ALPN offers, if the other factory has a say in it; None for the options'."""
        negotiating: Any = interfaces.IProtocolNegotiationFactory(self.wrappedFactory, None)
        if negotiating is None:
            return None
        own = negotiating.acceptableProtocols()
        return list(dict.fromkeys([*own, *self.options.acceptableProtocols]))

    def buildProtocol(self, addr: Any) -> Any:
        """Wrap the protocol that the other factory makes, if it makes one."""
        wrapped = self.wrappedFactory.buildProtocol(addr)
        return None if wrapped is None else self.protocol(self, wrapped)

    def logPrefix(self) -> str:
        """The other factory's prefix, with a note."""
        inner = self.wrappedFactory
        if interfaces.ILoggingContext.providedBy(inner):
            prefix = inner.logPrefix()
        else:
            prefix = inner.__class__.__name__
        return f"{prefix} (TLS)"


class _Below:
    """The connection as the layer sees it after ``startTLS``: without the layer."""

    def __init__(self, base: Any, connection: Any) -> None:
        self._base = base
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def write(self, data: bytes) -> None:
        self._base.write(self._connection, data)

    def writeSequence(self, iovec: Any) -> None:
        self._base.writeSequence(self._connection, iovec)

    def loseConnection(self) -> None:
        self._base.loseConnection(self._connection)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self._base.registerProducer(self._connection, producer, streaming)

    def unregisterProducer(self) -> None:
        self._base.unregisterProducer(self._connection)


def startTLS(connection: Any, options: Any, normal: bool, below: Any) -> None:
    """Put the layer between a connection and its protocol, as ``twisted.internet._newtls`` does.

    ``below`` has the methods of the connection that do not go through the layer.
    """
    checkRole(options, connection._tlsClientDefault == bool(normal))
    producer, streaming = connection.producer, connection.streamingProducer
    if producer is not None:
        connection.unregisterProducer()
    protocol = TLSProtocol(TLSFactory(options, None), connection.protocol, False)
    connection.protocol = protocol
    connection.getHandle = protocol.getHandle
    connection.getPeerCertificate = protocol.getPeerCertificate
    directlyProvides(connection, interfaces.ISSLTransport)
    connection.TLS = True
    protocol.makeConnection(_Below(below, connection))
    if producer is not None:
        connection.registerProducer(producer, streaming)


def checkRole(options: Any, isClient: bool) -> None:
    """Raise a TypeError if the options are for the other side."""
    fitting = ClientOptions if isClient else ServerOptions
    if not isinstance(options, fitting):
        role = "client" if isClient else "server"
        found = type(options).__name__
        raise TypeError(f"a TLS {role} takes ropewalk.ssl.{fitting.__name__}, not {found}")


@implementer(interfaces.IStreamClientEndpoint)
class ClientEndpoint:
    """Speaks TLS over the connections of another endpoint."""

    def __init__(self, options: ClientOptions, wrapped: Any) -> None:
        checkRole(options, True)
        self._options = options
        self._wrapped = wrapped

    def connect(self, protocolFactory: Any) -> Any:
        """See twisted.internet.interfaces.IStreamClientEndpoint.connect."""
        connecting = self._wrapped.connect(TLSFactory(self._options, protocolFactory))
        return connecting.addCallback(lambda protocol: protocol.wrappedProtocol)


@implementer(interfaces.IStreamServerEndpoint)
class ServerEndpoint:
    """Speaks TLS over the connections of another endpoint."""

    def __init__(self, options: ServerOptions, wrapped: Any) -> None:
        checkRole(options, False)
        self._options = options
        self._wrapped = wrapped

    def listen(self, protocolFactory: Any) -> Any:
        """See twisted.internet.interfaces.IStreamServerEndpoint.listen."""
        return self._wrapped.listen(TLSFactory(self._options, protocolFactory))
