"""The reactor on epoll(7)."""

from __future__ import annotations

from typing import Any

from twisted.internet import epollreactor
from twisted.internet.main import installReactor

from ropewalk._reactor import RopewalkReactor
from ropewalk._white_box import (
    ContinuousPolling,
    NativeEPoll,
    Replaceable,
    ShowsNumbers,
    WaitsInPoller,
)

__all__ = ["EPollReactor", "install"]


class EPollReactor(ShowsNumbers, WaitsInPoller, RopewalkReactor, epollreactor.EPollReactor):
    """A reactor that waits in epoll(7)."""

    _pollerName = "epoll"

    # What Twisted's class keeps in attributes, told by the core.
    _poller = Replaceable(NativeEPoll)
    _showsRefused = False

    def __init__(self) -> None:
        self._continuousPolling = ContinuousPolling(self)
        super().__init__()

    doPoll = RopewalkReactor.doIteration

    def _pollArguments(self, timeout: float | None) -> tuple[float, int]:
        return -1 if timeout is None else timeout, self._core.watched_count()

    def _add(
        self, xer: Any, primary: Any, other: Any, selectables: Any, event: int, antievent: int
    ) -> None:
        if event == epollreactor.EPOLLIN:
            self.addReader(xer)
        else:
            self.addWriter(xer)

    def _remove(
        self, xer: Any, primary: Any, other: Any, selectables: Any, event: int, antievent: int
    ) -> None:
        if event == epollreactor.EPOLLIN:
            self.removeReader(xer)
        else:
            self.removeWriter(xer)


def install() -> None:
    """Install this reactor as Twisted's global one."""
    installReactor(EPollReactor())
