"""What the programs in an asyncio event loop share: the loop their arguments name, and a report."""

from __future__ import annotations

import asyncio
import json
import os
import sys

LOOP = sys.argv[1]


def new_loop() -> asyncio.AbstractEventLoop:
    """An event loop of the library that the first argument names."""
    if LOOP == "uvloop":
        import uvloop

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()


def install() -> asyncio.AbstractEventLoop:
    """Install ropewalk's asyncio reactor in a new loop, which is the thread's from now on."""
    from ropewalk.asyncioreactor import install

    loop = new_loop()
    asyncio.set_event_loop(loop)
    install(loop)
    return loop


def report(**found: object) -> None:
    """Print what happened, for the test to look at."""
    print(json.dumps(found), flush=True)


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))
