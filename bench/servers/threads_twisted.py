"""CPU time of calls that a thread has the loop make: threads_twisted.py REACTOR."""

import json
import sys
import threading
from queue import SimpleQueue
from time import process_time_ns

from twisted.application.reactors import installReactor

ROUND_TRIPS = 20_000
CALLS = 100_000

reactor = installReactor(sys.argv[1])


def nothing():
    pass


def measure():
    answers = SimpleQueue()
    begun = process_time_ns()
    for _ in range(ROUND_TRIPS):
        reactor.callFromThread(answers.put, None)
        answers.get()
    trip = (process_time_ns() - begun) / ROUND_TRIPS / 1000
    begun = process_time_ns()
    for _ in range(CALLS - 1):
        reactor.callFromThread(nothing)
    reactor.callFromThread(answers.put, None)
    answers.get()
    call = (process_time_ns() - begun) / CALLS
    print(json.dumps({"round_trip_us": trip, "one_way_ns": call}), flush=True)
    reactor.callFromThread(reactor.stop)


reactor.callWhenRunning(threading.Thread(target=measure, daemon=True).start)
reactor.run()
