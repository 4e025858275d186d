"""Runs that crash and start again, in one loop; delayed calls and thread calls in between."""

from __future__ import annotations

from asyncio_support import descriptors, install, report

loop = install()

from twisted.internet import reactor  # noqa: E402

made: list[int] = []


def turn(number: int) -> None:
    made.append(number)
    reactor.callFromThread(reactor.crash)


before = 0
for number in range(200):
    reactor.callLater(0, turn, number)
    reactor.run(installSignalHandlers=False)
    if number == 20:
        before = descriptors()
    reactor.iterate(0)
leaked = descriptors() - before
reactor.callWhenRunning(loop.call_soon, reactor.stop)
reactor.run(installSignalHandlers=False)
report(made=made == list(range(200)), leaked=leaked, calls=len(reactor.getDelayedCalls()))
