"""For which connections TLS records are moved natively, and what is left to Twisted's methods.

Streams look at their protocols after each read. Once a protocol is Twisted's TLS protocol and its
handshake is done, the stream calls :func:`take_over`, once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.internet import _newtls
from twisted.logger import Logger
from twisted.protocols import tls
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure

from ropewalk import _ropewalk

_log = Logger()


def _functions(owner: type, *names: str) -> dict[str, object]:
    return {name: getattr(owner, name, None) for name in names}


#: The methods whose work is done natively. Whoever replaces one wants it to be called.
_OF_PROTOCOL = _functions(
    tls.TLSMemoryBIOProtocol, "dataReceived", "_flushReceiveBIO", "_flushSendBIO", "_write"
)
_OF_WRAPPER = _functions(ProtocolWrapper, "dataReceived")
_OF_CONNECTION = _functions(
    SSL.Connection, "send", "recv", "bio_read", "bio_write", "_raise_ssl_error"
)
#: Nothing, where Twisted does not gather small writes.
_Aggregator: Any = getattr(tls, "_AggregateSmallWrites", None)
_OF_AGGREGATOR = _functions(_Aggregator, "write", "flush") if _Aggregator else {}
_WRITE: object = tls.TLSMemoryBIOProtocol.write


def take_over(stream: Any, protocol: Any) -> _ropewalk.TLSRecords | None:
    """Have the records of ``protocol`` moved natively; None, and a log line, if it cannot be."""
    try:
        reason = _obstacle(stream, protocol)
        if reason is None:
            records = _ropewalk.TLSRecords(stream, protocol, protocol._tlsConnection)
            records.install()
            _gather_writes(stream, protocol, records)
            return records
    except Exception as error:
        # Another Twisted, pyOpenSSL or cryptography than those that are known.
        reason = f"{type(error).__name__}: {error}"
    # By name, for whoever keeps log events is not to keep connections.
    name = type(protocol).__qualname__
    _log.debug("Python moves the TLS records of a {name}: {reason}", name=name, reason=reason)
    return None


def _obstacle(stream: Any, protocol: Any) -> str | None:
    """Why the records of ``protocol`` cannot be moved natively."""
    connection = protocol._tlsConnection
    if type(connection) is not SSL.Connection:
        return f"its connection is a {type(connection).__qualname__}"
    outer = stream.protocol
    while outer is not protocol:
        if not _is_bound(outer.dataReceived, type(outer).dataReceived, outer):
            return "dataReceived of its endpoint is not the original"
        outer = outer._wrappedProtocol
    for owner, functions in (
        (protocol, _OF_PROTOCOL),
        (super(tls.TLSMemoryBIOProtocol, protocol), _OF_WRAPPER),
        (connection, _OF_CONNECTION),
    ):
        for name, function in functions.items():
            if not _is_bound(getattr(owner, name), function, owner):
                return f"{name} is not the original"
    if not _reaches(protocol.transport, stream):
        return "its transport is not the connection itself"
    if stream.doRead != stream._doRead or stream.doWrite != stream._doWrite:
        return "its transport has doRead or doWrite of its own"
    return None


def _is_bound(method: Any, function: object, owner: object) -> bool:
    owner = getattr(owner, "__self__", owner)  # of a `super`
    return getattr(method, "__func__", None) is function and method.__self__ is owner


def _reaches(transport: Any, stream: Any) -> bool:
    """Whether what is written to ``transport`` goes into the queue of ``stream``."""
    if type(transport) is _newtls._BypassTLS:
        from ropewalk.tcp import _BelowTLS

        return transport._base is _BelowTLS and transport._connection is stream
    if transport is not stream or stream.TLS or "write" in vars(stream):
        return False
    return type(stream).write is _ropewalk.Stream.write


def _gather_writes(stream: Any, protocol: Any, records: _ropewalk.TLSRecords) -> None:
    """Put ``records`` in the place of the aggregator of small writes, unless another reactor than
    that of ``stream`` times it, or it is not Twisted's."""
    aggregator: Any = getattr(protocol, "_aggregator", None)
    if _Aggregator is None or type(aggregator) is not _Aggregator:
        return
    # Reactors are told apart by their cores: Twisted's tests lend one's attributes to another.
    if getattr(aggregator._clock, "_core", None) is not stream.reactor._core:
        return
    as_known = (
        all(_is_bound(getattr(aggregator, n), f, aggregator) for n, f in _OF_AGGREGATOR.items())
        and _is_bound(aggregator._write, _WRITE, protocol)
        and protocol.write == aggregator.write
    )
    if not as_known:
        return
    if aggregator._scheduled is not None:
        aggregator._scheduled.cancel()
    records.gather(aggregator.MAX_BUFFER_SIZE, b"".join(aggregator._buffer))
    # A method `write` that the program has kept still comes first through the old aggregator.
    aggregator._buffer = _Forwarder(records.write)
    aggregator._bufferLeft = math.inf
    aggregator._scheduled = True
    protocol._aggregator = records
    protocol.write = records.write


class _Forwarder:
    """A buffer that is always empty: what is appended goes elsewhere."""

    def __init__(self, append: Callable[[bytes], None]) -> None:
        self.append = append

    def __len__(self) -> int:
        return 0


def failed(protocol: Any, error: BaseException) -> None:
    """Do as the methods of ``TLSMemoryBIOProtocol`` when ``recv`` or ``send`` raised ``error``."""
    try:
        raise error
    except SSL.Error:
        protocol._tlsShutdownFinished(Failure())
