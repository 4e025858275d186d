"""What is done with a child between its birth and its end, and how that comes."""

import os
import signal

from children import Child, Quiet, ended, environment, shell, spawn
from scenario import Scenario
from twisted.internet import process

LARGE = 3_000_000


class Raising(Child):
    def connectionMade(self):
        super().connectionMade()
        raise ValueError("connectionMade")

    def childConnectionLost(self, number):
        super().childConnectionLost(number)
        raise ValueError("childConnectionLost")

    def processExited(self, reason):
        super().processExited(reason)
        raise ValueError("processExited")

    def processEnded(self, reason):
        super().processEnded(reason)
        raise ValueError("processEnded")


class RaisingOnData(Child):
    def childDataReceived(self, number, data):
        super().childDataReceived(number, data)
        raise ValueError("childDataReceived")


class Producer:
    """Gives LARGE bytes, whether it is asked for each or stopped and resumed."""

    def __init__(self, child, streaming):
        self.child, self.streaming = child, streaming
        self.sent = self.pauses = self.resumes = 0
        self.paused = False
        child.transport.registerProducer(self, streaming)
        if streaming:
            self.resumeProducing()

    def resumeProducing(self):
        self.resumes += 1
        self.paused = False
        while not self.paused:
            if self.sent >= LARGE:
                self.child.transport.unregisterProducer()
                self.child.transport.closeStdin()
                return
            self.sent += 10_000
            self.child.transport.write(b"x" * 10_000)
            if not self.streaming:
                return

    def pauseProducing(self):
        self.pauses += 1
        self.paused = True

    def stopProducing(self):
        self.child.scenario.record(self.child.label, "stopProducing")


async def data(scenario):
    """In, out, and both closed."""
    child = spawn(scenario, "cat", "cat", ["cat"], environment())
    child.transport.write(b"one ")
    child.transport.writeSequence([b"two ", b"", b"three"])
    child.transport.writeToChild(0, b" four")
    scenario.attempt("text", child.transport.write, "text")
    scenario.attempt("unknown", child.transport.writeToChild, 9, b"x")
    scenario.attempt("unknown", child.transport.closeChildFD, 9)
    scenario.attempt("getHost", child.transport.getHost)
    scenario.attempt("getPeer", child.transport.getPeer)
    child.transport.closeStdin()
    await ended(scenario, child)
    scenario.attempt("late write", child.transport.write, b"x")
    scenario.attempt("late close", child.transport.loseConnection)

    for streaming in (False, True):
        child = spawn(scenario, f"producer {streaming}", "cat", ["cat"], environment())
        producer = Producer(child, streaming)
        await ended(scenario, child)
        scenario.record("pauses", producer.pauses > 0, producer.resumes > 1, producer.sent)

    # The child's end tells an idle writer, and a busy one.
    for label, written in (("idle", b""), ("busy", b"x" * LARGE)):
        child = spawn(
            scenario,
            f"stdin closed, {label}",
            *shell("exec <&-; read x <&2"),
            {},
            childFDs={0: "w", 2: "w"},
        )
        if written:
            child.transport.write(written)
        await scenario.until(lambda c=child: c.lost)
        scenario.record("lost", child.lost)
        child.transport.closeChildFD(2)
        await ended(scenario, child)

    child = spawn(scenario, "large", "head", ["head", "-c", str(LARGE), "/dev/zero"], environment())
    child.transport.pauseProducing()
    await scenario.sleep(0.05)
    scenario.record("paused", child.written)
    child.transport.resumeProducing()
    await ended(scenario, child)

    child = spawn(scenario, "readers closed", *shell("read x; echo written; exit 4"), {})
    child.transport.closeStdout()
    child.transport.closeStderr()
    await scenario.until(lambda: len(child.lost) == 2)
    child.transport.write(b"go\n")
    await ended(scenario, child)


async def ends(scenario):
    """Codes, signals, and pipes that outlive the child."""
    for code in (0, 1, 255):
        await ended(scenario, spawn(scenario, f"exit {code}", *shell(f"exit {code}"), {}))
    for name in ("HUP", "INT", "TERM", "KILL", signal.SIGUSR1, int(signal.SIGABRT)):
        child = spawn(scenario, f"signal {name}", "cat", ["cat"], environment())
        child.transport.signalProcess(name)
        await ended(scenario, child)
        scenario.attempt("too late", child.transport.signalProcess, name)
    child = spawn(scenario, "odd signals", "cat", ["cat"], environment())
    scenario.attempt("none", child.transport.signalProcess, 0)
    scenario.attempt("unknown", child.transport.signalProcess, 999)
    scenario.attempt("a word", child.transport.signalProcess, "SOON")
    child.transport.signalProcess("STOP")
    child.transport.closeStdin()
    child.transport.signalProcess(signal.SIGCONT)
    await ended(scenario, child)

    child = spawn(
        scenario, "grandchild", *shell("cat <&3 & exit 6"), environment(), childFDs={1: "r", 3: "w"}
    )
    await scenario.until(lambda: child.exit_reason)
    scenario.record("exited", child.reason, child.transport.pid, child.lost)
    scenario.attempt("signal", child.transport.signalProcess, "TERM")
    child.transport.writeToChild(3, b"still there")
    child.transport.closeChildFD(3)
    await ended(scenario, child)


async def reaping(scenario):
    """By anybody who asks for it, and inside spawnProcess."""
    read, write = os.pipe()
    child = spawn(scenario, "reaped by hand", *shell("read x; exit 7"), {}, childFDs={0: read})
    handlers = process.reapProcessHandlers
    scenario.record("registered", handlers.get(child.pid) is child.transport)
    process.reapAllProcesses()
    scenario.record("running", handlers.get(child.pid) is child.transport)
    os.close(read)
    os.close(write)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    process.reapAllProcesses()
    scenario.record("at once", child.reason, handlers)
    scenario.attempt("again", process.reapAllProcesses)
    many = [Quiet(scenario, "one of many") for _ in range(20)]
    for child in many:
        spawn(scenario, "", *shell("exit 8"), {}, protocol=child)
    for child in many:
        if child.transport.pid is not None:
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    for child in many:
        await ended(scenario, child)
    scenario.record("left", handlers, [child.reason.value.exitCode for child in many])


async def callbacks(scenario):
    """What callbacks raise is logged, and keeps nobody from hearing the rest."""
    child = Raising(scenario, "raising")
    script = shell("exec <&-; read x <&3; exit 9")
    spawn(scenario, "", *script, {}, protocol=child, childFDs={0: "w", 3: "w"})
    await scenario.until(lambda: child.lost)
    child.transport.closeChildFD(3)
    await ended(scenario, child)
    child = Raising(scenario, "raising in a terminal")
    spawn(scenario, "", *shell("exit 9"), {}, protocol=child, usePTY=True)
    await ended(scenario, child)
    child = RaisingOnData(scenario, "raising on data")
    spawn(
        scenario, "", *shell("echo; read x; exit 3"), {}, protocol=child, childFDs={0: "w", 1: "r"}
    )
    await scenario.until(lambda: child.lost)
    child.transport.loseConnection()
    await ended(scenario, child)


async def terminals(scenario):
    child = spawn(
        scenario,
        "terminal",
        *shell("stty raw -echo; echo ready; head -c 5"),
        environment(),
        usePTY=True,
    )
    await scenario.until(lambda: b"ready" in child.written.get(1, b""))
    transport = child.transport
    for name in ("closeStdin", "closeStdout", "closeStderr"):
        scenario.attempt(name, getattr(transport, name))
    scenario.attempt("writeToChild", transport.writeToChild, 0, b"x")
    scenario.attempt("closeChildFD", transport.closeChildFD, 0)
    transport.write(b"hel")
    transport.writeSequence([b"l", b"o"])
    await ended(scenario, child)

    child = spawn(scenario, "hung up", *shell("echo up; exec cat"), environment(), usePTY=True)
    await scenario.until(lambda: child.written)
    child.transport.loseConnection()
    await ended(scenario, child)

    child = spawn(scenario, "removed", *shell("echo up; exec cat"), environment(), usePTY=True)
    await scenario.until(lambda: child.written)
    removed = scenario.reactor.removeAll()
    scenario.record("removed", child.transport in removed, len(removed))
    for reader in removed:
        if reader is not child.transport:
            scenario.reactor.addReader(reader)
    child.transport.startReading()
    child.transport.signalProcess("KILL")
    await ended(scenario, child)


async def main(scenario):
    for part in (data, ends, reaping, callbacks, terminals):
        await part(scenario)


scenario = Scenario()
scenario.run(main)
