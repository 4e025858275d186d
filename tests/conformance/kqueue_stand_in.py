"""A kqueue in Python over poll(2), for systems without one: `select.kqueue` and what goes with it.

Twisted's KQueueReactor runs on it unmodified, as the baseline of ropewalk's. It copies what
kqueue(2) of FreeBSD documents, for the filters that reactors use (EVFILT_READ, EVFILT_WRITE and
EVFILT_USER), behind the interface of CPython's `select` module. What poll(2) cannot tell:

- the number of a socket's error without taking the error away; ECONNRESET stands for the errors of
  a connection that was established, ECONNREFUSED for the others;
- that a descriptor was closed and replaced by one of the same file, or of another anonymous one;
- growth of a file, and new activity for EV_CLEAR: both are looked for every 10 ms.
"""

from __future__ import annotations

import errno
import os
import select
import threading
import time
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kqueue_readiness import EV_EOF, EVFILT_READ, EVFILT_WRITE, Readiness, Target

EVFILT_USER = -11

EV_ADD = 0x0001
EV_DELETE = 0x0002
EV_ENABLE = 0x0004
EV_DISABLE = 0x0008
EV_ONESHOT = 0x0010
EV_CLEAR = 0x0020
EV_RECEIPT = 0x0040
EV_DISPATCH = 0x0080
EV_ERROR = 0x4000

NOTE_FFAND = 0x40000000
NOTE_FFOR = 0x80000000
NOTE_FFCOPY = 0xC0000000
NOTE_FFCTRLMASK = 0xC0000000
NOTE_FFLAGSMASK = 0x00FFFFFF
NOTE_TRIGGER = 0x01000000

#: Seconds between two looks at what poll(2) cannot wait for.
SAMPLE = 0.01

#: The flags of an EV_ADD that stay with the registration, and that its events show.
_STICKY = EV_ONESHOT | EV_CLEAR | EV_RECEIPT | EV_DISPATCH


class kevent:
    """See select.kevent."""

    __slots__ = ("data", "fflags", "filter", "flags", "ident", "udata")

    def __init__(
        self,
        ident: Any,
        filter: int = EVFILT_READ,
        flags: int = EV_ADD,
        fflags: int = 0,
        data: int = 0,
        udata: int = 0,
    ) -> None:
        number = ident if isinstance(ident, int) else ident.fileno()
        if number < 0:
            raise OverflowError("can't convert negative value to unsigned int")
        self.ident, self.filter, self.flags = number, filter, flags
        self.fflags, self.data, self.udata = fflags, data, udata

    def _fields(self) -> tuple[int, ...]:
        return (self.ident, self.filter, self.flags, self.fflags, self.data, self.udata)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, kevent) and self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash(self._fields())

    def __repr__(self) -> str:
        names = ("ident", "filter", "flags", "fflags", "data", "udata")
        pairs = zip(names, self._fields(), strict=True)
        return f"<select.kevent {' '.join(f'{name}={value:#x}' for name, value in pairs)}>"


@dataclass
class _Knote:
    """One registration."""

    ident: int
    filter: int
    flags: int
    fflags: int
    data: int
    udata: int
    #: What the descriptor refers to; None for EVFILT_USER.
    target: Target | None
    enabled: bool = True
    #: EVFILT_USER: whether it was triggered.
    triggered: bool = False
    #: EV_CLEAR: what was told last, while it lasts.
    told: Readiness | None = None

    @property
    def quiet(self) -> bool:
        """Whether poll(2) would report what is not to be told, so that it must not be asked."""
        assert self.target is not None
        return self.told is not None or (self.filter == EVFILT_READ and self.target.is_file)


class kqueue:
    """See select.kqueue."""

    #: None was made, if there was no descriptor left.
    _fd = -1

    def __init__(self) -> None:
        #: Written to when another thread changes something while one waits.
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._waiting = 0
        #: The registrations; those that were told last come last.
        self._knotes: dict[tuple[int, int], _Knote] = {}
        _ALL.add(self)

    def __del__(self) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._fd < 0

    def close(self) -> None:
        """Close it, with all of its registrations."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self._knotes = {}

    def fileno(self) -> int:
        """Its descriptor, which is a placeholder: it cannot be waited for."""
        if self._fd < 0:
            raise ValueError("I/O operation on closed kqueue object")
        return self._fd

    def control(
        self,
        changelist: Iterable[kevent] | None,
        max_events: int,
        timeout: float | None = None,
        /,
    ) -> list[kevent]:
        """Apply the changes; then wait for events, unless there were answers to the changes."""
        self.fileno()
        changes = list(changelist or ())
        if not all(isinstance(change, kevent) for change in changes):
            raise TypeError("changelist must be an iterable of select.kevent objects")
        if max_events < 0:
            raise ValueError(f"Length of eventlist must be 0 or positive, got {max_events}")
        if timeout is not None and timeout < 0:
            raise ValueError("timeout must be positive or None")
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._lock:
            answers, over = self._change(changes, max_events)
            if changes and self._waiting:
                os.eventfd_write(self._fd, 1)
        if answers or over or max_events == 0:
            return answers
        return self._wait(max_events, deadline)

    def _change(self, changes: list[kevent], room: int) -> tuple[list[kevent], bool]:
        """Apply the changes: the answers to tell, and whether the rest of them was given up."""
        answers: list[kevent] = []
        for change in changes:
            error = self._apply(change)
            if not error and not change.flags & EV_RECEIPT:
                continue
            if len(answers) == room:
                if error:
                    raise OSError(error, os.strerror(error))
                return answers, True
            answers.append(
                kevent(change.ident, change.filter, EV_ERROR, change.fflags, error, change.udata)
            )
        return answers, False

    def _apply(self, change: kevent) -> int:
        """Apply one change: 0, or the number of its error."""
        key = (change.ident, change.filter)
        target = None
        if change.filter in (EVFILT_READ, EVFILT_WRITE):
            target = Target.of(change.ident)
            if target is None:
                return errno.EBADF
        elif change.filter != EVFILT_USER:
            return errno.EINVAL
        knote = self._knotes.get(key)
        if knote is not None and knote.target != target:
            # The descriptor was closed, which removed this; its number was used again.
            knote = self._knotes.pop(key) and None
        if knote is None:
            if not change.flags & EV_ADD:
                return errno.ENOENT
            knote = self._knotes[key] = _Knote(
                *(change.ident, change.filter, change.flags & _STICKY),
                *(change.fflags, change.data, change.udata, target),
            )
            if change.filter == EVFILT_USER:
                knote.triggered = bool(change.fflags & NOTE_TRIGGER)
                knote.fflags = _combine(0, change.fflags)
        elif change.flags & EV_DELETE:
            del self._knotes[key]
            return 0
        else:
            _update(knote, change)
        if change.flags & EV_DISABLE:
            knote.enabled = False
        elif change.flags & (EV_ADD | EV_ENABLE):
            knote.enabled = True
        return 0

    def _wait(self, room: int, deadline: float | None) -> list[kevent]:
        """Wait for events; at most `room` of them."""
        while True:
            with self._lock:
                self.fileno()
                self._shed()
                events = self._collect(room)
                rest = None if deadline is None else deadline - time.monotonic()
                if events or (rest is not None and rest <= 0):
                    return events
                poller, sampled = self._poller(sleeping=True)
                poller.register(self._fd, select.POLLIN)
                self._waiting += 1
            if sampled:
                rest = SAMPLE if rest is None else min(rest, SAMPLE)
            try:
                # As CPython's: a signal's handler runs, and the wait goes on.
                poller.poll(None if rest is None else rest * 1000)
            finally:
                with self._lock:
                    self._waiting -= 1
                    if not self._waiting and self._fd >= 0:
                        _drain(self._fd)

    def _shed(self) -> None:
        """Drop the registrations of descriptors that were closed."""
        for key, knote in list(self._knotes.items()):
            if knote.target is not None and Target.of(knote.ident) != knote.target:
                del self._knotes[key]

    def _poller(self, sleeping: bool) -> tuple[select.poll, bool]:
        """A poll object for all registrations, and whether some have to be looked at anew."""
        poller = select.poll()
        masks: dict[int, int] = {}
        sampled = False
        for knote in self._knotes.values():
            if knote.target is None or not knote.enabled:
                continue
            if sleeping and knote.quiet:
                sampled = True
                continue
            mask = _MASKS[knote.filter]
            masks[knote.ident] = masks.get(knote.ident, 0) | mask
        for ident, mask in masks.items():
            poller.register(ident, mask)
        return poller, sampled

    def _collect(self, room: int) -> list[kevent]:
        """What there is to tell now."""
        poller, _ = self._poller(sleeping=False)
        polled = dict(poller.poll(0))
        events = []
        for key, knote in list(self._knotes.items()):
            if len(events) == room:
                break
            if not knote.enabled:
                continue
            event = self._event(knote, polled.get(knote.ident, 0))
            if event is None:
                continue
            events.append(event)
            if knote.flags & EV_ONESHOT:
                del self._knotes[key]
            else:
                knote.enabled = not knote.flags & EV_DISPATCH
                # To the end: a small event list gets to all of them in turn.
                self._knotes[key] = self._knotes.pop(key)
        return events

    def _event(self, knote: _Knote, polled: int) -> kevent | None:
        """The event of one registration, if it has one."""
        flags = knote.flags & ~EV_RECEIPT
        if knote.target is None:
            if not knote.triggered:
                return None
            knote.triggered = not knote.flags & EV_CLEAR
            return kevent(knote.ident, knote.filter, flags, knote.fflags, knote.data, knote.udata)
        ready = knote.target.readiness(knote.filter, knote.fflags, polled)
        if knote.flags & EV_CLEAR:
            if ready == knote.told:
                return None
            knote.told = ready
        if ready is None:
            return None
        flags |= EV_EOF if ready.eof else 0
        return kevent(knote.ident, knote.filter, flags, ready.fflags, ready.data, knote.udata)


def _update(knote: _Knote, change: kevent) -> None:
    """Change the parameters of a registration; its EV_ONESHOT and EV_CLEAR stay as they were."""
    knote.data, knote.udata = change.data, change.udata
    if change.filter != EVFILT_USER:
        knote.fflags = change.fflags
        return
    knote.fflags = _combine(knote.fflags, change.fflags)
    knote.triggered = knote.triggered or bool(change.fflags & NOTE_TRIGGER)
    if change.flags & EV_CLEAR:
        knote.triggered = False


def _combine(before: int, change: int) -> int:
    """The flags of a user event after a change of them."""
    flags = change & NOTE_FFLAGSMASK
    how = change & NOTE_FFCTRLMASK
    if how == NOTE_FFAND:
        return before & flags
    if how == NOTE_FFOR:
        return before | flags
    return flags if how == NOTE_FFCOPY else before


def _drain(fd: int) -> None:
    try:
        os.eventfd_read(fd)
    except BlockingIOError:
        pass


_MASKS = {EVFILT_READ: select.POLLIN | select.POLLRDHUP, EVFILT_WRITE: select.POLLOUT}

_ALL: weakref.WeakSet[kqueue] = weakref.WeakSet()


def _after_fork() -> None:
    """In the child: a kqueue is not inherited."""
    for queue in list(_ALL):
        queue._lock = threading.Lock()
        queue._waiting = 0
        queue.close()


def inject() -> None:
    """Give the `select` module what it has on systems with kqueue(2)."""
    found: dict[str, Any] = {"kqueue": kqueue, "kevent": kevent}
    found["KQ_FILTER_READ"], found["KQ_FILTER_WRITE"] = EVFILT_READ, EVFILT_WRITE
    for name in ("ADD", "DELETE", "ENABLE", "DISABLE", "ONESHOT", "CLEAR", "EOF", "ERROR"):
        found[f"KQ_EV_{name}"] = globals()[f"EV_{name}"]
    for name, value in found.items():
        setattr(select, name, value)


os.register_at_fork(after_in_child=_after_fork)
