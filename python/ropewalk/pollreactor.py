"""The reactor on poll(2)."""

from __future__ import annotations

from typing import Any

from twisted.internet import pollreactor
from twisted.internet.main import installReactor

from ropewalk._reactor import RopewalkReactor
from ropewalk._white_box import (
    NativePoll,
    Replaceable,
    ShowsNumbers,
    WaitsInPoller,
    milliseconds,
)

__all__ = ["PollReactor", "install"]


class _Writers(dict[int, int]):
    """``_writes``, told from ``_reads`` by its type, for ``_dictRemove`` is given one of both."""


class PollReactor(ShowsNumbers, WaitsInPoller, RopewalkReactor, pollreactor.PollReactor):
    """A reactor that waits in poll(2)."""

    _pollerName = "poll"

    # What Twisted's class keeps in attributes, told by the core.
    _poller = Replaceable(NativePoll)

    @property
    def _reads(self) -> dict[int, int]:
        return dict.fromkeys(super()._reads, 1)

    @property
    def _writes(self) -> dict[int, int]:
        return _Writers.fromkeys(super()._writes, 1)

    doPoll = RopewalkReactor.doIteration

    def _pollArguments(self, timeout: float | None) -> tuple[int | None]:
        return (milliseconds(timeout),)

    def _updateRegistration(self, fd: int) -> None:
        """Nothing: the core tells the system before it waits."""

    def _dictRemove(self, selectable: Any, mdict: dict[int, int]) -> None:
        if isinstance(mdict, _Writers):
            self.removeWriter(selectable)
        else:
            self.removeReader(selectable)


def install() -> None:
    """Install this reactor as Twisted's global one."""
    installReactor(PollReactor())
