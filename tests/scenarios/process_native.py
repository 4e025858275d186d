"""Which class a child is given, by what is asked for and by what is replaced."""

import os
import signal
import sys

from children import Quiet, ended, environment, shell
from scenario import Scenario
from twisted.internet import process

SWITCHED = {"uid": os.getuid(), "gid": os.getgid()}


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


async def spawn(scenario, label, *arguments, **kw):
    child = Quiet(scenario, label)
    transport = scenario.reactor.spawnProcess(child, *arguments, **kw)
    pipes = getattr(transport, "pipes", {}).values()
    modules = sorted({type(pipe).__module__ for pipe in pipes})
    bases = isinstance(transport, (process.Process, process.PTYProcess))
    scenario.record(label, type(transport).__module__, modules, bases)
    await ended(scenario, child)
    scenario.record(label, sorted(child.written.items()))


async def asked(scenario):
    say = shell("echo x")
    await spawn(scenario, "plain", *say)
    await spawn(scenario, "searched", "sh", *say[1:], env=None)
    await spawn(scenario, "there", *say, path="/")
    await spawn(scenario, "mapped", *say, childFDs={1: "r", 2: 1, 5: "w"})
    await spawn(scenario, "terminal", *say, usePTY=True)
    master, slave = os.openpty()
    await spawn(scenario, "given terminal", *say, usePTY=(master, slave, ""))
    if os.getuid() == 0:
        for name, number in SWITCHED.items():
            await spawn(scenario, name, *say, **{name: number})
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    await spawn(scenario, "signals blocked", *say)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    scenario.reactor._neverUseSpawn = True
    await spawn(scenario, "_neverUseSpawn", *say)
    del scenario.reactor._neverUseSpawn


async def replaced(scenario):
    say = shell("echo x")
    for name in ("os", "fcntl", "sys", "fdesc", "pty", "signal"):
        with Replaced(process, name, Stand(getattr(process, name))):
            await spawn(scenario, f"process.{name}", *say)
    for name in ("processReaderFactory", "processWriterFactory"):
        before = vars(process.Process)[name]
        own = type("Own", (before,), {"__module__": "own"})
        with Replaced(process.Process, name, own):
            await spawn(scenario, name, *say)
    with Replaced(process, "Process", OwnProcess):
        await spawn(scenario, "process.Process", *say)
    own = type("OwnPTY", (process.PTYProcess,), {"__module__": "own"})
    with Replaced(process, "PTYProcess", own):
        await spawn(scenario, "process.PTYProcess", *say, usePTY=True)
    spawnp = os.posix_spawnp
    with Replaced(os, "posix_spawnp", lambda *args, **kw: spawnp(*args, **kw)):
        await spawn(scenario, "os.posix_spawnp", *say)
    waitpid = os.waitpid
    with Replaced(os, "waitpid", lambda *args: waitpid(*args)):
        await spawn(scenario, "os.waitpid", *say)

    # A program that makes its processes itself, as buildbot does.
    child = Quiet(scenario, "own")
    OwnProcess(scenario.reactor, *say, environment(), None, child)
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
    await asked(scenario)
    await replaced(scenario)
    await moved(scenario)


scenario = Scenario()
scenario.run(main)
