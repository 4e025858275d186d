"""Children when the table of descriptors has little room, or none: run under `prlimit --nofile`."""

import errno
import os

from children import Quiet, ended, environment, shell
from scenario import Scenario, descriptors
from twisted.internet import process

KINDS = {
    "pipes": {},
    "one pipe": {"childFDs": {1: "r"}},
    "nothing": {"childFDs": {}},
    "terminal": {"usePTY": True},
    "elsewhere": {"path": "/"},
}
#: More than any of them takes.
ENOUGH = 16


def fill(room):
    """Leaves room for that many more descriptors; answers those that take the rest."""
    taken = []
    while True:
        try:
            taken.append(os.dup(0))
        except OSError:
            break
    for number in taken[len(taken) - room :]:
        os.close(number)
    return taken[: len(taken) - room]


async def attempt(scenario, kw, room):
    """A spawn with that much room: the error that it raised, or the child's end."""
    child = Quiet(scenario, "child")
    before = descriptors()
    taken = fill(room)
    try:
        scenario.reactor.spawnProcess(child, *shell("exit 3"), environment(), **kw)
        found = None
    except Exception as error:
        found = error
    for number in taken:
        os.close(number)
    if found is None:
        await ended(scenario, child)
        return child.reason
    clean = descriptors() == before and not process.reapProcessHandlers and child.transport is None
    return found if clean else "something is left"


async def main(scenario):
    for kw in KINDS.values():
        # What is opened once and kept is open from here on.
        await attempt(scenario, kw, ENOUGH)
    for label, kw in KINDS.items():
        found = [await attempt(scenario, kw, room) for room in range(ENOUGH + 1)]
        scenario.record(label, "without room", repr(found[0]))
        scenario.record(label, "with enough", found[-1])
        # How much is enough is not the same on all reactors.
        raised = [error for error in found if isinstance(error, Exception)]
        scenario.record(label, {error.errno for error in raised} <= {errno.EMFILE, None})
        scenario.record(label, [word for word in found if isinstance(word, str)])
        scenario.figures[label] = len(raised)


scenario = Scenario()
scenario.run(main)
