"""What the scenario scripts share: a reactor named on the command line, and recorded events.

A scenario prints one JSON object: the events in their order, the sockets left open, the number of
all descriptors left open, and measured figures. Tests compare events between reactors, so that
port numbers and other incidentals are replaced before they are recorded.
"""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.application.reactors import installReactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.logger import globalLogBeginner
from twisted.python.failure import Failure

#: Seconds after which a scenario that does not end is stopped, with an event that says so.
TIME_LIMIT = 30

#: What Twisted itself says in a TypeError.
TWISTED_TEXTS = {"Data must be bytes", "Data must not be unicode"}

#: What Twisted's kqueue reactor says beside an exception of a descriptor's method. Its others say
#: nothing, and neither does any of ropewalk's.
KQUEUE_WORDS = "An exception was raised from application code while processing a reactor selectable"


class Scenario:
    """Installs the reactor, records events, and prints them at the end."""

    def __init__(self) -> None:
        self.reactor: Any = installReactor(sys.argv[1])
        self.arguments = sys.argv[2:]
        self.events: list[list[Any]] = []
        self.figures: dict[str, float] = {}
        self._ended = False
        self._names: dict[str, str] = {}
        self._before = descriptors()
        globalLogBeginner.beginLoggingTo([self._log], discardBuffer=True, redirectStandardIO=False)

    def run(self, main: Callable[[Scenario], Awaitable[None]]) -> None:
        """Run the reactor until the coroutine has ended, then print."""

        def start() -> None:
            done = Deferred.fromCoroutine(main(self))
            done.addErrback(lambda failure: self.record("scenario failed", describe(failure)))
            done.addBoth(lambda _: stop())

        def stop() -> None:
            # In which order the rest is disconnected now is nobody's promise.
            self._ended = True
            self.reactor.stop()

        def too_late() -> None:
            self.record("scenario did not end")
            self.reactor.stop()

        self.reactor.callWhenRunning(start)
        limit = self.reactor.callLater(TIME_LIMIT, too_late)
        self.reactor.addSystemEventTrigger(
            "before", "shutdown", lambda: limit.active() and limit.cancel()
        )
        self.reactor.run()
        self.finish()

    def finish(self) -> None:
        """Print what was recorded."""
        left = {
            number: target
            for number, target in descriptors().items()
            if self._before.get(number) != target
        }
        print(
            json.dumps(
                {
                    "events": self.events,
                    "sockets_left": sum(t.startswith("socket:") for t in left.values()),
                    "descriptors_left": len(left),
                    "figures": self.figures,
                }
            )
        )

    def record(self, *fields: Any) -> None:
        """Append an event; what happens after the end of the scenario is not one."""
        if not self._ended:
            self._append(*fields)

    def _append(self, *fields: Any) -> None:
        self.events.append([self._plain(field) for field in fields])

    def name(self, value: object, name: str) -> None:
        """Have `name` recorded in place of the text of `value`."""
        self._names[str(value)] = name

    def attempt(self, label: str, function: Callable[..., Any], *args: Any, **kw: Any) -> Any:
        """Call, record the exception or that there was none, and return the result.

        The interpreter's words on wrong arguments name the function called, and are left out.
        """
        try:
            result = function(*args, **kw)
        except TypeError as error:
            text = str(error)
            self.record(label, "raises", "TypeError", text if text in TWISTED_TEXTS else "")
            return None
        except BaseException as error:
            self.record(label, "raises", describe(Failure(error)))
            return None
        self.record(label, "returns", type(result).__name__)
        return result

    def listen(self, factory: Factory, **kw: Any) -> Any:
        """A port of `factory` on the loopback interface; its number is recorded as PORT."""
        port = self.reactor.listenTCP(0, factory, interface="127.0.0.1", **kw)
        self.name(port.getHost().port, "PORT")
        return port

    async def stop(self, port: Any) -> None:
        """Stop listening, whether or not the port has stopped already."""
        await maybeDeferred(port.stopListening)

    def sleep(self, seconds: float) -> Deferred[None]:
        """Let the reactor turn for a while."""
        return deferLater(self.reactor, seconds, lambda: None)

    async def until(self, condition: Callable[[], object], seconds: float = 10.0) -> bool:
        """Let the reactor turn until the condition holds; False if it did not come to that."""
        deadline = self.reactor.seconds() + seconds
        while not condition():
            if self.reactor.seconds() > deadline:
                return False
            await self.sleep(0.002)
        return True

    async def end_of(self, peer: socket.socket, seconds: float = 5.0) -> list[Any]:
        """Read a raw peer to its end: how many bytes came and how it ended."""
        peer.setblocking(False)
        received = 0
        deadline = self.reactor.seconds() + seconds
        while self.reactor.seconds() < deadline:
            try:
                data = peer.recv(1 << 20)
            except BlockingIOError:
                await self.sleep(0.002)
                continue
            except OSError as error:
                return [received, os.strerror(error.errno)]
            if not data:
                return [received, "end"]
            received += len(data)
        return [received, "open"]

    def _log(self, event: dict[str, Any]) -> None:
        # A logger and `log.err` name the failure differently.
        failure = event.get("log_failure") or event.get("failure")
        if failure is not None:
            why = event.get("why") or ""
            self._append("logged", "" if why == KQUEUE_WORDS else why, describe(failure))

    def _plain(self, field: Any) -> Any:
        if isinstance(field, Failure):
            return self._plain(describe(field))
        if isinstance(field, list | tuple):
            return [self._plain(item) for item in field]
        if isinstance(field, str):
            for value, name in self._names.items():
                field = field.replace(value, name)
            # The frames of a traceback are the reactor's own business.
            return re.sub(r"\n/[^\n]*:\d+:\w+", "", field)
        if field is None or isinstance(field, bool | int | float):
            return field
        return self._plain(repr(field))


class Recorder(Protocol):
    """Records its calls; the number of bytes is recorded when the connection is lost."""

    def __init__(self, scenario: Scenario, label: str = "server") -> None:
        self.scenario = scenario
        self.label = label
        self.received = 0
        self.reason: Failure | None = None

    def connectionMade(self) -> None:
        self.scenario.record(self.label, "connectionMade")

    def dataReceived(self, data: bytes) -> None:
        self.received += len(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.reason = reason
        self.scenario.record(self.label, "connectionLost", self.received, reason)


def factory_of(build: Callable[[], Protocol | None]) -> Factory:
    """A silent factory; the protocols it built are in its `built`."""
    factory = Factory()
    factory.noisy = False
    factory.built = []

    def build_protocol(address: object) -> Protocol | None:
        protocol = build()
        if protocol is not None:
            protocol.factory = factory
            factory.built.append(protocol)
        return protocol

    factory.buildProtocol = build_protocol
    return factory


def connect(port: Any) -> socket.socket:
    """A raw peer; the kernel completes the connection without the reactor."""
    return socket.create_connection(("127.0.0.1", port.getHost().port), timeout=10)


def reset(peer: socket.socket) -> None:
    """Close so that the other side sees a reset."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def describe(failure: Failure) -> list[str]:
    """A failure's class and text."""
    return [failure.type.__name__, failure.getErrorMessage()]


def descriptors() -> dict[int, str]:
    """The open descriptors of this process and what they refer to."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            pass  # the directory's own descriptor
    return found
