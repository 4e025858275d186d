"""What Twisted's reactors show of their pollers, told by the native core at each look.

Programs measure a reactor by putting an object of their own in the place of ``reactor._poller``,
which passes each call on. The reactor then waits through that object.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.posixbase import _ContinuousPolling

from ropewalk._ropewalk import Core

#: The flags of poll(2), which epoll(7) has as well.
IN, OUT, ERR, HUP, NVAL = 0x01, 0x04, 0x08, 0x10, 0x20


class Replaceable:
    """The attribute by which Twisted's reactor knows its poller.

    A program that assigns it stands between the wait and the dispatch from the next turn on;
    deleting it, or assigning what was there, has the reactor wait natively again.
    """

    def __init__(self, make: Callable[[Core], Any]) -> None:
        self._make = make

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, reactor: Any, owner: type | None = None) -> Any:
        if reactor is None:
            return self
        if self._name in reactor.__dict__:
            return reactor.__dict__[self._name]
        return self._native(reactor)

    def __set__(self, reactor: Any, poller: Any) -> None:
        if poller is self._native(reactor):
            self.__delete__(reactor)
        else:
            reactor.__dict__[self._name] = poller
            reactor._core.wait_through_reactor(True)

    def __delete__(self, reactor: Any) -> None:
        reactor.__dict__.pop(self._name, None)
        reactor._core.wait_through_reactor(False)

    def _native(self, reactor: Any) -> Any:
        """The same object for the life of the reactor."""
        kept: Any = reactor.__dict__
        name = f"_ropewalk{self._name}"
        if name not in kept:
            kept[name] = self._make(reactor._core)
        return kept[name]


class _Native:
    """The reactor's own poller."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def __repr__(self) -> str:
        return f"<the {self._core.poller} of a ropewalk reactor>"


class NativeEPoll(_Native):
    """In the place of a ``select.epoll``: to wait, not to register."""

    def poll(self, timeout: float | None = None, maxevents: int = -1) -> list[tuple[int, int]]:
        """Wait at most ``timeout`` seconds (None or negative: without limit)."""
        reports = self._core.wait(None if timeout is None or timeout < 0 else timeout)
        return reports[:maxevents] if maxevents > 0 else reports

    def fileno(self) -> int:
        """The number of the epoll descriptor."""
        number = self._core.poller_descriptor()
        if number is None:
            raise ValueError("I/O operation on closed epoll object")
        return number

    @property
    def closed(self) -> bool:
        """Whether the reactor has no epoll descriptor: between the halves of daemonizing."""
        return self._core.poller_descriptor() is None


class NativePoll(_Native):
    """In the place of a ``select.poll()``: to wait, not to register."""

    def poll(self, timeout: float | None = None) -> list[tuple[int, int]]:
        """Wait at most ``timeout`` milliseconds (None or negative: without limit)."""
        return self._core.wait(None if timeout is None or timeout < 0 else timeout / 1000)


class ShowsNumbers:
    """``_selectables``, ``_reads`` and ``_writes`` of reactors that number descriptors."""

    _core: Core

    #: Whether they show what the poller refuses as well; epoll's has another place for it.
    _showsRefused = True

    def _watched(self) -> Iterable[tuple[int, Any, bool, bool]]:
        """Number and object of each descriptor, and whether it reads and writes."""
        for number, descriptor, reading, writing, refused in self._core.watched():
            if self._showsRefused or not refused:
                yield number, descriptor, reading, writing

    @property
    def _selectables(self) -> dict[int, Any]:
        return {number: descriptor for number, descriptor, _, _ in self._watched()}

    @property
    def _reads(self) -> Any:
        return {number for number, _, reading, _ in self._watched() if reading}

    @property
    def _writes(self) -> Any:
        return {number for number, _, _, writing in self._watched() if writing}


class WaitsInPoller:
    """A reactor whose ``_poller`` answers pairs of numbers and flags."""

    _core: Core
    _poller: Any

    def _pollThrough(self, timeout: float | None) -> None:
        """Make a turn's wait and dispatch with what stands in the place of the poller."""
        arguments = self._pollArguments(self._core.prepare(timeout))
        try:
            reports = list(self._poller.poll(*arguments))
        except OSError as error:
            if error.errno != errno.EINTR:
                raise
            reports = []
        self._core.dispatch(reports)

    def _pollArguments(self, timeout: float | None) -> tuple[Any, ...]:
        """What Twisted's reactor gives to ``poll``, for a wait of ``timeout`` seconds."""
        raise NotImplementedError


def milliseconds(timeout: float | None) -> int | None:
    """A timeout as poll(2) counts it: rounded up, for a rounded down one ends too early."""
    return None if timeout is None else math.ceil(timeout * 1000)


class ContinuousPolling(_ContinuousPolling):
    """The descriptors that are always ready because the poller refuses them: regular files.

    The native loop visits them in every turn; there is no timer that does.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._loop = None

    def _refused(self, role: int) -> set[Any]:
        return {found[1] for found in self._reactor._core.watched() if found[4] and found[role]}

    @property
    def _readers(self) -> set[Any]:
        return self._refused(2)

    @property
    def _writers(self) -> set[Any]:
        return self._refused(3)

    def _checkLoop(self) -> None:
        """Nothing: there is no timer to start or stop."""

    def addReader(self, reader: Any) -> None:
        """Have the reactor read; it finds out by itself what the poller refuses."""
        self._reactor.addReader(reader)

    def addWriter(self, writer: Any) -> None:
        """Have the reactor write; it finds out by itself what the poller refuses."""
        self._reactor.addWriter(writer)

    def removeReader(self, reader: Any) -> None:
        """Read no more from a descriptor that the poller refuses."""
        if self.isReading(reader):
            self._reactor.removeReader(reader)

    def removeWriter(self, writer: Any) -> None:
        """Write no more to a descriptor that the poller refuses."""
        if self.isWriting(writer):
            self._reactor.removeWriter(writer)

    def removeAll(self) -> list[Any]:
        """Remove all descriptors that the poller refuses, and return them."""
        readers, writers = self._readers, self._writers
        for reader in readers:
            self._reactor.removeReader(reader)
        for writer in writers:
            self._reactor.removeWriter(writer)
        return list(readers | writers)
