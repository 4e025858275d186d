"""A parent of child processes on any Twisted reactor.

children_twisted.py REACTOR MODE NUMBER... PROGRAM [ARGUMENT...]

    spawn COUNT PARALLEL MEGABYTES FILES DIRECTORY
    exits LIVE ENDING
    read BYTES
    write BYTES

bench/README.md says what these do.
"""

import json
import os
import resource
import sys
from time import monotonic

from twisted.application.reactors import installReactor

reactor = installReactor(sys.argv[1])

from twisted.internet.error import ProcessDone  # noqa: E402
from twisted.internet.interfaces import IPullProducer  # noqa: E402
from twisted.internet.protocol import ProcessProtocol  # noqa: E402
from zope.interface import implementer  # noqa: E402

# How many children end before those that are measured, and the share of the rest that goes before.
WARM = 10
SETTLED = 20

CHUNK = b"x" * 65536


class Child(ProcessProtocol):
    def __init__(self, parent):
        self.parent = parent

    def processEnded(self, reason):
        if reason.check(ProcessDone):
            self.parent.childEnded()
        else:
            fail(reason.getErrorMessage())


class Talker(Child):
    """A child whose output is counted."""

    received = 0

    def outReceived(self, data):
        self.received += len(data)


@implementer(IPullProducer)
class Listener(Child):
    """A child that is written to."""

    def __init__(self, parent, left):
        self.parent = parent
        self.left = left

    def connectionMade(self):
        self.transport.registerProducer(self, False)

    def resumeProducing(self):
        length = min(len(CHUNK), self.left)
        self.transport.write(CHUNK[:length])
        self.left -= length
        if not self.left:
            self.transport.unregisterProducer()
            self.transport.closeStdin()

    def stopProducing(self):
        pass


class Parent:
    def __init__(self, command, directory=""):
        self.command = command
        self.directory = directory or None
        self.toStart = self.running = self.left = 0
        self.then = None

    def spawn(self, child):
        self.running += 1
        program = self.command[0]
        try:
            # None: this process's environment, as the others have it.
            return reactor.spawnProcess(child, program, self.command, None, self.directory)
        except OSError as error:
            fail(f"no child can be made: {error}")

    def childEnded(self):
        self.running -= 1
        if self.toStart:
            self.toStart -= 1
            self.spawn(Child(self))
        elif self.running == self.left:
            self.then()

    def until(self, left, then):
        """Call ``then`` when no more than so many children run."""
        self.left = left
        self.then = then

    def spawnAll(self, count, parallel, then):
        self.until(0, then)
        atOnce = min(count, parallel)
        self.toStart = count - atOnce
        for _ in range(atOnce):
            self.spawn(Child(self))

    def endEach(self, children, numbers, then):
        """End some of the children one after the other, those of ``numbers`` in an order that is
        none."""
        numbers = iter(numbers)

        def endNext():
            number = next(numbers, None)
            if number is None:
                then()
                return
            self.until(self.running - 1, endNext)
            children[number * 7919 % len(children)].closeStdin()

        endNext()


def spawn(count, parallel, megabytes, files, directory, *command):
    parent = Parent(command, directory)
    count, parallel = int(count), int(parallel)
    parent.memory = b"x" * (int(megabytes) * 1_000_000)
    parent.files = [os.open("/dev/null", os.O_RDONLY) for _ in range(int(files))]

    def measure():
        rendezvous("ready")
        begun = monotonic()
        parent.spawnAll(count, parallel, lambda: finish(begun))

    def finish(begun):
        report("operations", count, begun)
        reactor.stop()

    parent.spawnAll(count // SETTLED + 1, parallel, measure)


def exits(live, ending, *command):
    live, ending = int(live), int(ending)
    parent = Parent(command)
    children = [parent.spawn(Child(parent)) for _ in range(live + WARM)]

    def measure():
        rendezvous("ready")
        begun = monotonic()
        numbers = range(WARM, WARM + ending)
        parent.endEach(children, numbers, lambda: finish(begun))

    def finish(begun):
        report("operations", ending, begun)
        parent.until(0, done)
        for child in children:
            child.closeStdin()
        if not parent.running:
            done()

    def done():
        print("done", flush=True)
        reactor.stop()

    parent.endEach(children, range(WARM), measure)


def moves(start, size, command):
    """Have children move bytes by ``start``, which answers what to ask for their number."""
    size = int(size)

    def run(size, then):
        parent = Parent([*command, str(size)])
        child, moved = start(parent, size)
        parent.until(0, lambda: then(moved()))
        parent.spawn(child)

    def measure(_):
        rendezvous("ready")
        begun = monotonic()
        run(size, lambda moved: finish(moved, begun))

    def finish(moved, begun):
        report("bytes", moved, begun)
        reactor.stop()

    run(size // SETTLED, measure)


def read(size, *command):
    def start(parent, _):
        child = Talker(parent)
        return child, lambda: child.received

    moves(start, size, command)


def write(size, *command):
    def start(parent, size):
        child = Listener(parent, size)
        return child, lambda: size - child.left

    moves(start, size, command)


def rendezvous(line):
    """Say ``line`` and wait to be told to go on."""
    print(line, flush=True)
    sys.stdin.readline()


def report(what, number, begun):
    rendezvous(json.dumps({what: number, "seconds": monotonic() - begun}))


def fail(text):
    print(text, file=sys.stderr, flush=True)
    os._exit(1)


MODES = {"spawn": spawn, "exits": exits, "read": read, "write": write}
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
reactor.callWhenRunning(MODES[sys.argv[2]], *sys.argv[3:])
reactor.run()
