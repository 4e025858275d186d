"""The reactor's waker: Twisted's object around the pipe that the native loop watches."""

from __future__ import annotations

from twisted.internet._signals import _UnixWaker

from ropewalk._ropewalk import Core


class Waker(_UnixWaker):
    """Wakes the reactor from any thread; one byte written to ``o`` does so as well.

    The pipe belongs to the native core and is closed with it.
    """

    #: Tells the core that this reader is its own waker, which it watches already.
    _ropewalkWaker = True

    def __init__(self, core: Core) -> None:
        self.i, self.o = core.waker_descriptors()
        self.wakeUp = core.wake  # type: ignore[method-assign]

    def fileno(self) -> int:
        """The read end of the pipe, or -1 once the waker was closed."""
        return getattr(self, "i", -1)

    def doRead(self) -> None:
        """Nothing: the core empties the pipe itself."""

    def connectionLost(self, reason: object) -> None:
        """Let go of the pipe; a wake-up does nothing any more."""
        if hasattr(self, "o"):
            self.wakeUp = _nothing  # type: ignore[method-assign]
            del self.i, self.o


def _nothing() -> None:
    """What a closed waker does."""
