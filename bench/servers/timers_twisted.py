"""CPU time of a delayed call that is cancelled and of one that runs: timers_twisted.py REACTOR."""

import json
import sys
from time import process_time_ns

from twisted.application.reactors import installReactor

COUNT = 100_000

reactor = installReactor(sys.argv[1])
figures = {}


def nothing():
    pass


def set_and_cancel():
    """Sets in one turn, cancels in a later one, and counts the turn after that, too."""
    begun = process_time_ns()
    # Spread over a minute, in no order.
    calls = [
        reactor.callLater(10 + number * 7919 % 60_000 / 1000, nothing) for number in range(COUNT)
    ]

    def cancel():
        for call in calls:
            call.cancel()
        # Twisted's loop sweeps cancelled calls out at the end of a turn.
        reactor.callLater(0, reactor.callLater, 0, finish)

    def finish():
        figures["set_cancel_ns"] = (process_time_ns() - begun) / COUNT
        set_and_run()

    reactor.callLater(0, cancel)


def set_and_run():
    begun = process_time_ns()
    left = COUNT

    def count():
        nonlocal left
        left -= 1
        if not left:
            figures["set_run_ns"] = (process_time_ns() - begun) / COUNT
            print(json.dumps(figures), flush=True)
            reactor.stop()

    for _ in range(COUNT):
        reactor.callLater(0, count)


reactor.callWhenRunning(set_and_cancel)
reactor.run()
