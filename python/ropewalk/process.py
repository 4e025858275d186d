"""Process transports: Twisted's classes, with a native birth and a native end.

A child is made without a copy of this process, and its end is told by a descriptor of its own. It
is waited for once, by its own identity: neither ``SIGCHLD`` nor the main thread is needed for that,
and nobody else's child is touched. What is not plain (see :mod:`ropewalk._children`), and every
child that cannot be made, is left to Twisted's class, which knows every error.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Any

from twisted.internet import error, fdesc, process
from twisted.internet._signals import _ChildSignalHandling, _SIGCHLDWaker
from twisted.logger import Logger
from twisted.python import log

from ropewalk import _ropewalk
from ropewalk._children import NotPlain, describe, plainDescriptors, whyTwisteds

__all__ = ["PTYProcess", "Process"]

_log = Logger()

#: What a transport is told of a child that is gone and left no status: somebody else has waited for
#: it, or the program ignores SIGCHLD, on a kernel that keeps no record. asyncio says the same.
_UNKNOWN_STATUS = 255 << 8


class _Child(process._BaseProcess):
    """A transport whose child is native."""

    _reactor: Any
    proto: Any
    _child: _ropewalk.ChildProcess
    _watched = False
    #: The waker that has seen it in Twisted's table.
    _seenBy: _ChildWaker | None = None

    def _begin(self, reactor: Any, child: _ropewalk.ChildProcess, proto: Any) -> None:
        self._reactor = reactor
        process._BaseProcess.__init__(self, proto)
        self._child = child
        self.pid = child.pid
        self.status = -1

    def _start(self) -> None:
        """Tell the protocol, and watch for the child's end from then on."""
        try:
            if self.proto is not None:
                self.proto.makeConnection(self)
        except BaseException:
            log.err()
        pid = self.pid
        if pid is None:
            # The protocol has had it reaped already.
            return
        predecessor = process.reapProcessHandlers.get(pid)
        if predecessor is not None:
            # Gone, or the system would not have used the number again.
            predecessor.reapProcess()
        process.reapProcessHandlers[pid] = self
        self._reactor._watchedChildren.add(pid)
        self._watched = True
        self._child.watch(self._reactor._core, self)

    def reapProcess(self) -> None:
        """Wait for the child if it has ended. Nobody has to call this for it to be waited for."""
        status = self._child.try_wait()
        if status is not None:
            self._childEnded(status)

    def _childEnded(self, status: int) -> None:
        pid = self.pid
        if pid is None:
            return
        self._childUnwatched()
        if process.reapProcessHandlers.get(pid) is self:
            del process.reapProcessHandlers[pid]
        if status == -1:
            log.msg(f"Nobody can tell how process {pid} ended: somebody else has waited for it.")
            status = _UNKNOWN_STATUS
        self.processEnded(status)

    def _childUnwatched(self) -> None:
        """From here on the reactor looks after the child when SIGCHLD comes."""
        if self._watched:
            self._watched = False
            self._reactor._watchedChildren.discard(self.pid)

    def signalProcess(self, signalID: str | int) -> None:
        """See twisted.internet.interfaces.IProcessTransport.signalProcess."""
        if signalID in ("HUP", "STOP", "INT", "KILL", "TERM"):
            signalID = getattr(signal, f"SIG{signalID}")
        if self.pid is None or not self._child.send_signal(signalID):  # type: ignore[arg-type]
            raise error.ProcessExitedAlready()


class ProcessReader(_ropewalk.Pipe, process.ProcessReader):
    """Our end of a pipe that a child writes to."""

    def __init__(self, reactor: Any, proc: Any, name: int, fileno: int) -> None:
        self.reactor = reactor
        self.proc = proc
        self.name = name
        self.fd = fileno
        self.startReading()


class ProcessWriter(_ropewalk.Pipe, process.ProcessWriter):
    """Our end of a pipe that a child reads from."""

    # What an idle pipe that is written to can be read is its end, which is Twisted's to tell.
    doRead = process.ProcessWriter.doRead

    def __init__(self, reactor: Any, proc: Any, name: int, fileno: int) -> None:
        self.reactor = reactor
        self.proc = proc
        self.name = name
        self.fd = fileno
        self.enableReadHack = True
        self.startReading()


class Process(_Child, process.Process):
    """A child with pipes."""

    processReaderFactory = ProcessReader
    processWriterFactory = ProcessWriter  # type: ignore[assignment]

    def __init__(
        self,
        reactor: Any,
        child: _ropewalk.ChildProcess,
        pipes: dict[int, int],
        childFDs: Mapping[int, str | int],
        proto: Any,
    ) -> None:
        self._begin(reactor, child, proto)
        self.pipes: dict[int, Any] = {}
        for number, kind in childFDs.items():
            if kind == "r":
                self.pipes[number] = ProcessReader(reactor, self, number, pipes[number])
            elif kind == "w":
                self.pipes[number] = ProcessWriter(reactor, self, number, pipes[number])
        self._start()

    def maybeCallProcessEnded(self) -> None:
        """Tell the protocol of the end once all pipes are closed and the child was waited for."""
        # Twisted's class tries to reap a child without pipes; here word of its end comes anyway.
        if self.pipes or (self._watched and not self.lostProcess):
            return
        super().maybeCallProcessEnded()


class PTYProcess(_Child, _ropewalk.Pipe, process.PTYProcess):
    """A child in a terminal."""

    def __init__(
        self, reactor: Any, child: _ropewalk.ChildProcess, master: int, proto: Any
    ) -> None:
        self.reactor = reactor
        self._begin(reactor, child, proto)
        fdesc.setNonBlocking(master)
        self.fd = master
        self.startReading()
        self.connected = 1
        self._start()

    def dataReceived(self, data: bytes) -> None:
        """Hand on what the child wrote."""
        self.proto.childDataReceived(1, data)


def spawn(
    reactor: Any,
    proto: Any,
    executable: Any,
    args: Any,
    env: Any,
    path: Any,
    uid: Any,
    gid: Any,
    usePTY: Any,
    childFDs: Any,
) -> Process | PTYProcess | None:
    """Make a child natively; None, with nothing done, if that is for Twisted's class to do."""
    try:
        why = whyTwisteds(reactor)
        if why is not None:
            raise NotPlain(why)
        program = describe(executable, args, env, path, uid, gid, bool(usePTY))
        if usePTY:
            child, master = _inTerminal(program, usePTY)
        else:
            childFDs = plainDescriptors(childFDs, proto)
            child, pipes = _ropewalk.spawn_child(program, descriptors=childFDs)
    except (NotPlain, AttributeError, OSError, TypeError, ValueError) as reason:
        # What is an error will be met by Twisted's class again, which says it in Twisted's way.
        _log.debug(
            "Twisted's class makes the child {executable!r}: {reason}",
            executable=executable,
            # Native code names the part of the description that was wrong, because of what.
            reason=reason.__cause__ or reason,
        )
        return None
    if usePTY:
        return PTYProcess(reactor, child, master, proto)
    return Process(reactor, child, pipes, childFDs, proto)


def _inTerminal(program: Any, usePTY: Any) -> tuple[_ropewalk.ChildProcess, int]:
    given = isinstance(usePTY, (tuple, list))
    master, slave = usePTY[:2] if given else os.openpty()
    try:
        child, _ = _ropewalk.spawn_child(program, terminal=slave)
    except BaseException:
        if not given:
            os.close(master)
            os.close(slave)
        raise
    os.close(slave)
    return child, master


_reapAllProcesses = process.reapAllProcesses


def leaveToSignal(reactor: Any) -> None:
    """Have the children of a reactor reaped when SIGCHLD comes, as Twisted's are."""
    for pid in list(reactor._watchedChildren):
        child = process.reapProcessHandlers.get(pid)
        if isinstance(child, _Child):
            child._childUnwatched()
            # The signal may have come already.
            child.reapProcess()


class _ChildWaker(_SIGCHLDWaker):
    """Wakes the reactor when SIGCHLD comes, for those children whose end nothing else tells.

    The signal does not say whose end it tells, and comes for the watched ones too: so to know the
    others in Twisted's table has to cost the same beside one child as beside thousands.

    A dict is in the order of insertion. So what is older than an entry that was looked at was
    looked at before, and is watched or known as one of the others. Only what is newer is looked at;
    and the whole table if the watched ones and the others are not as many as its entries, which is
    so where somebody has taken a watched one out by hand. (It takes two to hide another child, one
    kept out and one put back in behind it: until the end of the first.)
    """

    def __init__(self, reactor: Any) -> None:
        super().__init__()
        self._reactor = reactor
        # Those of the table, as it was last looked at, that are to be reaped here.
        self._others: dict[int, Any] = {}

    def doRead(self) -> None:
        """Reap the children that are not watched."""
        if process.reapAllProcesses is not _reapAllProcesses:
            super().doRead()
            return
        super(_SIGCHLDWaker, self).doRead()
        handlers: Any = process.reapProcessHandlers
        self._others = self._findOthers(handlers)
        for pid, child in list(self._others.items()):
            # One that another reactor watches, in another thread perhaps, is left to it.
            if not _isWatchedElsewhere(child) and handlers.get(pid) is child:
                child.reapProcess()

    def _findOthers(self, handlers: dict[int, Any]) -> dict[int, Any]:
        others = {pid: child for pid, child in self._others.items() if handlers.get(pid) is child}
        new = {}
        try:
            for pid, child in reversed(handlers.items()):
                if pid in others or getattr(child, "_seenBy", None) is self:
                    break
                new[pid] = child
        except RuntimeError:
            # Another thread has changed it meanwhile.
            return self._unwatched(handlers)
        others.update(self._unwatched(new))
        if len(handlers) == len(self._reactor._watchedChildren) + len(others):
            return others
        return self._unwatched(handlers)

    def _unwatched(self, children: dict[int, Any]) -> dict[int, Any]:
        """Look at children; those that are to be reaped here."""
        return {pid: child for pid, child in list(children.items()) if not self._watches(child)}

    def _watches(self, child: Any) -> bool:
        if isinstance(child, _Child) and child._watched and child._reactor is self._reactor:
            child._seenBy = self
            return True
        return False


def _isWatchedElsewhere(child: Any) -> bool:
    return isinstance(child, _Child) and child._watched and bool(child._reactor._started)


class ChildSignalHandling(_ChildSignalHandling):
    """Installs what hears of SIGCHLD when the reactor starts, and removes it when it stops."""

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor._addInternalReader, reactor._removeInternalReader)
        self._reactor = reactor

    def install(self) -> None:
        """See twisted.internet._signals.SignalHandling.install."""
        if self._childWaker is None:
            self._childWaker = _ChildWaker(self._reactor)
            self._addInternalReader(self._childWaker)  # type: ignore[arg-type]
        super().install()
