"""Calls queued with callFromThread on the reactor's own thread: how they wait, and how they end."""

import time

from scenario import Scenario


async def main(scenario):
    made = []
    scenario.reactor.callFromThread(made.append, "call")
    start = time.monotonic()
    scenario.reactor.doIteration(20)
    scenario.record("waited in vain", time.monotonic() - start > 15)
    scenario.record("made inside the wait", made)
    await scenario.until(lambda: made, 2)
    scenario.record("made", made)

    def note(*args, **kw):
        made.append([list(args), kw])

    made.clear()
    for number in range(3):
        scenario.reactor.callFromThread(note)
        waiting = scenario.reactor.threadCallQueue[-1]
        scenario.record("waits", waiting == (note, (), {}))
        # What a program writes there does not reach the calls that are queued later.
        waiting[2]["number"] = number
    scenario.reactor.callFromThread(note)
    scenario.reactor.callFromThread(note, 1, two=2)
    await scenario.until(lambda: len(made) == 5, 2)
    scenario.record("with", [[args, sorted(kw.items())] for args, kw in made])


scenario = Scenario()
scenario.run(main)
