"""Many children: each made in the last one's end, all killed at once, and asked for by threads.

Arguments: how many there are of each.
"""

import os
import signal

import scenario as limits
from children import Quiet, environment, shell
from scenario import Scenario
from twisted.internet import process
from twisted.internet.threads import deferToThread


class Next(Quiet):
    """Makes its successor in its own end."""

    left = 0

    def processEnded(self, reason):
        super().processEnded(reason)
        assert self.written == {1: b"x\n"}, self.written
        Next.left -= 1
        if Next.left:
            self.scenario.reactor.spawnProcess(Next(self.scenario, ""), *SAY, {}, childFDs=OUTPUT)


SAY = shell("echo x")
OUTPUT = {1: "r"}


async def chain(scenario, number):
    Next.left = number
    scenario.reactor.spawnProcess(Next(scenario, ""), *SAY, {}, childFDs=OUTPUT)
    scenario.record("chain", await scenario.until(lambda: not Next.left, 80.0))
    scenario.record("left", Next.left, len(process.reapProcessHandlers))


async def storm(scenario, number):
    """Each is signalled again and again, some by others, until all are dead."""
    children = [Quiet(scenario, "child") for _ in range(number)]
    for child in children:
        scenario.reactor.spawnProcess(child, "/bin/sleep", ["sleep", "1000"], environment())
    for _ in range(20):
        for child in children:
            child.transport.signalProcess("STOP")
            child.transport.signalProcess(signal.SIGCONT)
            child.transport.signalProcess(signal.SIGWINCH)
    for child in children[::2]:
        child.transport.signalProcess("KILL")
        child.transport.signalProcess("KILL")
    for child in children[1::2]:
        os.kill(child.pid, signal.SIGKILL)
    await scenario.until(lambda: all(child.reason for child in children), 30)
    reasons = {child.reason.value.signal for child in children}
    scenario.record("storm", reasons == {signal.SIGKILL}, len(process.reapProcessHandlers))


async def from_threads(scenario, number):
    """spawnProcess is called for by threads, while children end."""
    children = []

    def spawn():
        child = Quiet(scenario, "child")
        children.append(child)
        scenario.reactor.spawnProcess(child, *shell("cat; exit 5"), environment())
        child.transport.write(b"from a thread")
        child.transport.closeStdin()

    def call():
        for _ in range(number):
            scenario.reactor.callFromThread(spawn)

    await deferToThread(call)
    await scenario.until(lambda: sum(child.reason is not None for child in children) == number, 30)
    found = {(child.written[1], child.reason.value.exitCode) for child in children}
    scenario.record("from threads", sorted(found), len(process.reapProcessHandlers))


async def main(scenario):
    in_chain, at_once, by_threads = map(int, scenario.arguments)
    await chain(scenario, in_chain)
    await storm(scenario, at_once)
    await from_threads(scenario, by_threads)


limits.TIME_LIMIT = 85
scenario = Scenario()
scenario.run(main)
