"""Children that end one by one while many live, under one of several conditions.

Arguments: how many; "none", "ignored" (SIGCHLD is), "thread" (the reactor runs in one), "stolen"
(somebody else waits for them), "crowded" (descriptors have numbers beyond what select takes),
"replaced" (the program waits in select itself, on the reactor that does) or "handled" (the program
has its own handler of SIGCHLD, and signals wake it, not the reactor).
"""

import os
import signal
import threading

from children import Quiet, shell
from scenario import Scenario
from twisted.internet import process, selectreactor


async def main(scenario):
    number, condition = int(scenario.arguments[0]), scenario.arguments[1]
    low = os.openpty() if condition == "crowded" else None
    more = [os.dup(0) for _ in range(1100)] if condition == "crowded" else []
    if condition == "replaced":
        original = selectreactor._select
        selectreactor._select = lambda *args: original(*args)
    if condition == "ignored":
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signals = []
    if condition == "handled":
        signal.signal(signal.SIGCHLD, lambda number, frame: signals.append(number))
        signal.set_wakeup_fd(-1)
    waiting = shell("read x; exit 7")
    children = []
    for _ in range(number):
        child = Quiet(scenario, "child")
        if low is None:
            scenario.reactor.spawnProcess(child, *waiting, {}, childFDs={0: "w"})
        else:
            read, write = os.pipe()
            scenario.reactor.spawnProcess(child, *waiting, {}, childFDs={0: read})
            os.close(read)
            child.end = write
        children.append(child)
    # The record of system calls has this mark in it.
    os.path.exists("/all-live")
    for child in children:
        if condition == "stolen":
            # As an ill-behaved library does. No turn is between the end and the theft.
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
        elif low is None:
            child.transport.closeStdin()
        else:
            os.close(child.end)
        if not await scenario.until(lambda c=child: c.reason is not None):
            scenario.record("never ends")
            break
    os.path.exists("/all-ended")
    codes = {child.reason.value.exitCode for child in children}
    scenario.record("codes", sorted(codes), len(process.reapProcessHandlers))
    scenario.figures["signals"] = len(signals)
    for descriptor in [*more, *(low or ())]:
        os.close(descriptor)


scenario = Scenario()
if scenario.arguments[1] == "thread":
    run = scenario.reactor.run
    scenario.reactor.run = lambda: run(installSignalHandlers=False)
    thread = threading.Thread(target=scenario.run, args=(main,))
    thread.start()
    thread.join()
else:
    scenario.run(main)
