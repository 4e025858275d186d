"""A call queued with callFromThread on the reactor's own thread ends the wait that follows."""

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


scenario = Scenario()
scenario.run(main)
