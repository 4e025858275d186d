"""The reactor's lifecycle: the wrong call in every state."""

from scenario import Scenario


def state(scenario, label):
    scenario.record(label, "running", scenario.reactor.running)


scenario = Scenario()
reactor = scenario.reactor
state(scenario, "fresh")
scenario.attempt("fresh stop", reactor.stop)
scenario.attempt("fresh iterate", reactor.iterate)
scenario.attempt("fresh crash", reactor.crash)
for phase in ("before", "during", "after"):
    for event in ("startup", "shutdown"):
        reactor.addSystemEventTrigger(phase, event, state, scenario, f"{phase} {event}")


def when_running():
    state(scenario, "running")
    scenario.attempt("running run", reactor.run)
    scenario.attempt("running startRunning", reactor.startRunning)
    scenario.attempt("nested iterate", reactor.iterate)
    scenario.attempt("running stop", reactor.stop)
    scenario.attempt("running stop again", reactor.stop)
    state(scenario, "stopping")


def crash():
    reactor.crash()
    state(scenario, "crashed")
    scenario.attempt("crash again", reactor.crash)


reactor.callLater(0, crash)
scenario.attempt("first run", reactor.run)
state(scenario, "after crash")
reactor.callLater(0, when_running)
scenario.attempt("second run", reactor.run)
state(scenario, "stopped")
scenario.attempt("third run", reactor.run)
scenario.attempt("late stop", reactor.stop)
scenario.attempt("late iterate", reactor.iterate)
scenario.attempt("late crash", reactor.crash)
scenario.finish()
