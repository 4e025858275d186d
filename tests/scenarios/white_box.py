"""What programs see of the poller in private attributes, and what they put in its place."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from scenario import Recorder, Scenario, connect, factory_of
from twisted.internet import asyncioreactor, epollreactor, pollreactor, selectreactor
from twisted.internet.abstract import FileDescriptor

scenario = Scenario()
reactor = scenario.reactor

#: What the waits of the reactors are given in seconds; poll(2) counts milliseconds.
MILLISECONDS = isinstance(reactor, pollreactor.PollReactor)


class Descriptor(FileDescriptor):
    """One end of a socket pair, which notes what it is told."""

    def __init__(self) -> None:
        super().__init__(reactor)
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.told: list[str] = []

    def fileno(self) -> int:
        return self.near.fileno()

    def doRead(self) -> None:
        self.told.append("read")
        try:
            self.near.recv(100)
        except BlockingIOError:
            self.told.append("for nothing")

    def doWrite(self) -> None:
        self.told.append("write")
        reactor.removeWriter(self)

    def connectionLost(self, reason: Any) -> None:
        scenario.record("lost", reason.type.__name__)

    def close(self) -> None:
        reactor.removeReader(self)
        reactor.removeWriter(self)
        self.near.close()
        self.far.close()


class Between:
    """Stands between the loop and its poller, as a program that measures it does."""

    def __init__(self, wait: Callable[..., Any]) -> None:
        self.wait = wait
        self.arguments: list[tuple[Any, ...]] = []
        #: What to raise instead of the next wait.
        self.refusals: list[Exception] = []
        #: Changes what the wait answers.
        self.change: Callable[[Any], Any] = lambda answer: answer

    def __call__(self, *arguments: Any) -> Any:
        self.arguments.append(arguments)
        if self.refusals:
            raise self.refusals.pop()
        return self.change(self.wait(*arguments))


class Wrapper:
    """The poller but for one method."""

    def __init__(self, wrapped: Any, method: str, between: Between) -> None:
        self.wrapped = wrapped
        setattr(self, method, between)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.wrapped, name)


@contextmanager
def standing_between() -> Iterator[Between]:
    """Put an object in the place of the poller, and take it away again."""
    if isinstance(reactor, selectreactor.SelectReactor):
        original = selectreactor._select
        between = Between(original)
        selectreactor._select = between
        yield between
        selectreactor._select = original
        return
    name, method = ("_poller", "poll") if hasattr(reactor, "_poller") else ("_kq", "control")
    original = getattr(reactor, name)
    between = Between(getattr(original, method))
    wrapper = Wrapper(original, method, between)
    setattr(reactor, name, wrapper)
    scenario.record("is in place", getattr(reactor, name) is wrapper)
    yield between
    setattr(reactor, name, original)
    scenario.record("was taken away", getattr(reactor, name) is original)


def ready(answer: Any, descriptor: Descriptor, what: str) -> Any:
    """An answer of the poller with a descriptor made ready, or not, whatever the system says."""
    number = descriptor.fileno()
    if isinstance(reactor, selectreactor.SelectReactor):
        readable, writable, exceptional = answer
        readable = [found for found in readable if found is not descriptor]
        return readable + [descriptor] * (what == "read"), writable, exceptional
    if hasattr(reactor, "_poller"):
        others = [found for found in answer if found[0] != number]
        return others + [(number, 1)] * (what == "read")
    return [found for found in answer if found.ident != number]


def places(descriptor: Any) -> dict[str, bool]:
    """Where a descriptor is told of."""
    number = descriptor.fileno()
    named = descriptor if isinstance(reactor, selectreactor.SelectReactor) else number
    found = {"reads": named in reactor._reads, "writes": named in reactor._writes}
    if hasattr(reactor, "_selectables"):
        found["selectables"] = reactor._selectables.get(number) is descriptor
    if hasattr(reactor, "_continuousPolling"):
        polling = reactor._continuousPolling
        found["refused to read"] = polling.isReading(descriptor)
        found["refused to write"] = polling.isWriting(descriptor)
        found["among the refused"] = descriptor in polling.getReaders() + polling.getWriters()
    return found


def record_places(label: str, descriptor: Any) -> None:
    scenario.record(label, [[name, found] for name, found in places(descriptor).items()])


def record_kinds() -> None:
    """Of which of Twisted's classes the reactor is one, and the types of its attributes."""
    for module, name in (
        (epollreactor, "EPollReactor"),
        (pollreactor, "PollReactor"),
        (selectreactor, "SelectReactor"),
        (asyncioreactor, "AsyncioSelectorReactor"),
    ):
        scenario.record("is a", name, isinstance(reactor, getattr(module, name)))
    for name in ("_reads", "_writes", "_selectables"):
        value = getattr(reactor, name, None)
        scenario.record(name, isinstance(value, set), isinstance(value, dict))
    for name in (
        *("_poller", "_kq", "_impl", "_continuousPolling", "_add", "_remove", "_dictRemove"),
        *("_updateRegistration", "_doReadOrWrite", "_doWriteOrRead", "_preenDescriptors"),
        *("doPoll", "doSelect", "doKEvent", "doIteration", "_POLL_IN", "_POLL_OUT"),
    ):
        scenario.record("has", name, hasattr(reactor, name))


def show_where_descriptors_are() -> None:
    record_places("the waker", reactor.waker)
    descriptor = Descriptor()
    for change in ("addReader", "addWriter", "removeReader", "removeWriter"):
        getattr(reactor, change)(descriptor)
        record_places(change, descriptor)
    descriptor.close()


def show_a_regular_file() -> None:
    with tempfile.TemporaryFile() as file:
        descriptor = FileDescriptor(reactor)
        descriptor.fileno = file.fileno
        reactor.addReader(descriptor)
        record_places("a file", descriptor)
        reactor.addWriter(descriptor)
        record_places("a file for both", descriptor)
        scenario.record("is a reader", descriptor in reactor.getReaders())
        reactor.removeReader(descriptor)
        record_places("a file to write", descriptor)
        removed = reactor.removeAll()
        scenario.record("is removed with all", descriptor in removed)
        record_places("no file", descriptor)


def call_private_methods() -> None:
    """The helpers that a subclass of Twisted's reactor may call."""
    descriptor = Descriptor()
    if hasattr(reactor, "_add"):
        state = (reactor._reads, reactor._writes, reactor._selectables)
        masks = (epollreactor.EPOLLIN, epollreactor.EPOLLOUT)
        reactor._add(descriptor, *state, *masks)
        record_places("_add", descriptor)
        state = (reactor._reads, reactor._writes, reactor._selectables)
        reactor._remove(descriptor, *state, *masks)
        record_places("_remove", descriptor)
    if hasattr(reactor, "_dictRemove"):
        for add, attribute in (("addReader", "_reads"), ("addWriter", "_writes")):
            reactor.addReader(descriptor)
            getattr(reactor, add)(descriptor)
            reactor._updateRegistration(descriptor.fileno())
            record_places(add, descriptor)
            reactor._dictRemove(descriptor, getattr(reactor, attribute))
            record_places("_dictRemove", descriptor)
    if hasattr(reactor, "_doReadOrWrite") and hasattr(reactor, "_poller"):
        descriptor.far.send(b"x")
        reactor._doReadOrWrite(descriptor, descriptor.fileno(), reactor._POLL_IN)
        reactor.addReader(descriptor)
        reactor._doReadOrWrite(descriptor, descriptor.fileno(), reactor._POLL_DISCONNECTED)
    scenario.record("was told", descriptor.told)
    descriptor.close()


async def wait_through_a_wrapper() -> None:
    descriptor = Descriptor()
    with standing_between() as between:
        await scenario.sleep(0.01)
        scenario.record("is asked", len(between.arguments) > 0)
        between.arguments.clear()
        reactor.addReader(descriptor)
        descriptor.far.send(b"x")
        scenario.record("is served", await scenario.until(lambda: descriptor.told))
        server = Recorder(scenario)
        port = scenario.listen(factory_of(lambda: server))
        peer = connect(port)
        peer.send(b"0123456789")
        peer.close()
        await scenario.until(lambda: server.reason)
        await scenario.stop(port)
        between.arguments.clear()
        reactor.callFromThread(scenario.record, "a call from a thread is made")
        await scenario.sleep(0.05)
        timeouts = [timeout_of(arguments) for arguments in between.arguments]
        scenario.record("waits as long as it may", min(timeouts) >= 0, max(timeouts) <= 0.051)
    asked = len(between.arguments)
    await scenario.sleep(0.01)
    scenario.record("is asked no more", len(between.arguments) == asked)
    descriptor.close()


def timeout_of(arguments: tuple[Any, ...]) -> float:
    """The seconds that a wait was asked for."""
    if isinstance(reactor, selectreactor.SelectReactor):
        timeout = arguments[3]
    else:
        timeout = arguments[0] if hasattr(reactor, "_poller") else arguments[2]
    if timeout is None or timeout < 0:
        return 1e9
    return timeout / 1000 if MILLISECONDS else timeout


async def dispatch_what_a_wrapper_answers() -> None:
    descriptor = Descriptor()
    reactor.addReader(descriptor)
    with standing_between() as between:
        between.change = lambda answer: ready(answer, descriptor, "nothing")
        descriptor.far.send(b"x")
        await scenario.sleep(0.02)
        scenario.record("hidden", descriptor.told)
        if not hasattr(reactor, "_kq"):
            descriptor.near.recv(100)
            between.change = lambda answer: ready(answer, descriptor, "read")
            await scenario.until(lambda: descriptor.told)
            scenario.record("invented", descriptor.told[:2])
    descriptor.close()


async def refuse_in_a_wrapper() -> None:
    with standing_between() as between:
        between.refusals.append(InterruptedError(errno.EINTR, os.strerror(errno.EINTR)))
        await scenario.sleep(0.01)
        scenario.record("goes on after a signal")
        between.refusals.append(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)))
        await scenario.sleep(0.01)
        scenario.record("goes on after a failure")


async def main(scenario: Scenario) -> None:
    record_kinds()
    show_where_descriptors_are()
    show_a_regular_file()
    call_private_methods()
    await wait_through_a_wrapper()
    await dispatch_what_a_wrapper_answers()
    await refuse_in_a_wrapper()


scenario.run(main)
