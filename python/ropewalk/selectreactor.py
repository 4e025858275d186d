"""The reactor on select(2)."""

from __future__ import annotations

import errno
import select
from typing import Any

from twisted.internet import selectreactor
from twisted.internet.main import installReactor
from twisted.python import log

from ropewalk import process
from ropewalk._reactor import RopewalkReactor
from ropewalk._white_box import IN, OUT

__all__ = ["SelectReactor", "install"]

# What Twisted's module calls, before anybody put a function of their own there.
_select = selectreactor._select


class SelectReactor(RopewalkReactor, selectreactor.SelectReactor):
    """A reactor that waits in select(2).

    Descriptors beyond ``FD_SETSIZE`` are watched like others where the system allows it. A program
    that replaces Twisted's ``selectreactor._select``, to measure the wait, is asked in each turn.
    """

    _pollerName = "select"

    def __init__(self) -> None:
        super().__init__()
        self._core.wait_through_reactor_unless_original(vars(selectreactor), "_select", _select)

    # What Twisted's class keeps in attributes, told by the core.

    @property
    def _reads(self) -> set[Any]:
        return {found[1] for found in self._core.watched() if found[2]}

    @property
    def _writes(self) -> set[Any]:
        return {found[1] for found in self._core.watched() if found[3]}

    doSelect = RopewalkReactor.doIteration

    def _pollThrough(self, timeout: float | None) -> None:
        """Make a turn's wait and dispatch with what stands in the place of ``_select``."""
        # Nobody there would report what tells of a child's end.
        process.leaveToSignal(self)
        timeout = self._core.prepare(timeout)
        watched = self._core.watched()
        reads = {found[1] for found in watched if found[2]}
        writes = {found[1] for found in watched if found[3]}
        readable: Any = ()
        writable: Any = ()
        try:
            readable, writable, _ = selectreactor._select(reads, writes, [], timeout)
        except (TypeError, ValueError):
            self._preenDescriptors()
        except OSError as refusal:
            if refusal.errno == errno.EBADF:
                self._preenDescriptors()
            elif refusal.errno != errno.EINTR:
                raise
        numbers = {found[1]: found[0] for found in watched}
        flags = dict.fromkeys((numbers[descriptor] for descriptor in readable), IN)
        for descriptor in writable:
            number = numbers[descriptor]
            flags[number] = flags.get(number, 0) | OUT
        self._core.dispatch(list(flags.items()))


def preen(descriptor: Any) -> BaseException | None:
    """Why select(2) refuses a descriptor; None if it does not any more."""
    log.msg("Malformed file descriptor found.  Preening lists.")
    try:
        select.select([descriptor], [descriptor], [descriptor], 0)
    except Exception as refusal:
        log.msg(f"bad descriptor {descriptor}")
        return refusal
    return None


def install() -> None:
    """Install this reactor as Twisted's global one."""
    installReactor(SelectReactor())
