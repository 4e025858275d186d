"""Reactors in threads of their own, with children of their own, at the same time.

Arguments: how many reactors, and how many children each.
"""

import threading

from children import Quiet, environment, shell
from scenario import Scenario
from twisted.internet import process
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import blockingCallFromThread


class Told(Quiet):
    """Tells of its end, and in which threads it was called."""

    def __init__(self, scenario):
        super().__init__(scenario, "child")
        self.ended = Deferred()
        self.threads = set()

    def connectionMade(self):
        super().connectionMade()
        self.threads.add(threading.get_ident())

    def childDataReceived(self, number, data):
        super().childDataReceived(number, data)
        self.threads.add(threading.get_ident())

    def processEnded(self, reason):
        super().processEnded(reason)
        self.threads.add(threading.get_ident())
        self.ended.callback(None)


class Running:
    """A reactor that runs in a thread of its own."""

    def __init__(self, reactor):
        self.reactor = reactor
        self.children = []
        started = threading.Event()
        reactor.callWhenRunning(started.set)
        self.thread = threading.Thread(target=reactor.run, kwargs={"installSignalHandlers": False})
        self.thread.start()
        assert started.wait(10)

    def spawn(self, number):
        """Children that end by themselves; fires when all have."""
        for _ in range(number):
            child = Told(scenario)
            self.children.append(child)
            script = "cat; exit 4"
            # Of every second, nothing but its end tells.
            if number % 2:
                self.reactor.spawnProcess(child, *shell(script), environment())
                child.transport.write(b"data")
                child.transport.closeStdin()
            else:
                self.reactor.spawnProcess(child, *shell("exit 4"), {}, childFDs={})
        return gatherResults([child.ended for child in self.children])

    def stop(self):
        self.reactor.callFromThread(self.reactor.stop)
        self.thread.join(20)


def drive(running, number):
    for count in (number, 1, number + 1):
        blockingCallFromThread(running.reactor, running.spawn, count)


scenario = Scenario()
reactors, number = map(int, scenario.arguments)
running = [Running(scenario.reactor)]
running += [Running(type(scenario.reactor)()) for _ in range(reactors - 1)]
drivers = [threading.Thread(target=drive, args=(each, number)) for each in running]
for driver in drivers:
    driver.start()
for driver in drivers:
    driver.join(60)
for each in running:
    codes = {child.reason.value.exitCode for child in each.children if child.reason}
    threads = set().union(*(child.threads for child in each.children))
    scenario.record(len(each.children), sorted(codes), threads == {each.thread.ident})
    each.stop()
scenario.record("left", len(process.reapProcessHandlers))
scenario.finish()
