"""Native parts of ropewalk's Twisted reactors."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from socket import socket as Socket
from typing import TypedDict, final, type_check_only

from twisted.internet.interfaces import IAddress
from typing_extensions import disjoint_base

__all__ = [
    "ChildProcess",
    "Core",
    "Datagram",
    "DelayedCall",
    "Pipe",
    "Stream",
    "TLSClient",
    "TLSIdentity",
    "TLSLayer",
    "TLSRecords",
    "TLSRoots",
    "TLSServer",
    "__version__",
    "accept_connections",
    "available_pollers",
    "can_watch_children",
    "choose_poller",
    "move_tls_records",
    "spawn_child",
]

__version__: str

@final
class Core:
    """The native part of one reactor. The Python class around it keeps Twisted's layout."""

    kqueue: object
    """The kernel queue in use where Python makes them, or what stands in its place."""

    def __new__(cls, poller: str, kqueue: object | None = None) -> Core: ...
    def set_reactor(self, reactor: object) -> None:
        """Names the reactor whose methods and attributes the loop goes through."""
    @property
    def poller(self) -> str:
        """The name of the poller: "epoll", "poll", …"""
    @property
    def has_own_kqueue(self) -> bool:
        """Whether Python makes the kernel queues."""
    def wait_through_reactor(self, through: bool) -> None:
        """Has each turn wait through the reactor's ``_pollThrough``, or natively again."""
    def wait_through_reactor_unless_original(
        self, namespace: dict[str, object], name: str, original: object
    ) -> None:
        """Has each turn wait through the reactor's ``_pollThrough`` while the variable ``name`` of
        ``namespace`` is not ``original``."""
    def prepare(self, timeout: float | None) -> float | None:
        """What a turn does before it waits; answers for how long it may wait, in seconds."""
    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        """Waits at most ``timeout`` seconds (None: without limit): numbers and poll(2)'s flags."""
    def dispatch(self, reports: list[tuple[int, int]]) -> None:
        """What a turn does after it waited, with ``reports`` as ``wait`` answers them."""
    def watched(self) -> list[tuple[int, object, bool, bool, bool]]:
        """Everything that is watched: number, object, whether it reads, whether it writes, and
        whether it is always ready because the poller refused it."""
    def watched_count(self) -> int:
        """How many descriptors there are at most in an answer of ``wait``; never 0."""
    def poller_descriptor(self) -> int | None:
        """The number of the poller's own descriptor, or None where it has none."""
    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kw: object
    ) -> DelayedCall:
        """IReactorTime.callLater."""
    def getDelayedCalls(self) -> list[DelayedCall]:
        """IReactorTime.getDelayedCalls."""
    def callFromThread(self, f: Callable[..., object], *args: object, **kwargs: object) -> None:
        """IReactorFromThreads.callFromThread. Any thread."""
    def wake(self) -> None:
        """Ends the wait of the loop, or the next one. Any thread."""
    def host_descriptor(self) -> int:
        """The descriptor that another loop watches for readability, to call `hosted_turn`."""
    def hosted_turn(self) -> float | None:
        """One turn without waiting; when the next is due: minus infinity for at once, or None."""
    def release_poller(self) -> None:
        """Closes the poller, before a fork."""
    def restore_poller(self) -> None:
        """Makes a new poller and waker pipe, after a fork."""
    def waker_descriptors(self) -> tuple[int, int]:
        """The descriptors of the waker's pipe: read end, write end."""
    def timeout(self) -> float | None:
        """Seconds until the next delayed call is due, or None."""
    def run_until_current(self) -> None:
        """Thread calls, due delayed calls, a requested shutdown."""
    def do_iteration(self, delay: float | None) -> None:
        """Waits at most ``delay`` seconds (None: without limit) and dispatches."""
    def main_loop(self) -> None:
        """Turns until the reactor's ``_started`` is false."""
    def addReader(self, reader: object) -> None: ...
    def addWriter(self, writer: object) -> None: ...
    def removeReader(self, reader: object) -> None: ...
    def removeWriter(self, writer: object) -> None: ...
    def getReaders(self) -> list[object]: ...
    def getWriters(self) -> list[object]: ...

@final
class DelayedCall:
    """A call that ``reactor.callLater`` scheduled: IDelayedCall."""

    @property
    def time(self) -> float: ...
    @property
    def delayed_time(self) -> float: ...
    @property
    def called(self) -> int: ...
    @property
    def cancelled(self) -> int: ...
    @property
    def func(self) -> Callable[..., object]: ...
    @property
    def args(self) -> tuple[object, ...]: ...
    @property
    def kw(self) -> dict[str, object]: ...
    @property
    def seconds(self) -> Callable[[], float]: ...
    @property
    def canceller(self) -> Callable[..., object]: ...
    @property
    def resetter(self) -> Callable[..., object]: ...
    @property
    def debug(self) -> bool: ...
    @property
    def creator(self) -> list[str] | None: ...
    @property
    def _repr(self) -> str | None: ...
    def getTime(self) -> float:
        """When the call will be made, in seconds on the reactor's clock."""
    def cancel(self) -> None:
        """Unschedules the call."""
    def reset(self, seconds_from_now: float) -> None:
        """Reschedules the call for ``seconds_from_now`` seconds from now."""
    def delay(self, seconds_later: float) -> None:
        """Moves the call ``seconds_later`` seconds away from the time it was scheduled for."""
    def activate_delay(self) -> None:
        """Applies what ``delay`` and ``reset`` noted."""
    def active(self) -> bool:
        """Whether the call is still to be made."""
    def __lt__(self, other: DelayedCall, /) -> bool: ...
    def __le__(self, other: DelayedCall, /) -> bool: ...
    def __gt__(self, other: DelayedCall, /) -> bool: ...
    def __ge__(self, other: DelayedCall, /) -> bool: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

def accept_connections(port: object, server: type[Stream], limit: int) -> tuple[int, bool]:
    """Accepts at most ``limit`` connections for ``port``; answers how many, and whether the
    system refused one for a reason to look into."""

def available_pollers() -> list[str]:
    """The names of the pollers of this platform, the best first."""

def choose_poller() -> str:
    """The poller that ``$ROPEWALK_POLLER`` names, or the best one that the system grants."""

@disjoint_base
class Stream:
    """The native part of a stream transport."""

    socket: Socket
    protocol: object
    producer: object
    logstr: str
    repstr: str
    bufferSize: int
    connected: bool
    disconnected: bool
    disconnecting: bool
    _writeDisconnecting: bool
    _writeDisconnected: bool
    streamingProducer: bool
    producerPaused: bool
    TLS: bool
    doRead: Callable[[], object]
    doWrite: Callable[[], object]
    _isUNIX: bool
    _passesDescriptors: bool

    def __new__(cls, *_args: object, **_kwargs: object) -> Stream: ...
    @property
    def dataBuffer(self) -> bytes: ...
    @property
    def offset(self) -> int: ...
    @property
    def _tempDataBuffer(self) -> list[bytes]: ...
    @property
    def _tempDataLen(self) -> int: ...
    @property
    def _tlsRecords(self) -> TLSRecords | None:
        """What moves the TLS records of this stream natively, if that is so."""
    def _attach(self, core: Core) -> None: ...
    def _begin(
        self,
        protocol: object,
        client: tuple[object, ...],
        server: object,
        sessionno: int,
        reactor: object = None,
    ) -> None: ...
    def fileno(self) -> int:
        """The descriptor's number, or -1 when there is none any more."""
    def logPrefix(self) -> str:
        """The prefix of log lines while this stream's callbacks run."""
    def write(self, data: bytes) -> None:
        """ITransport.write."""
    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """ITransport.writeSequence."""
    def _writeBelowTLS(self, data: bytes) -> None: ...
    def _writeSequenceBelowTLS(self, iovec: Iterable[bytes]) -> None: ...
    def _doRead(self) -> object: ...
    def _doWrite(self) -> object: ...
    @property
    def _isReading(self) -> bool: ...
    def _isSendBufferFull(self) -> bool: ...
    def _maybePauseProducer(self) -> None: ...
    def startReading(self) -> None: ...
    def stopReading(self) -> None: ...
    def startWriting(self) -> None: ...
    def stopWriting(self) -> None: ...
    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def connectionLost(self, reason: object) -> None:
        """Tells the producer and the protocol, once, and lets go of both."""
    def readConnectionLost(self, reason: object) -> None:
        """The peer sends no more: the end of the connection, unless the protocol half-closes."""
    def _closeWriteConnection(self) -> object: ...
    def getTcpNoDelay(self) -> bool:
        """ITCPTransport.getTcpNoDelay."""
    def setTcpNoDelay(self, enabled: bool) -> None:
        """ITCPTransport.setTcpNoDelay."""
    def getTcpKeepAlive(self) -> bool:
        """ITCPTransport.getTcpKeepAlive."""
    def setTcpKeepAlive(self, enabled: bool) -> None:
        """ITCPTransport.setTcpKeepAlive."""
    def getHost(self) -> IAddress:
        """ITransport.getHost."""

@final
class TLSRecords:
    """What moves the TLS records of one stream: for ``ropewalk._tls``, and to look at."""

    def __new__(cls, stream: Stream, protocol: object, connection: object) -> TLSRecords: ...
    @property
    def bytesReceived(self) -> int:
        """How much plaintext was read natively, in bytes."""
    @property
    def bytesSent(self) -> int:
        """How much plaintext was encrypted natively, in bytes."""
    def install(self) -> None:
        """Stands in for the protocol's own methods from here on."""
    def gather(self, limit: int, waiting: bytes) -> None:
        """Gathers up to ``limit`` bytes of what is given to ``write`` until the batch ends, behind
        what is ``waiting``."""
    def dataReceived(self, data: bytes) -> None: ...
    def write(self, data: bytes) -> None:
        """ITransport.write of the TLS layer: what is written in one batch shares records."""
    def _write(self, bytes: bytes) -> None: ...
    def flush(self) -> None:
        """Encrypts what waits."""
    def close(self) -> None:
        """Encrypts what waits, for the last time."""

@final
class TLSIdentity:
    """A certificate with its private key."""

    @staticmethod
    def from_files(certificate: str, key: str) -> TLSIdentity:
        """From PEM files."""
    @staticmethod
    def from_pem(certificate: bytes, key: bytes) -> TLSIdentity:
        """From PEM in memory."""

@final
class TLSRoots:
    """Root certificates to trust."""

    @staticmethod
    def platform() -> TLSRoots:
        """Those of the operating system."""
    @staticmethod
    def from_file(path: str) -> TLSRoots:
        """Those of a PEM file."""
    @staticmethod
    def from_pem(pem: bytes) -> TLSRoots:
        """Those in PEM in memory."""
    def and_also(self, others: TLSRoots) -> TLSRoots:
        """These as well as ``others``."""

@type_check_only
class TLSCommon(TypedDict):
    """What both sides are told."""

    protocols: list[bytes]
    """The protocols of ALPN."""
    minimum: int
    """The lowest version, by its number in the protocol."""
    maximum: int
    sessions: bool
    """Whether sessions may be resumed."""
    log_keys: bool

@final
class TLSServer:
    """How a server speaks TLS."""

    def __new__(
        cls,
        identity: TLSIdentity,
        named: list[tuple[str, TLSIdentity]],
        client_roots: TLSRoots | None,
        require_certificate: bool,
        common: TLSCommon,
    ) -> TLSServer: ...
    def reload(self, identity: TLSIdentity, named: list[tuple[str, TLSIdentity]]) -> None:
        """Shows other identities in every handshake from now on."""

@final
class TLSClient:
    """How a client speaks TLS, with any server."""

    def __new__(
        cls,
        roots: TLSRoots | None,
        identity: TLSIdentity | None,
        server_name_is_sent: bool,
        common: TLSCommon,
    ) -> TLSClient: ...
    def check_name(self, hostname: str) -> None:
        """Raises a ValueError if no certificate could be for ``hostname``."""

@disjoint_base
class TLSLayer:
    """The native part of the protocol that speaks TLS for ``ropewalk.ssl``."""

    transport: object
    wrappedProtocol: object
    _producer: object
    disconnecting: int
    _aborted: bool
    _deaf: bool
    _lost: bool

    def __new__(cls, *_args: object, **_kwargs: object) -> TLSLayer: ...
    @property
    def negotiatedProtocol(self) -> bytes | None:
        """INegotiated.negotiatedProtocol: what ALPN agreed on, if anything."""
    @property
    def _handshaking(self) -> bool: ...
    @property
    def _hasPending(self) -> bool: ...
    @property
    def _goodbyeSaid(self) -> bool: ...
    @property
    def _truncated(self) -> bool: ...
    def _beginServer(self, server: TLSServer, protocols: list[bytes] | None) -> None: ...
    def _beginClient(
        self, client: TLSClient, hostname: str, protocols: list[bytes] | None
    ) -> None: ...
    def _lieOn(self, stream: Stream, around: object) -> None: ...
    def _peerCertificates(self) -> list[bytes]: ...
    def _facts(self) -> tuple[int | None, str | None, bool, str | None]: ...
    def dataReceived(self, data: bytes) -> None:
        """IProtocol.dataReceived: ciphertext, from whatever transport there is."""
    def write(self, data: bytes) -> None:
        """ITransport.write: what is written in one batch shares records."""
    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """ITransport.writeSequence."""
    def _flush(self) -> None: ...
    def _sayGoodbye(self) -> bool: ...
    def _dropPending(self) -> None: ...

def move_tls_records(protocol_class: type, module: object) -> None:
    """Has streams look for protocols of ``protocol_class``, and ``module`` decide on them."""

@disjoint_base
class Datagram:
    """The native part of a datagram port."""

    socket: Socket
    fileno: Callable[[], int]
    protocol: object
    maxPacketSize: int
    _connectedAddr: tuple[str, int] | None
    logstr: str
    doRead: Callable[[], object]
    _isConnected: bool

    def __new__(cls, *_args: object, **_kwargs: object) -> Datagram: ...
    def _noFileno(self) -> int: ...
    def _doRead(self) -> object: ...
    def logPrefix(self) -> str:
        """The prefix of log lines while this port's callbacks run."""
    def write(self, datagram: bytes, addr: tuple[str, int] | None = None) -> None:
        """IUDPTransport.write: sends a datagram now, or raises."""
    def _writeTo(self, datagram: bytes, address: str | bytes) -> int | None:
        """IUNIXDatagramTransport.write: sends a datagram now, or drops it, or raises."""
    def _writeToPeer(self, data: bytes) -> int | None:
        """IUNIXDatagramConnectedTransport.write: sends a datagram now, or drops it, or raises."""
    def startReading(self) -> None: ...
    def stopReading(self) -> None: ...
    def startWriting(self) -> None: ...
    def stopWriting(self) -> None: ...

@final
class ChildProcess:
    """A child process whose end a reactor hears of by itself, and the one wait for it."""

    @property
    def pid(self) -> int:
        """Its process id. After it was waited for, the number may be somebody else's."""
    def watch(self, core: Core, transport: object) -> None:
        """Has the reactor of ``core`` call ``transport._childEnded(status)`` when the child has
        ended and was waited for, and ``transport._childUnwatched()`` if it cannot watch for it."""
    def try_wait(self) -> int | None:
        """Waits for the child if it has ended: its status as waitpid(2) gives it, once, or -1 if
        nobody can tell it any more. None while it runs, and after that once."""
    def send_signal(self, signal: int) -> bool:
        """Sends it a signal; False if it is gone."""

@disjoint_base
class Pipe:
    """The native part of our end of a child's pipe, and of a terminal's master."""

    fd: int
    enableReadHack: bool

    def __new__(cls, *_args: object, **_kwargs: object) -> Pipe: ...
    @property
    def dataBuffer(self) -> bytes: ...
    @property
    def offset(self) -> int: ...
    @property
    def _tempDataBuffer(self) -> list[bytes]: ...
    @property
    def _tempDataLen(self) -> int: ...
    @staticmethod
    def logPrefix() -> str:
        """The prefix of log lines while this pipe's callbacks run."""
    def write(self, data: bytes) -> None:
        """ITransport.write."""
    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """ITransport.writeSequence."""
    def doRead(self) -> object: ...
    def doWrite(self) -> object: ...
    def startReading(self) -> None: ...
    def stopReading(self) -> None: ...
    def startWriting(self) -> None: ...
    def stopWriting(self) -> None: ...

def can_watch_children() -> bool:
    """Whether this system tells a loop of the end of each of its children."""

def spawn_child(
    program: tuple[
        bytes,
        Sequence[str | bytes],
        dict[str | bytes, str | bytes],
        bytes,
        bytes | None,
        tuple[int, int, list[int]] | None,
    ],
    descriptors: Mapping[int, str | int] = ...,
    terminal: int | None = None,
) -> tuple[ChildProcess, dict[int, int]]:
    """Makes a child, and waits until it runs its program, which is: the executable, arguments,
    environment, search path, directory, and user, group and groups. Answers our ends of its pipes,
    too, by the child's numbers. OSError: what that failed with, TypeError and ValueError: what no
    program can be given; there is no child then."""
