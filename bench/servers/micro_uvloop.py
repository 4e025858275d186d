"""The workloads of timers_twisted.py and threads_twisted.py without Twisted.

micro_uvloop.py timers|threads uvloop|asyncio
"""

import asyncio
import json
import sys
import threading
from queue import SimpleQueue
from time import process_time_ns

TIMERS = 100_000
ROUND_TRIPS = 20_000
CALLS = 100_000


def nothing():
    pass


def timers(loop):
    figures = {}

    def set_and_cancel():
        begun = process_time_ns()
        calls = [
            loop.call_later(10 + number * 7919 % 60_000 / 1000, nothing) for number in range(TIMERS)
        ]

        def cancel():
            for call in calls:
                call.cancel()
            loop.call_later(0, loop.call_later, 0, finish)

        def finish():
            figures["set_cancel_ns"] = (process_time_ns() - begun) / TIMERS
            set_and_run()

        loop.call_later(0, cancel)

    def set_and_run():
        begun = process_time_ns()
        left = TIMERS

        def count():
            nonlocal left
            left -= 1
            if not left:
                figures["set_run_ns"] = (process_time_ns() - begun) / TIMERS
                print(json.dumps(figures), flush=True)
                loop.stop()

        for _ in range(TIMERS):
            loop.call_later(0, count)

    loop.call_soon(set_and_cancel)


def threads(loop):
    def measure():
        answers = SimpleQueue()
        begun = process_time_ns()
        for _ in range(ROUND_TRIPS):
            loop.call_soon_threadsafe(answers.put, None)
            answers.get()
        trip = (process_time_ns() - begun) / ROUND_TRIPS / 1000
        begun = process_time_ns()
        for _ in range(CALLS - 1):
            loop.call_soon_threadsafe(nothing)
        loop.call_soon_threadsafe(answers.put, None)
        answers.get()
        call = (process_time_ns() - begun) / CALLS
        print(json.dumps({"round_trip_us": trip, "one_way_ns": call}), flush=True)
        loop.call_soon_threadsafe(loop.stop)

    loop.call_soon(threading.Thread(target=measure, daemon=True).start)


if sys.argv[2] == "asyncio":
    loop = asyncio.new_event_loop()
else:
    import uvloop

    loop = uvloop.new_event_loop()
{"timers": timers, "threads": threads}[sys.argv[1]](loop)
loop.run_forever()
