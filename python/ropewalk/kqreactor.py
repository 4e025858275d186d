"""The reactor on kqueue(2), which the BSDs and macOS have."""

from __future__ import annotations

import errno
import select
from typing import Any

from twisted.internet.main import installReactor

from ropewalk import _ropewalk
from ropewalk._reactor import RopewalkReactor
from ropewalk._white_box import ERR, HUP, IN, NVAL, OUT, Replaceable, ShowsNumbers, _Native

try:
    from twisted.internet import kqreactor
except ImportError as error:
    raise ImportError(
        "ropewalk.kqreactor needs kqueue(2), and Python's select module has none here:"
        " it is a system call of the BSDs and macOS"
    ) from error

__all__ = ["KQueueReactor", "install"]

_IN_MODULE: Any = select


class NativeKQueue(_Native):
    """In the place of a ``select.kqueue``: to wait, not to register."""

    def control(
        self, changelist: Any, max_events: int, timeout: float | None = None, /
    ) -> list[Any]:
        """Wait at most ``timeout`` seconds (None: without limit) for at most so many events."""
        if changelist:
            raise NotImplementedError(
                "a ropewalk reactor's own kqueue takes no changes: make one with select.kqueue()"
            )
        reports = self._core.wait(timeout) if max_events else []
        events = (event for number, flags in reports for event in _events(number, flags))
        return list(events)[:max_events]

    def fileno(self) -> int:
        """The number of the kqueue."""
        number = self._core.poller_descriptor()
        if number is None:
            raise ValueError("I/O operation on closed kqueue object")
        return number

    @property
    def closed(self) -> bool:
        """Whether the reactor has no kqueue: between the halves of daemonizing."""
        return self._core.poller_descriptor() is None


def _events(number: int, flags: int) -> list[Any]:
    """What a kqueue says in the place of the flags of poll(2)."""
    kevent = _IN_MODULE.kevent
    if flags & NVAL:
        failed = _IN_MODULE.KQ_EV_ERROR
        return [kevent(number, _IN_MODULE.KQ_FILTER_READ, failed, 0, errno.EBADF)]
    end = _IN_MODULE.KQ_EV_EOF if flags & (ERR | HUP) else 0
    filters = ((IN, _IN_MODULE.KQ_FILTER_READ), (OUT, _IN_MODULE.KQ_FILTER_WRITE))
    return [kevent(number, filter, end) for flag, filter in filters if flags & flag]


def _flags(event: Any) -> int:
    """The flags of poll(2) for one event."""
    if event.flags & _IN_MODULE.KQ_EV_ERROR:
        return NVAL if event.data else 0
    if event.filter == _IN_MODULE.KQ_FILTER_READ:
        return IN | (ERR if event.flags & _IN_MODULE.KQ_EV_EOF and event.fflags else 0)
    return OUT if event.filter == _IN_MODULE.KQ_FILTER_WRITE else 0


class KQueueReactor(ShowsNumbers, RopewalkReactor, kqreactor.KQueueReactor):
    """A reactor that waits in kqueue(2).

    The system's own queue is used natively. Another ``_kqueueImpl``, an object with ``kqueue`` and
    ``kevent``, is called for each wait, with the changes since the last one.
    """

    _pollerName = "kqueue"

    def __init__(self, _kqueueImpl: Any = select) -> None:
        self._impl = _kqueueImpl
        super().__init__()

    def _makeCore(self) -> _ropewalk.Core:
        if self._impl is select and self._pollerName in _ropewalk.available_pollers():
            return _ropewalk.Core(self._pollerName)
        return _ropewalk.Core(self._pollerName, self._impl)

    # What Twisted's class keeps in attributes, told by the core.

    _native = Replaceable(NativeKQueue)

    @property
    def _kq(self) -> Any:
        return self._core.kqueue if self._core.has_own_kqueue else self._native

    @_kq.setter
    def _kq(self, queue: Any) -> None:
        if self._core.has_own_kqueue:
            self._core.kqueue = queue
        else:
            self._native = queue

    doKEvent = RopewalkReactor.doIteration

    def _updateRegistration(self, fd: int, filter: int, op: int) -> None:
        """Nothing: the core tells the system when it waits."""

    def _pollThrough(self, timeout: float | None) -> None:
        """Make a turn's wait and dispatch with what stands in the place of the native queue."""
        timeout = self._core.prepare(timeout)
        count = self._core.watched_count()
        try:
            # As Twisted's: it never waits without limit.
            events = self._native.control([], count, 1 if timeout is None else timeout)
        except OSError as refusal:
            if refusal.errno != errno.EINTR:
                raise
            events = []
        flags: dict[int, int] = {}
        for event in events:
            flags[event.ident] = flags.get(event.ident, 0) | _flags(event)
        self._core.dispatch(list(flags.items()))

    def beforeDaemonize(self) -> None:
        """See twisted.internet.interfaces.IReactorDaemonize.beforeDaemonize."""
        super().beforeDaemonize()
        queue: Any = self._core.kqueue
        if queue is not None:
            queue.close()
            self._core.kqueue = None


def install() -> None:
    """Install this reactor as Twisted's global one."""
    installReactor(KQueueReactor())
