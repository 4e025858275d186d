"""Runs a program in a terminal of its own and relays it to this one, as script(1) does.

The first argument names the reactor, the rest is the program. Ends with the program's exit code.
"""

import fcntl
import shutil
import signal
import sys
import termios
import tty
from typing import Any

from twisted.application.reactors import installReactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol, Protocol
from twisted.python.failure import Failure


class Inner(ProcessProtocol):
    """The program: what it writes goes to the terminal, at the terminal's pace."""

    status = 0

    def __init__(self, outer: Any) -> None:
        self.outer = outer
        self.ended = Deferred[None]()

    def connectionMade(self) -> None:
        self.outer.registerProducer(self.transport, True)

    def childDataReceived(self, number: int, data: bytes) -> None:
        self.outer.write(data)

    def processEnded(self, reason: Failure) -> None:
        self.status = reason.value.exitCode if reason.value.signal is None else 128
        self.outer.unregisterProducer()
        # Ends when all is written.
        self.outer.loseConnection()
        self.ended.callback(None)


class Outer(Protocol):
    """The terminal: what is typed goes to the program, and so does a new size of the window."""

    inner: Inner
    child: IProcessTransport

    def __init__(self, reactor: Any, command: list[str]) -> None:
        self.reactor = reactor
        self.command = command
        self.ended = Deferred[None]()

    def connectionMade(self) -> None:
        self.inner = Inner(self.transport)
        program = shutil.which(self.command[0])
        self.child = self.reactor.spawnProcess(self.inner, program, self.command, None, usePTY=True)
        self.resize()
        self.child.registerProducer(self.transport, True)
        # Whichever of the two ends first has the other end.
        both = gatherResults([self.inner.ended, self.ended])
        both.addCallback(lambda _: self.reactor.running and self.reactor.stop())
        handler = lambda *_: self.reactor.callFromThread(self.resize)  # noqa: E731
        signal.signal(signal.SIGWINCH, handler)

    def resize(self) -> None:
        size = fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8))
        if self.child.fileno() >= 0:
            fcntl.ioctl(self.child.fileno(), termios.TIOCSWINSZ, size)

    def dataReceived(self, data: bytes) -> None:
        self.child.write(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.child.loseConnection()
        self.ended.callback(None)


def main(name: str, *command: str) -> int:
    reactor = installReactor(name)
    # This imports the reactor.
    from twisted.internet.stdio import StandardIO

    outer = Outer(reactor, list(command))
    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        reactor.callWhenRunning(StandardIO, outer, reactor=reactor)
        reactor.run()
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
    return outer.inner.status


sys.exit(main(*sys.argv[1:]))
