"""Twisted's StandardIO on the reactor named first, in the hands of another process.

    standard_io.py REACTOR CONTROL REPORT INPUT OUTPUT PROTOCOL

It serves the descriptors INPUT and OUTPUT. From the descriptor CONTROL it takes Python expressions,
a line each, in which `io` is the transport and `it` the protocol; to REPORT it writes what happens
and what the expressions give, in JSON. The end of the control ends it.
"""

import fcntl
import hashlib
import json
import os
import sys
from typing import Any

from twisted.application.reactors import installReactor
from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.protocol import Protocol
from twisted.logger import globalLogBeginner
from twisted.python.failure import Failure
from zope.interface import implementer


class Recorder(Protocol):
    """Records what it hears; of data, how much and what it was when it is lost."""

    report: Any
    reactor: Any
    echoes = raises = False

    def __init__(self) -> None:
        self.received = 0
        self.digest = hashlib.sha256()
        self.lost = False

    def connectionMade(self) -> None:
        self.report("made")

    def dataReceived(self, data: bytes) -> None:
        self.received += len(data)
        self.digest.update(data)
        if self.echoes:
            assert self.transport is not None
            self.transport.write(data)
        if self.raises:
            raise ValueError("in dataReceived")

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.lost = True
        self.report("lost", describe(reason), self.received, self.digest.hexdigest())


class Echo(Recorder):
    echoes = True


class Raising(Recorder):
    raises = True


@implementer(IHalfCloseableProtocol)
class Half(Recorder):
    """One that wants to know of either half."""

    def readConnectionLost(self) -> None:
        self.report("read lost")

    def writeConnectionLost(self) -> None:
        self.report("write lost")


class HalfEcho(Half):
    echoes = True


class HalfRaising(Half):
    """One that fails whenever a half is lost."""

    def readConnectionLost(self) -> None:
        super().readConnectionLost()
        raise ValueError("in readConnectionLost")

    def writeConnectionLost(self) -> None:
        super().writeConnectionLost()
        raise ValueError("in writeConnectionLost")


class Producer:
    """Gives so many bytes, in pieces, then lets the transport end."""

    def __init__(self, report: Any, io: Any, total: int, streaming: bool) -> None:
        self.report, self.io, self.left, self.streaming = report, io, total, streaming
        self.pauses = self.resumes = 0
        self.paused = self.stopped = False
        io.registerProducer(self, streaming)
        if streaming and not self.stopped:
            self.supply()

    def supply(self) -> None:
        while self.left and not self.paused and not self.stopped:
            piece = min(self.left, 10_000)
            self.left -= piece
            self.io.write(b"p" * piece)
            if not self.streaming:
                return
        if not self.left:
            self.report("all given", self.pauses > 0, self.resumes > 1)
            self.io.unregisterProducer()
            self.io.loseConnection()

    def resumeProducing(self) -> None:
        self.resumes += 1
        self.paused = False
        self.supply()

    def pauseProducing(self) -> None:
        self.pauses += 1
        self.paused = True

    def stopProducing(self) -> None:
        self.stopped = True
        self.report("told to stop")


class Control(FileDescriptor):
    """Evaluates what comes, and answers."""

    def __init__(self, reactor: Any, number: int, report: Any, names: dict[str, Any]) -> None:
        super().__init__(reactor)
        self.number, self.report, self.names, self.rest = number, report, names, b""

    def fileno(self) -> int:
        return self.number

    def doRead(self) -> Any:
        data = os.read(self.number, 65536)
        if not data:
            return CONNECTION_DONE
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            try:
                result = eval(line, self.names)
            except BaseException as error:
                result = describe(Failure(error))
            plain = result if isinstance(result, (bool, int, str, list)) else None
            self.report("answer", plain)
        return None

    def connectionLost(self, reason: Failure) -> None:
        # A pipe's end is read on some reactors, and told of as a hang-up by others.
        super().connectionLost(reason)
        self.reactor.stop()


def describe(failure: Failure) -> list[str]:
    return [failure.type.__name__, failure.getErrorMessage()]


def main(name: str, control: str, report_to: str, stdin: str, stdout: str, protocol: str) -> None:
    reactor: Any = installReactor(name)
    # This imports the reactor.
    from twisted.internet.stdio import StandardIO

    def report(*fields: Any) -> None:
        os.write(int(report_to), json.dumps(fields).encode() + b"\n")

    def log(event: dict[str, Any]) -> None:
        # A logger and `log.err` name the failure differently.
        failure = event.get("log_failure") or event.get("failure")
        if failure is not None:
            report("logged", describe(failure))

    def begin() -> None:
        try:
            names["io"] = StandardIO(it, int(stdin), int(stdout), reactor)
        except BaseException as error:
            report("raises", describe(Failure(error)))

    globalLogBeginner.beginLoggingTo([log], discardBuffer=True, redirectStandardIO=False)
    Recorder.report = staticmethod(report)
    it = globals()[protocol]()
    names: dict[str, Any] = {"it": it, "os": os, "io": None}
    names["produce"] = lambda total, streaming: Producer(report, names["io"], total, streaming)
    names["flags"] = lambda n: fcntl.fcntl(n, fcntl.F_GETFL) & os.O_NONBLOCK != 0
    reactor.callWhenRunning(begin)
    reactor.callWhenRunning(Control(reactor, int(control), report, names).startReading)
    reactor.run()
    report("stopped")


main(*sys.argv[1:])
