"""A parent of child processes with asyncio's protocols, without Twisted.

children_uvloop.py LOOP MODE NUMBER... PROGRAM [ARGUMENT...]

    spawn COUNT PARALLEL MEGABYTES FILES DIRECTORY
    exits LIVE ENDING
    read BYTES
    write BYTES

LOOP is uvloop or asyncio. bench/README.md says what the modes do.
"""

import asyncio
import json
import os
import resource
import sys
from time import monotonic

# How many children end before those that are measured, and the share of the rest that goes before.
WARM = 10
SETTLED = 20

CHUNK = b"x" * 65536


class Child(asyncio.SubprocessProtocol):
    def __init__(self, parent):
        self.parent = parent

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, exc):
        code = self.transport.get_returncode()
        if code:
            fail(f"a child ended with {code}")
        self.parent.child_ended()


class Talker(Child):
    """A child whose output is counted."""

    received = 0

    def pipe_data_received(self, fd, data):
        self.received += len(data)


class Listener(Child):
    """A child that is written to."""

    def __init__(self, parent, left):
        super().__init__(parent)
        self.left = left
        self.paused = False

    def connection_made(self, transport):
        super().connection_made(transport)
        self.pipe = transport.get_pipe_transport(0)
        # As Twisted's pull producers: the next chunk when the one before is sent.
        self.pipe.set_write_buffer_limits(high=0)
        self.resume_writing()

    def pause_writing(self):
        self.paused = True

    def resume_writing(self):
        self.paused = False
        length = min(len(CHUNK), self.left)
        self.pipe.write(CHUNK[:length])
        self.left -= length
        if not self.left:
            self.pipe.close()
        elif not self.paused:
            # A chunk that goes out at once does not pause: then give others a turn.
            loop.call_soon(self.resume_writing)


class Parent:
    def __init__(self, command, directory=""):
        self.command = command
        self.directory = directory or None
        self.to_start = self.running = self.left = 0
        self.then = None
        self.tasks = set()

    def spawn(self, child):
        self.running += 1
        spawning = loop.subprocess_exec(lambda: child, *self.command, cwd=self.directory)
        task = loop.create_task(spawning)
        self.tasks.add(task)
        task.add_done_callback(self.spawned)
        return task

    def spawned(self, task):
        self.tasks.discard(task)
        if task.exception() is not None:
            fail(f"no child can be made: {task.exception()}")

    def child_ended(self):
        self.running -= 1
        if self.to_start:
            self.to_start -= 1
            self.spawn(Child(self))
        elif self.running == self.left:
            self.then()

    def until(self, left, then):
        """Call ``then`` when no more than so many children run."""
        self.left = left
        self.then = then

    def spawn_all(self, count, parallel, then):
        self.until(0, then)
        at_once = min(count, parallel)
        self.to_start = count - at_once
        for _ in range(at_once):
            self.spawn(Child(self))

    def end_each(self, children, numbers, then):
        """End some of the children one after the other, those of ``numbers`` in an order that is
        none."""
        numbers = iter(numbers)

        def end_next():
            number = next(numbers, None)
            if number is None:
                then()
                return
            self.until(self.running - 1, end_next)
            children[number * 7919 % len(children)].get_pipe_transport(0).close()

        end_next()


async def spawn(count, parallel, megabytes, files, directory, *command):
    parent = Parent(command, directory)
    count, parallel = int(count), int(parallel)
    parent.memory = b"x" * (int(megabytes) * 1_000_000)
    parent.files = [os.open("/dev/null", os.O_RDONLY) for _ in range(int(files))]

    def measure():
        rendezvous("ready")
        begun = monotonic()
        parent.spawn_all(count, parallel, lambda: finish(begun))

    def finish(begun):
        report("operations", count, begun)
        loop.stop()

    parent.spawn_all(count // SETTLED + 1, parallel, measure)


async def exits(live, ending, *command):
    live, ending = int(live), int(ending)
    parent = Parent(command)
    made = [await parent.spawn(Child(parent)) for _ in range(live + WARM)]
    children = [transport for transport, _ in made]

    def measure():
        rendezvous("ready")
        begun = monotonic()
        numbers = range(WARM, WARM + ending)
        parent.end_each(children, numbers, lambda: finish(begun))

    def finish(begun):
        report("operations", ending, begun)
        parent.until(0, done)
        for child in children:
            child.get_pipe_transport(0).close()
        if not parent.running:
            done()

    def done():
        print("done", flush=True)
        loop.stop()

    parent.end_each(children, range(WARM), measure)


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
        loop.stop()

    run(size // SETTLED, measure)


async def read(size, *command):
    def start(parent, _):
        child = Talker(parent)
        return child, lambda: child.received

    moves(start, size, command)


async def write(size, *command):
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
if sys.argv[1] == "asyncio":
    loop = asyncio.new_event_loop()
else:
    import uvloop

    loop = uvloop.new_event_loop()
asyncio.set_event_loop(loop)
started = loop.create_task(MODES[sys.argv[2]](*sys.argv[3:]))
loop.run_forever()
