"""Which class a child is given, by what is asked for and what is replaced, and what is logged."""

import os
import signal
import sys
from types import MappingProxyType, SimpleNamespace

from children import Quiet, ended, environment, shell
from scenario import Scenario
from twisted.internet import _baseprocess, process
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python import util

SWITCHED = {"uid": os.getuid(), "gid": os.getgid()}
SAY = shell("echo x")

#: What was logged for debugging, by the label of the spawn.
lines = {}
label_now = ""


def observe(event):
    if event["log_namespace"] == "ropewalk.process":
        lines.setdefault(label_now, []).append(formatEvent(event))


class Replaced:
    """What stands in the place of an attribute, while it does."""

    def __init__(self, owner, name, value):
        self.owner, self.name, self.value = owner, name, value

    def __enter__(self):
        self.before = vars(self.owner)[self.name]
        setattr(self.owner, self.name, self.value)

    def __exit__(self, *_):
        setattr(self.owner, self.name, self.before)


class Stand:
    """A module, for those who think that it is another."""

    def __init__(self, module):
        self.__dict__.update(vars(module))


class OwnReader(process.ProcessReader):
    pass


class OwnProcess(process.Process):
    pass


async def spawn(scenario, label, *arguments, protocol=True, **kw):
    global label_now
    label_now = label
    child = Quiet(scenario, label) if protocol else None
    try:
        transport = scenario.reactor.spawnProcess(child, *arguments, **kw)
    except Exception as error:
        scenario.record(label, "raises", type(error).__name__)
        return
    pipes = getattr(transport, "pipes", {}).values()
    modules = sorted({type(pipe).__module__ for pipe in pipes})
    bases = isinstance(transport, (process.Process, process.PTYProcess))
    scenario.record(label, type(transport).__module__, modules, bases)
    if child is None:
        await scenario.until(lambda: transport.pid is None)
        return
    await ended(scenario, child)
    # What Twisted's class says of an error is in another scenario.
    written = sorted(child.written.items())
    scenario.record(label, written if child.reason.value.exitCode == 0 else None)


async def asked(scenario):
    await spawn(scenario, "plain", *SAY)
    await spawn(scenario, "searched", "sh", *SAY[1:], env=None)
    await spawn(scenario, "there", *SAY, path="/")
    await spawn(scenario, "mapped", *SAY, childFDs={1: "r", 2: 1, 5: "w"})
    await spawn(scenario, "no protocol", *SAY, childFDs={}, protocol=False)
    await spawn(scenario, "terminal", *SAY, usePTY=True)
    master, slave = os.openpty()
    await spawn(scenario, "given terminal", *SAY, usePTY=(master, slave, ""))
    await spawn(scenario, "other mapping", *SAY, env=MappingProxyType({"A": "B"}))
    await spawn(scenario, "bytes", os.fsencode(SAY[0]), [*map(os.fsencode, SAY[1])], {b"A": b"B"})
    if os.getuid() == 0:
        await spawn(scenario, "user", *SAY, uid=1)
        await spawn(scenario, "group", *SAY, uid=1, gid=1, path="/")
        await spawn(scenario, "user in a terminal", *SAY, uid=1, usePTY=True)
        await users(scenario)


async def users(scenario):
    """Of which only Twisted's class makes a child."""
    for name, number in SWITCHED.items():
        await spawn(scenario, name, *SAY, **{name: number})
    await spawn(scenario, "no number", *SAY, uid="daemon")
    await spawn(scenario, "no user", *SAY, uid=-1)
    await spawn(scenario, "unknown user", *SAY, uid=3_999_999)
    platform = sys.platform
    sys.platform = "darwin"
    await spawn(scenario, "Mac", *SAY, uid=1)
    sys.platform = platform
    os.setresuid(1, 1, 0)
    await spawn(scenario, "not root", *SAY, uid=1)
    os.setresuid(0, 0, 0)


async def refused(scenario):
    """What is not plain, an error mostly."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    await spawn(scenario, "signals blocked", *SAY)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    scenario.reactor._neverUseSpawn = True
    await spawn(scenario, "_neverUseSpawn", *SAY)
    del scenario.reactor._neverUseSpawn
    native = sys.modules.get("ropewalk._ropewalk", SimpleNamespace(can_watch_children=None))
    with Replaced(native, "can_watch_children", lambda: False):
        await spawn(scenario, "unwatchable", *SAY)

    await spawn(scenario, "no arguments", SAY[0], [])
    await spawn(scenario, "an empty one", SAY[0], ["", "-c", "echo x"])
    await spawn(scenario, "an iterator", SAY[0], iter(SAY[1]))
    await spawn(scenario, "other childFDs", *SAY, childFDs=MappingProxyType({1: "r"}))
    await spawn(scenario, "below zero", *SAY, childFDs={-1: "r"})
    await spawn(scenario, "a truth", *SAY, childFDs={True: "r"})
    await spawn(scenario, "a word", *SAY, childFDs={1: "x"})
    await spawn(scenario, "nobody to tell", *SAY, childFDs={1: "r"}, protocol=False)
    await spawn(scenario, "closed", *SAY, childFDs={0: 987})
    await spawn(scenario, "no program", "/nonexistent", ["x"])
    await spawn(scenario, "no place", *SAY, path="/nonexistent")
    await spawn(scenario, "no executable", None, SAY[1])
    await spawn(scenario, "a number", SAY[0], ["sh", 1])
    await spawn(scenario, "zero byte", SAY[0], ["sh", "-c", "\0"])
    await spawn(scenario, "surrogate", SAY[0], ["sh", "-c", "\ud800"])
    await spawn(scenario, "no environment", *SAY, env=["A=B"])
    await spawn(scenario, "no value", *SAY, env={"A": None})
    await spawn(scenario, "no name", *SAY, env={"A=B": "C"})


async def wrapped(scenario, owner, name):
    """A spawn while a function stands in another's place, and calls it."""
    original = vars(owner)[name]
    with Replaced(owner, name, lambda *args, **kw: original(*args, **kw)):
        await spawn(scenario, f"{owner.__name__}.{name}", *SAY)


async def replaced(scenario):
    for name in ("os", "fcntl", "sys", "fdesc", "pty", "signal"):
        with Replaced(process, name, Stand(getattr(process, name))):
            await spawn(scenario, f"process.{name}", *SAY)
    for name in ("switchUID", "_listOpenFDs", "_getFileActions", "registerReapProcessHandler"):
        await wrapped(scenario, process, name)
    for name in ("processReaderFactory", "processWriterFactory"):
        before = vars(process.Process)[name]
        own = type("Own", (before,), {"__module__": "own"})
        with Replaced(process.Process, name, own):
            await spawn(scenario, name, *SAY)
    with Replaced(process, "Process", OwnProcess):
        await spawn(scenario, "process.Process", *SAY)
    own = type("OwnPTY", (process.PTYProcess,), {"__module__": "own"})
    with Replaced(process, "PTYProcess", own):
        await spawn(scenario, "process.PTYProcess", *SAY, usePTY=True)
    for name in ("posix_spawnp", "fork", "waitpid", "close", "kill", "setuid", "openpty"):
        await wrapped(scenario, os, name)
    await wrapped(scenario, process.pty, "openpty")
    await wrapped(scenario, util, "initgroups")
    await wrapped(scenario, process.Process, "_setupChild")
    await wrapped(scenario, process.Process, "__init__")
    await wrapped(scenario, process._BaseProcess, "signalProcess")
    await wrapped(scenario, _baseprocess.BaseProcess, "processEnded")
    await wrapped(scenario, process.ProcessReader, "dataReceived")
    process.ProcessWriter.writeSequence = process.abstract.FileDescriptor.writeSequence
    await spawn(scenario, "an addition", *SAY)
    del process.ProcessWriter.writeSequence
    process.Process.__slotnames__ = []
    await spawn(scenario, "put back", *SAY)
    del process.Process.__slotnames__
    await spawn(scenario, "and again", *SAY)

    # A program that makes its processes itself, as buildbot does.
    child = Quiet(scenario, "own")
    OwnProcess(scenario.reactor, *SAY, environment(), None, child)
    await ended(scenario, child)
    scenario.record("own", sorted(child.written.items()))


async def moved(scenario):
    """Counts the Python functions that run while data goes in and out."""
    child = Quiet(scenario, "moved")
    scenario.reactor.spawnProcess(child, "cat", ["cat"], env=None)
    calls = []

    def profile(frame, event, _):
        path = frame.f_code.co_filename
        if event == "call" and path.endswith(("/abstract.py", "/fdesc.py")):
            calls.append(frame.f_code.co_name)

    for number in range(1, 51):
        sys.setprofile(profile)
        child.transport.write(b"x")
        await scenario.until(lambda n=number: len(child.written.get(1, b"")) == n)
        sys.setprofile(None)
    child.transport.closeStdin()
    await ended(scenario, child)
    scenario.record("moved", len(child.written[1]))
    scenario.figures["calls"] = len(calls)


async def main(scenario):
    globalLogPublisher.addObserver(observe)
    await asked(scenario)
    await refused(scenario)
    await replaced(scenario)
    scenario.figures["lines"] = lines
    await moved(scenario)


scenario = Scenario()
scenario.run(main)
