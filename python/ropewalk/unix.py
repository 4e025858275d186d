"""UNIX transports: Twisted's classes with a native base in front of them.

Streams are :mod:`ropewalk.tcp`'s, reading with a call that takes descriptors too; a descriptor on
its way is for the methods here and for Twisted's. Datagram ports receive and send natively. Lock
files, modes, binding and removing paths are inherited from :mod:`twisted.internet.unix`.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.internet import interfaces, unix
from twisted.internet.abstract import FileDescriptor

from ropewalk import _ropewalk, tcp

__all__ = ["Client", "ConnectedDatagramPort", "Connector", "DatagramPort", "Port", "Server"]


class _Descriptors:
    """What a stream with a native base adds to Twisted's ``_SendmsgMixin``."""

    _isUNIX = True
    _passesDescriptors: bool

    # The native base counts bytes only.
    _isSendBufferFull = unix._SendmsgMixin._isSendBufferFull
    _maybePauseProducer = FileDescriptor._maybePauseProducer

    def sendFileDescriptor(self, fileno: int) -> None:
        """See twisted.internet.interfaces.IUNIXTransport.sendFileDescriptor."""
        self._passesDescriptors = True
        super().sendFileDescriptor(fileno)

    def _descriptorsReceived(self: Any, descriptors: list[int]) -> None:
        """Hand descriptors to a protocol that takes them; close those that nobody gets."""
        unclaimed = iter(descriptors)
        try:
            for descriptor in descriptors:
                # As Twisted's are: received without the flag.
                os.set_inheritable(descriptor, True)
            if interfaces.IFileDescriptorReceiver.providedBy(self.protocol):
                for descriptor in unclaimed:
                    self.protocol.fileDescriptorReceived(descriptor)
            else:
                self._ancillaryLevelSOLSOCKETTypeSCMRIGHTS(b"")
        finally:
            for descriptor in unclaimed:
                os.close(descriptor)


class Server(_Descriptors, tcp.Server, unix.Server):
    """A connection that a listening port accepted."""

    _writeSomeDataBase = tcp.Server

    def _begin(
        self,
        protocol: Any,
        client: Any,
        server: Any,
        sessionno: int,
        reactor: Any = None,
    ) -> None:
        self._sendmsgQueue: list[int] = []
        super()._begin(protocol, (client, None), server, sessionno, reactor)


class Client(_Descriptors, tcp.Connection, unix.Client):
    """A connection that a connector makes."""

    _base = tcp.Connection
    _commonConnection = tcp.Connection
    _tlsClientDefault = True
    _writeSomeDataBase = tcp.Client

    # Twisted's classes name these two through the class above; here `Connection` stands in front.
    __init__ = unix.Client.__init__
    connectionLost = unix.Client.connectionLost
    _collectSocketDetails = tcp.Client._collectSocketDetails


class Port(tcp.Port, unix.Port):
    """A port that accepts natively and whose connections are native."""

    transport = _nativeTransport = Server

    __init__ = unix.Port.__init__


class DatagramPort(_ropewalk.Datagram, unix.DatagramPort):
    """A port that receives and sends natively."""

    write = _ropewalk.Datagram._writeTo  # type: ignore[assignment]


class ConnectedDatagramPort(_ropewalk.Datagram, unix.ConnectedDatagramPort):
    """A port with one peer, whose protocol is told no addresses."""

    # Not a `DatagramPort` of this module, for it does not provide what that one does.
    _isConnected = True

    write = _ropewalk.Datagram._writeToPeer  # type: ignore[assignment]


class Connector(unix.Connector):
    """A connector whose connections are native."""

    def _makeTransport(self) -> Client:
        return Client(self.address, self, self.reactor, self.checkPID)
