"""Nothing of a child outlives its end, whichever way it comes and whatever a program keeps."""

import contextlib
import gc
import weakref

from children import Quiet, ended, environment, shell
from scenario import Scenario
from twisted.internet import process

KINDS = {
    "pipes": {},
    "nothing": {"childFDs": {}},
    "terminal": {"usePTY": True},
    "elsewhere": {"path": "/"},
}


class Raising(Quiet):
    def connectionMade(self):
        super().connectionMade()
        raise ValueError("connectionMade")

    def childConnectionLost(self, number):
        raise ValueError("childConnectionLost")

    def processExited(self, reason):
        super().processExited(reason)
        raise ValueError("processExited")

    def processEnded(self, reason):
        super().processEnded(reason)
        raise ValueError("processEnded")


class Producer:
    def resumeProducing(self):
        pass

    pauseProducing = stopProducing = resumeProducing


async def exits(scenario, child):
    pass


async def is_killed(scenario, child):
    child.transport.signalProcess("KILL")


async def loses_connection(scenario, child):
    child.transport.loseConnection()
    child.transport.signalProcess("KILL")


async def is_written_to(scenario, child):
    child.transport.write(b"x" * 200_000)
    child.transport.registerProducer(Producer(), True)
    await scenario.sleep(0.01)
    child.transport.signalProcess("KILL")


async def one(scenario, kw, protocol, end):
    """A child from its birth to its end; weak references to its parts, and what a program keeps."""
    script = "exit 3" if end is exits else "read x; sleep 1000"
    child = protocol(scenario, "child")
    transport = scenario.reactor.spawnProcess(child, *shell(script), environment(), **kw)
    parts = {"protocol": child, "transport": transport}
    for number, pipe in getattr(transport, "pipes", {}).items():
        parts[f"pipe {number}"] = pipe
    references = {name: weakref.ref(part) for name, part in parts.items()}
    await end(scenario, child)
    await ended(scenario, child)
    return references, child.reason


async def main(scenario):
    for label, kw in KINDS.items():
        for protocol in (Quiet, Raising):
            for end in (exits, is_killed, loses_connection, is_written_to):
                if end is is_written_to and label == "nothing":
                    continue
                references, _kept = await one(scenario, kw, protocol, end)
                # The stack of the last callback is gone after a turn.
                await scenario.sleep(0)
                gc.collect()
                alive = sorted(name for name, part in references.items() if part() is not None)
                what = f"{label} {protocol.__name__} {end.__name__}"
                scenario.figures[what] = [alive, len(process.reapProcessHandlers)]
    child = Quiet(scenario, "missing")
    reference = weakref.ref(child)
    with contextlib.suppress(FileNotFoundError):
        scenario.reactor.spawnProcess(child, "/nonexistent", ["x"], {})
    del child
    gc.collect()
    alive = [] if reference() is None else ["protocol"]
    scenario.figures["missing"] = [alive, len(process.reapProcessHandlers)]


scenario = Scenario()
scenario.run(main)
