"""A KQueueReactor that waits natively, with a program's object in the place of its queue.

Only the BSDs and macOS have the native queue. The reactor has another native poller here, for what
stands between it and the program is the same; `select.kevent` may be a stand-in's.
"""

from __future__ import annotations

import json
import select
from typing import Any

from twisted.internet.main import installReactor

from ropewalk import _ropewalk
from ropewalk.kqreactor import KQueueReactor


class Reactor(KQueueReactor):
    """Has no queue that Python made."""

    def _makeCore(self) -> _ropewalk.Core:
        return _ropewalk.Core("poll")


installReactor(Reactor())

from twisted.internet import reactor  # noqa: E402
from twisted.internet.protocol import ClientFactory, Factory, Protocol  # noqa: E402


class Between:
    """Notes what the queue is asked and answers."""

    def __init__(self, queue: Any) -> None:
        self.queue = queue
        self.calls: list[tuple[list[Any], int, float]] = []
        self.answers: list[Any] = []

    def control(self, changes: list[Any], count: int, timeout: float) -> list[Any]:
        self.calls.append((changes, count, timeout))
        answer = self.queue.control(changes, count, timeout)
        self.answers += answer
        return answer


class Echo(Protocol):
    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class Client(Protocol):
    def connectionMade(self) -> None:
        self.transport.write(b"there and back")

    def dataReceived(self, data: bytes) -> None:
        found["received"] = data.decode()
        self.transport.loseConnection()

    def connectionLost(self, reason: Any = None) -> None:
        found["lost"] = reason.type.__name__
        reactor.callLater(0.01, reactor.stop)


found: dict[str, Any] = {"is native": not reactor._core.has_own_kqueue}
native = reactor._kq
found["is the same"] = reactor._kq is native
try:
    native.control([select.kevent(0)], 1, 0)
except NotImplementedError as refusal:
    found["changes"] = str(refusal)
found["waits for nothing"] = native.control([], 0, None)
reactor._kq = between = Between(native)
port = reactor.listenTCP(0, Factory.forProtocol(Echo), interface="127.0.0.1")
factory = ClientFactory.forProtocol(Client)
reactor.connectTCP("127.0.0.1", port.getHost().port, factory)
reactor.run()
found["asked without changes"] = all(changes == [] for changes, _, _ in between.calls)
found["with room"] = min(count for _, count, _ in between.calls) > 0
found["with a limit"] = all(timeout is not None for _, _, timeout in between.calls)
filters = {select.KQ_FILTER_READ: "read", select.KQ_FILTER_WRITE: "write"}
found["filters"] = sorted({filters[event.filter] for event in between.answers})
reactor._kq = native
found["was taken away"] = reactor._kq is native
print(json.dumps(found))
