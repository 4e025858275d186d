"""Twisted's table of children with native ones in it, and others: these are reaped on SIGCHLD.

Argument: how many native children live beside the others.
"""

import os
import sys

import scenario as limits
from children import Quiet, ended, shell
from scenario import Scenario
from twisted.internet import process

HANDLERS = process.reapProcessHandlers
WAITING = shell("read x; exit 7")


class OwnProcess(process.Process):
    """A program's own class: nothing but SIGCHLD tells of its end."""


class Stand:
    """What a program registers for a child that it makes itself."""

    def __init__(self, *command):
        self.pid = os.posix_spawn(command[0], command[1], {})
        self.status = None

    def reapProcess(self):
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            process.unregisterReapProcessHandler(pid, self)
            self.processEnded(status)

    def processEnded(self, status):
        self.status = status


def waiting(scenario):
    """A native child that lives until its input is closed."""
    child = Quiet(scenario, "native")
    scenario.reactor.spawnProcess(child, *WAITING, {}, childFDs={0: "w"})
    return child


def other(scenario, label, script="exit 9"):
    child = Quiet(scenario, label)
    OwnProcess(scenario.reactor, *shell(script), {}, None, child, childFDs={})
    return child


async def reaped(scenario, label):
    """One of another class ends, whatever stands in the table."""
    child = other(scenario, label)
    await ended(scenario, child)
    scenario.record(label, child.reason)


async def beside(scenario, native):
    await reaped(scenario, "beside native ones")
    await reaped(scenario, "and another")
    stand = Stand(*shell("exit 5"))
    process.registerReapProcessHandler(stand.pid, stand)
    await scenario.until(lambda: stand.status is not None)
    scenario.record("registered by hand", stand.status)
    lasting = other(scenario, "lasting", "sleep 1000")
    await close(scenario, native.pop())
    await reaped(scenario, "beside one that lasts")
    lasting.transport.signalProcess("KILL")
    await ended(scenario, lasting)
    scenario.record("lasting", lasting.reason)


async def exchanged(scenario, native):
    """One that stands in for a native child that was taken out by hand."""
    for label in ("newest", "oldest"):
        await close(scenario, native.pop())
        taken = native[-1 if label == "newest" else 0]
        process.unregisterReapProcessHandler(taken.pid, taken.transport)
        await reaped(scenario, f"for the {label}")
        scenario.record(label, taken.reason)
        # So that the last look finds watched ones alone.
        await close(scenario, native.pop(1))
        child = other(scenario, label)
        # Behind it in the table come some that are watched.
        native += [waiting(scenario) for _ in range(3)]
        await ended(scenario, child)
        scenario.record(label, child.reason)
        HANDLERS[taken.pid] = taken.transport
    child = other(scenario, "put back")
    process.unregisterReapProcessHandler(taken.pid, taken.transport)
    HANDLERS[taken.pid] = taken.transport
    await ended(scenario, child)
    scenario.record("behind which one is put back", child.reason)
    lasting = other(scenario, "before", "sleep 1000")
    native.append(waiting(scenario))
    await close(scenario, native.pop(3))
    taken = native[2]
    process.unregisterReapProcessHandler(taken.pid, taken.transport)
    lasting.transport.signalProcess("KILL")
    await ended(scenario, lasting)
    scenario.record("known before", lasting.reason)
    HANDLERS[taken.pid] = taken.transport


async def emptied(scenario, native):
    """The table was cleared: the native ones are heard of all the same."""
    before = dict(HANDLERS)
    HANDLERS.clear()
    await reaped(scenario, "alone")
    more = [waiting(scenario) for _ in range(3)]
    await reaped(scenario, "beside new ones")
    HANDLERS.update(before)
    await reaped(scenario, "filled again")
    for child in more:
        await close(scenario, child)


async def close(scenario, child):
    child.transport.closeStdin()
    await ended(scenario, child)


async def looks(scenario, native, label):
    """How many entries of the table are looked at while native children end one by one."""
    for child in [waiting(scenario), waiting(scenario)]:
        await close(scenario, child)
    calls = []

    def profile(frame, event, _):
        if event == "call" and frame.f_code.co_name in ("_watches", "reapProcess"):
            calls.append(frame)

    sys.setprofile(profile)
    for _ in range(20):
        await close(scenario, native.pop(0))
    sys.setprofile(None)
    scenario.figures[label] = len(calls)


async def main(scenario):
    native = [waiting(scenario) for _ in range(int(scenario.arguments[0]))]
    await looks(scenario, native, "looks")
    lasting = other(scenario, "lasting", "sleep 1000")
    await looks(scenario, native, "looks beside another")
    lasting.transport.signalProcess("KILL")
    await ended(scenario, lasting)
    await beside(scenario, native)
    await exchanged(scenario, native)
    await emptied(scenario, native)
    for child in native:
        child.transport.closeStdin()
    await scenario.until(lambda: all(child.reason for child in native))
    scenario.record("ended", {child.reason.value.exitCode for child in native} == {7})
    scenario.record("left", len(HANDLERS))


limits.TIME_LIMIT = 85
scenario = Scenario()
scenario.run(main)
