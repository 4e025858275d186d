"""Wrong arguments to delayed calls and thread calls, and calls at the wrong time."""

from scenario import Scenario


async def main(scenario):
    reactor = scenario.reactor
    attempt = scenario.attempt
    for label, delay in [
        ("negative", -1),
        ("text", "soon"),
        ("None", None),
        ("not a number", float("nan")),
    ]:
        call = attempt(f"callLater {label}", reactor.callLater, delay, lambda: None)
        if call is not None:
            attempt(f"cancel {label}", call.cancel)
    attempt("callLater without function", reactor.callLater, 1)
    nothing = attempt("callLater of None", reactor.callLater, 0, None)
    await scenario.sleep(0.01)
    attempt("cancel after failure", nothing.cancel)
    call = reactor.callLater(1000, scenario.record, "too early")
    attempt("reset to text", call.reset, "x")
    attempt("delay by text", call.delay, "x")
    attempt("reset negative", call.reset, -5)
    attempt("cancel", call.cancel)
    attempt("cancel twice", call.cancel)
    attempt("reset cancelled", call.reset, 1)
    attempt("delay cancelled", call.delay, 1)
    attempt("active", call.active)
    done = reactor.callLater(0, scenario.record, "called")
    await scenario.sleep(0.01)
    for name in ("cancel", "active"):
        attempt(f"{name} called", getattr(done, name))
    attempt("reset called", done.reset, 1)
    attempt("delay called", done.delay, 1)
    far = attempt("the far future", reactor.callLater, 2**128 + 1, lambda: None)
    far.cancel()
    attempt("callFromThread of None", reactor.callFromThread, None)
    attempt("callFromThread of a number", reactor.callFromThread, 5)
    attempt("callFromThread without function", reactor.callFromThread)
    attempt("callWhenRunning of None", reactor.callWhenRunning, None)
    attempt("run again", reactor.run)
    attempt("trigger of no phase", reactor.addSystemEventTrigger, "often", "shutdown", print)
    attempt("trigger of nothing", reactor.addSystemEventTrigger, "before", "shutdown", None)
    attempt("remove no trigger", reactor.removeSystemEventTrigger, None)


scenario = Scenario()
scenario.attempt("stop before run", scenario.reactor.stop)
scenario.run(main)
