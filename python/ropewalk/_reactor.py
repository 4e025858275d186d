"""What all of ropewalk's reactors share: Twisted's base class around a native core.

The class keeps the plain layout of a Python object, for Twisted's own tests exchange the
``__class__`` and ``__dict__`` of reactors; everything native hangs off ``self._core``.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet import error
from twisted.internet._signals import SignalHandling, _MultiSignalHandling
from twisted.internet.base import ReactorBase, _log
from twisted.internet.interfaces import (
    IDelayedCall,
    IReactorDaemonize,
    IReactorFDSet,
    IReactorSSL,
)
from twisted.internet.posixbase import PosixReactorBase
from zope.interface import classImplements, implementer

from ropewalk import _ropewalk, _rustls, process, tcp, udp, unix
from ropewalk._waker import Waker

classImplements(_ropewalk.DelayedCall, IDelayedCall)


@implementer(IReactorFDSet, IReactorSSL, IReactorDaemonize)
class RopewalkReactor(PosixReactorBase):
    """A Twisted reactor whose loop, timers, thread calls, transports and children are native.

    Triggers, the thread pool, resolvers, signals and TLS by pyOpenSSL are Twisted's own, running
    on this reactor's descriptor set; TLS by rustls is native.
    """

    #: The name of the poller; each reactor's module sets it.
    _pollerName: str

    def __init__(self) -> None:
        self._core = self._makeCore()
        self._core.set_reactor(self)
        # The ids of the children whose end the core hears of by itself.
        self._watchedChildren: set[int] = set()
        # Not the class of Twisted's that a reactor replaces: it would open a poller of its own.
        PosixReactorBase.__init__(self)
        # A bound native method costs half of a Python method that calls it. What a subclass
        # overrides stays as it is.
        for name in ("callLater", "callFromThread"):
            if getattr(type(self), name) is getattr(RopewalkReactor, name):
                self.__dict__[name] = getattr(self._core, name)

    def _makeCore(self) -> _ropewalk.Core:
        return _ropewalk.Core(self._pollerName)

    @property
    def poller(self) -> str:
        """The name of the poller this reactor waits in."""
        return self._core.poller

    def _wakerFactory(self) -> Waker:
        return Waker(self._core)

    def _signalsFactory(self) -> SignalHandling:
        base = ReactorBase._signalsFactory(self)
        return _MultiSignalHandling((base, process.ChildSignalHandling(self)))

    # The loop

    def mainLoop(self) -> None:
        """Turn until the reactor is stopped or crashed."""
        self._core.main_loop()
        _log.info("Main loop terminated.")

    def runUntilCurrent(self) -> None:
        """Make the queued thread calls and the due delayed calls; shut down if asked to."""
        self._core.run_until_current()

    def timeout(self) -> float | None:
        """Seconds until the next delayed call is due, or None without any."""
        return self._core.timeout()

    def doIteration(self, delay: float | None) -> None:
        """Wait at most ``delay`` seconds (None: without limit) and dispatch what is ready."""
        self._core.do_iteration(delay)

    # IReactorDaemonize

    def beforeDaemonize(self) -> None:
        """See twisted.internet.interfaces.IReactorDaemonize.beforeDaemonize."""
        self._core.release_poller()

    def afterDaemonize(self) -> None:
        """See twisted.internet.interfaces.IReactorDaemonize.afterDaemonize."""
        self._core.restore_poller()

    # IReactorTime, IReactorFromThreads

    def callLater(
        self, delay: float, callable: Callable[..., Any], *args: object, **kw: object
    ) -> Any:
        """See twisted.internet.interfaces.IReactorTime.callLater."""
        return self._core.callLater(delay, callable, *args, **kw)

    def getDelayedCalls(self) -> list[Any]:
        """See twisted.internet.interfaces.IReactorTime.getDelayedCalls."""
        return self._core.getDelayedCalls()

    def callFromThread(self, f: Callable[..., Any], *args: object, **kwargs: object) -> None:
        """See twisted.internet.interfaces.IReactorFromThreads.callFromThread."""
        self._core.callFromThread(f, *args, **kwargs)

    # IReactorFDSet

    def addReader(self, reader: Any) -> None:
        """See twisted.internet.interfaces.IReactorFDSet.addReader."""
        self._core.addReader(reader)

    def addWriter(self, writer: Any) -> None:
        """See twisted.internet.interfaces.IReactorFDSet.addWriter."""
        self._core.addWriter(writer)

    def removeReader(self, reader: Any) -> None:
        """See twisted.internet.interfaces.IReactorFDSet.removeReader."""
        self._core.removeReader(reader)

    def removeWriter(self, writer: Any) -> None:
        """See twisted.internet.interfaces.IReactorFDSet.removeWriter."""
        self._core.removeWriter(writer)

    def getReaders(self) -> list[Any]:
        """See twisted.internet.interfaces.IReactorFDSet.getReaders."""
        return self._core.getReaders()

    def getWriters(self) -> list[Any]:
        """See twisted.internet.interfaces.IReactorFDSet.getWriters."""
        return self._core.getWriters()

    def removeAll(self) -> list[Any]:
        """See twisted.internet.interfaces.IReactorFDSet.removeAll."""
        return self._removeAll(self.getReaders(), self.getWriters())

    # IReactorProcess

    def spawnProcess(
        self,
        processProtocol: Any,
        executable: Any,
        args: Any = (),
        env: Any = {},  # noqa: B006 - Twisted's default, which is only read
        path: Any = None,
        uid: int | None = None,
        gid: int | None = None,
        usePTY: Any = 0,
        childFDs: Any = None,
    ) -> Any:
        """See twisted.internet.interfaces.IReactorProcess.spawnProcess."""
        child = None
        if not usePTY or childFDs is None:
            child = process.spawn(
                self, processProtocol, executable, args, env, path, uid, gid, usePTY, childFDs
            )
        if child is not None:
            return child
        return super().spawnProcess(
            processProtocol, executable, args, env, path, uid, gid, usePTY, childFDs
        )

    # IReactorTCP, IReactorSocket

    def listenTCP(
        self, port: Any, factory: Any, backlog: int = 50, interface: str = ""
    ) -> tcp.Port:
        """See twisted.internet.interfaces.IReactorTCP.listenTCP."""
        listener = tcp.Port(port, factory, backlog, interface, self)
        listener.startListening()
        return listener

    def connectTCP(
        self,
        host: str,
        port: Any,
        factory: Any,
        timeout: float | None = 30.0,
        bindAddress: Any = None,
    ) -> tcp.Connector:
        """See twisted.internet.interfaces.IReactorTCP.connectTCP."""
        # Twisted's connector takes no time limit for None as well.
        connector = tcp.Connector(
            host,
            port,
            factory,
            timeout,  # type: ignore[arg-type]
            bindAddress,
            self,
        )
        connector.connect()
        return connector

    # IReactorSSL

    def listenSSL(
        self,
        port: Any,
        factory: Any,
        contextFactory: Any,
        backlog: int = 50,
        interface: str = "",
    ) -> Any:
        """See twisted.internet.interfaces.IReactorSSL.listenSSL.

        ``contextFactory`` is a :class:`ropewalk.ssl.ServerOptions`, or any that Twisted takes.
        """
        if not tcp.speaksNatively(contextFactory):
            return super().listenSSL(port, factory, contextFactory, backlog, interface)
        _rustls.checkRole(contextFactory, False)
        secured = _rustls.TLSFactory(contextFactory, factory)
        listener = self.listenTCP(port, secured, backlog, interface)
        listener._type = "TLS"
        return listener

    def connectSSL(
        self,
        host: str,
        port: Any,
        factory: Any,
        contextFactory: Any,
        timeout: float | None = 30,
        bindAddress: Any = None,
    ) -> Any:
        """See twisted.internet.interfaces.IReactorSSL.connectSSL.

        ``contextFactory`` is a :class:`ropewalk.ssl.ClientOptions`, or any that Twisted takes.
        """
        if not tcp.speaksNatively(contextFactory):
            return super().connectSSL(host, port, factory, contextFactory, timeout, bindAddress)
        _rustls.checkRole(contextFactory, True)
        secured = _rustls.TLSFactory(contextFactory, factory)
        return self.connectTCP(host, port, secured, timeout, bindAddress)

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> Any:
        """See twisted.internet.interfaces.IReactorSocket.adoptStreamPort."""
        listener: tcp.Port
        if addressFamily in _INTERNET:
            listener = tcp.Port._fromListeningDescriptor(
                self, fileDescriptor, addressFamily, factory
            )
        elif addressFamily == socket.AF_UNIX:
            listener = unix.Port._fromListeningDescriptor(self, fileDescriptor, factory)
        else:
            raise error.UnsupportedAddressFamily(addressFamily)
        listener.startListening()
        return listener

    def adoptStreamConnection(self, fileDescriptor: int, addressFamily: int, factory: Any) -> Any:
        """See twisted.internet.interfaces.IReactorSocket.adoptStreamConnection."""
        if addressFamily in _INTERNET:
            return tcp.Server._fromConnectedSocket(fileDescriptor, addressFamily, factory, self)
        if addressFamily == socket.AF_UNIX:
            return unix.Server._fromConnectedSocket(fileDescriptor, factory, self)
        raise error.UnsupportedAddressFamily(addressFamily)

    def adoptDatagramPort(
        self, fileDescriptor: int, addressFamily: int, protocol: Any, maxPacketSize: int = 8192
    ) -> udp.Port:
        """See twisted.internet.interfaces.IReactorSocket.adoptDatagramPort."""
        if addressFamily not in _INTERNET:
            raise error.UnsupportedAddressFamily(addressFamily)
        port = udp.Port._fromListeningDescriptor(
            self, fileDescriptor, addressFamily, protocol, maxPacketSize=maxPacketSize
        )
        port.startListening()
        return port

    # IReactorUDP, IReactorMulticast

    def listenUDP(
        self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192
    ) -> udp.Port:
        """See twisted.internet.interfaces.IReactorUDP.listenUDP."""
        listener = udp.Port(port, protocol, interface, maxPacketSize, self)
        listener.startListening()
        return listener

    def listenMulticast(
        self,
        port: int,
        protocol: Any,
        interface: str = "",
        maxPacketSize: int = 8192,
        listenMultiple: bool = False,
    ) -> udp.MulticastPort:
        """See twisted.internet.interfaces.IReactorMulticast.listenMulticast."""
        listener = udp.MulticastPort(
            port,
            protocol,
            interface,
            maxPacketSize,
            self,
            listenMultiple,
        )
        listener.startListening()
        return listener

    # IReactorUNIX

    def listenUNIX(
        self, address: Any, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: int = 0
    ) -> unix.Port:
        """See twisted.internet.interfaces.IReactorUNIX.listenUNIX."""
        listener = unix.Port(address, factory, backlog, mode, self, wantPID)
        listener.startListening()
        return listener

    def listenUNIXDatagram(
        self, address: Any, protocol: Any, maxPacketSize: int = 8192, mode: int = 0o666
    ) -> unix.DatagramPort:
        """See twisted.internet.interfaces.IReactorUNIXDatagram.listenUNIXDatagram."""
        listener = unix.DatagramPort(address, protocol, maxPacketSize, mode, self)
        listener.startListening()
        return listener

    def connectUNIXDatagram(
        self,
        address: Any,
        protocol: Any,
        maxPacketSize: int = 8192,
        mode: int = 0o666,
        bindAddress: Any = None,
    ) -> unix.ConnectedDatagramPort:
        """See twisted.internet.interfaces.IReactorUNIXDatagram.connectUNIXDatagram."""
        port = unix.ConnectedDatagramPort(address, protocol, maxPacketSize, mode, bindAddress, self)
        port.startListening()
        return port

    def connectUNIX(
        self, address: Any, factory: Any, timeout: float = 30, checkPID: int = 0
    ) -> unix.Connector:
        """See twisted.internet.interfaces.IReactorUNIX.connectUNIX."""
        connector = unix.Connector(address, factory, timeout, self, checkPID)
        connector.connect()
        return connector


_INTERNET = (socket.AF_INET, socket.AF_INET6)
