"""Programs that everybody has, as children: filters of a hundred megabytes, and terminals.

The arguments name what is run.
"""

import hashlib
import os
import random

import scenario as scenarios
from children import Child, environment, shell, spawn
from scenario import Scenario

#: Of a filter's input, in bytes.
SIZE = 100_000_000

#: Of one line, in bytes.
LINE = 100

# A slow machine takes its time for these.
scenarios.TIME_LIMIT = 85


class Filter(Child):
    """Keeps of its output what it was, and hands it on if somebody wants it."""

    def __init__(self, scenario, label):
        super().__init__(scenario, label)
        self.digest, self.count = hashlib.sha256(), 0
        self.then = None

    def outReceived(self, data):
        self.digest.update(data)
        self.count += len(data)
        if self.then is not None:
            self.then.write(data)

    def childDataReceived(self, number, data):
        if number == 1:
            self.outReceived(data)
        else:
            super().childDataReceived(number, data)


class Supply:
    """Gives pieces to a child at its pace, and closes its input behind them."""

    def __init__(self, child, pieces):
        self.transport, self.pieces = child.transport, iter(pieces)
        child.transport.registerProducer(self, False)

    def resumeProducing(self):
        piece = next(self.pieces, None)
        if piece is None:
            self.transport.unregisterProducer()
            self.transport.closeStdin()
        else:
            self.transport.write(piece)

    def stopProducing(self):
        pass


def lines(order):
    """All lines in an order, a thousand in a piece."""
    piece = []
    for number in order:
        piece.append(b"%0*d\n" % (LINE - 1, number))
        if len(piece) == 1000:
            yield b"".join(piece)
            piece.clear()


def shuffled():
    order = list(range(SIZE // LINE))
    random.Random(7).shuffle(order)
    return order


def digest_of(pieces):
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def start(scenario, label, command, **kw):
    child = Filter(scenario, label)
    variables = {**environment(), "LC_ALL": "C", "TERM": "dumb"}
    return spawn(scenario, label, command[0], command, variables, protocol=child, **kw)


async def ended(scenario, child, *what):
    """Wait for the end, and record if the output was what it should be."""
    await scenario.until(lambda: child.reason is not None, scenarios.TIME_LIMIT)
    if what:
        scenario.record(child.label, child.count, child.digest.hexdigest() == what[0])


async def cat(scenario):
    block = random.Random(8).randbytes(SIZE // 1000)
    child = start(scenario, "cat", ["cat"])
    Supply(child, [block] * 1000)
    await ended(scenario, child, digest_of([block] * 1000))


async def sort(scenario):
    child = start(scenario, "sort", ["sort"])
    Supply(child, lines(shuffled()))
    await ended(scenario, child, digest_of(lines(range(SIZE // LINE))))


async def openssl(scenario):
    """Encrypted by one and decrypted by another, each at the other's pace."""
    block = random.Random(9).randbytes(SIZE // 1000)
    options = ["enc", "-aes-128-ctr", "-pbkdf2", "-iter", "1", "-pass", "pass:rope"]
    first = start(scenario, "encrypts", ["openssl", *options])
    second = start(scenario, "decrypts", ["openssl", *options, "-d"])
    first.then = second.transport
    second.transport.registerProducer(first.transport, True)
    Supply(first, [block] * 1000)
    await ended(scenario, first)
    second.transport.unregisterProducer()
    second.transport.closeStdin()
    await ended(scenario, second, digest_of([block] * 1000))
    scenario.record("changed", first.digest.hexdigest() != second.digest.hexdigest())


async def terminals(scenario):
    """What programs make of the terminal that they are given, and of one within it."""
    import fcntl
    import struct
    import termios

    from twisted.internet import fdesc

    for rows, columns in ((24, 80), (33, 101)):
        master, slave = os.openpty()
        fdesc.setNonBlocking(master)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
        name = os.ttyname(slave)
        child = spawn(
            scenario,
            f"stty {rows} {columns}",
            *shell("stty size; stty -a; tty"),
            {**environment(), "LC_ALL": "C"},
            usePTY=(master, slave, name),
        )
        await ended(scenario, child)

    child = spawn(
        scenario,
        "script",
        "script",
        ["script", "-qec", 'stty size; read line; echo "<$line>"; exit 5', "/dev/null"],
        {**environment(), "SHELL": "/bin/sh"},
        usePTY=True,
    )
    await scenario.until(lambda: b"0 0" in child.written.get(1, b""), 60)
    child.transport.write(b"rope\r")
    await ended(scenario, child)

    child = spawn(
        scenario,
        "window",
        *shell("trap 'stty size; exit 6' WINCH; echo ready; while :; do sleep 0.01; done"),
        environment(),
        usePTY=True,
    )
    await scenario.until(lambda: b"ready" in child.written.get(1, b""), 60)
    size = struct.pack("4H", 19, 71, 0, 0)
    fcntl.ioctl(child.transport.fileno(), termios.TIOCSWINSZ, size)
    await ended(scenario, child)


scenario = Scenario()
parts = {part.__name__: part for part in (cat, sort, openssl, terminals)}
scenario.run(parts[scenario.arguments[0]])
