"""The reactor inside an asyncio event loop.

asyncio watches one descriptor and one deadline; transports, timers and thread calls stay native.
Any loop with ``add_reader``, ``call_at`` and ``call_soon`` will do: asyncio's own on Unix, or
uvloop's.
"""

from __future__ import annotations

import asyncio
import math
import sys
from typing import Any

from twisted.internet import asyncioreactor
from twisted.internet.main import installReactor

from ropewalk._reactor import RopewalkReactor
from ropewalk._white_box import ContinuousPolling

__all__ = ["AsyncioSelectorReactor", "install"]


# Twisted's class names the arguments of callFromThread otherwise, and knows no type of a timer.
class AsyncioSelectorReactor(  # type: ignore[misc]
    RopewalkReactor, asyncioreactor.AsyncioSelectorReactor
):
    """A reactor that lives in an asyncio event loop, which runs beside it in the same thread."""

    # The pollers that have a descriptor to watch.
    _pollerName = "epoll" if sys.platform.startswith("linux") else "kqueue"

    def __init__(self, eventloop: asyncio.AbstractEventLoop | None = None) -> None:
        self._asyncioEventloop = _current_loop() if eventloop is None else eventloop
        # When asyncio is to make a turn, and what the turn's deadline is by the reactor's clock.
        self._scheduledAt: float | None = None  # type: ignore[assignment]
        self._timerHandle: asyncio.TimerHandle | None = None  # type: ignore[assignment]
        self._deadline: float | None = None
        self._turnIsDue = False
        self._continuousPolling = ContinuousPolling(self)
        super().__init__()
        self._watch()

    # The loop

    def _watch(self) -> None:
        """Have asyncio make a turn whenever there is something to do."""
        self._asyncioEventloop.add_reader(self._core.host_descriptor(), self._turn)
        self._turnSoon()

    def _turn(self) -> None:
        """Do what is due, without waiting, and arrange for the next turn."""
        try:
            deadline = self._core.hosted_turn()
        except BaseException:
            self._turnSoon()
            raise
        if deadline == -math.inf:
            self._turnSoon()
        elif deadline != self._deadline:
            self._arrange(deadline)

    def _turnSoon(self) -> None:
        """Have asyncio make a turn after what it is about to do."""
        # Once, however many turns ask for it: each would make room for another for ever.
        if not self._turnIsDue:
            self._turnIsDue = True
            self._asyncioEventloop.call_soon(self._onDue)

    def _onDue(self) -> None:
        self._turnIsDue = False
        self._turn()

    def _arrange(self, deadline: float | None) -> None:
        """Have asyncio make a turn at ``deadline``, or earlier."""
        handle = self._timerHandle
        if deadline is None:
            if handle is not None:
                handle.cancel()
            self._timerHandle = self._scheduledAt = None
        else:
            when = self._asyncioEventloop.time() + self._delay(deadline)
            # A timer that is set too early costs one turn in vain; setting it anew whenever a call
            # is put off would cost more.
            if handle is None or self._scheduledAt is None or when < self._scheduledAt:
                if handle is not None:
                    handle.cancel()
                self._timerHandle = self._asyncioEventloop.call_at(when, self._onTimer)
                self._scheduledAt = when
        self._deadline = deadline

    def _delay(self, deadline: float) -> float:
        """Seconds until ``deadline``, as the event loop has to be told."""
        delay = max(0.0, deadline - self.seconds())
        if isinstance(self._asyncioEventloop, asyncio.BaseEventLoop):
            return delay
        # uvloop rounds to the nearest millisecond, and too early is turn after turn in vain.
        return math.ceil(delay * 1000) / 1000

    def _onTimer(self) -> None:
        self._timerHandle = self._scheduledAt = self._deadline = None
        self._turn()

    def _reschedule(self) -> None:
        self._turnSoon()

    def mainLoop(self) -> None:
        """Run the asyncio event loop until the reactor is stopped or crashed."""
        self._asyncioEventloop.run_forever()

    # IReactorDaemonize

    def beforeDaemonize(self) -> None:
        """See twisted.internet.interfaces.IReactorDaemonize.beforeDaemonize."""
        self._asyncioEventloop.remove_reader(self._core.host_descriptor())
        super().beforeDaemonize()

    def afterDaemonize(self) -> None:
        """See twisted.internet.interfaces.IReactorDaemonize.afterDaemonize."""
        super().afterDaemonize()
        self._watch()

    # What Twisted's class keeps in attributes

    @property
    def _readers(self) -> dict[Any, int]:  # type: ignore[override]
        return self._numbers(2)

    @property
    def _writers(self) -> dict[Any, int]:  # type: ignore[override]
        return self._numbers(3)

    def _numbers(self, role: int) -> dict[Any, int]:
        watched = self._core.watched()
        return {found[1]: found[0] for found in watched if found[role] and not found[4]}


def _current_loop() -> asyncio.AbstractEventLoop:
    """The running event loop, or a new one, which becomes the thread's."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop


def install(eventloop: asyncio.AbstractEventLoop | None = None) -> None:
    """Install this reactor as Twisted's global one, in ``eventloop`` or the thread's own."""
    installReactor(AsyncioSelectorReactor(eventloop))
