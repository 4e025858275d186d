"""Every callback of a child's protocol closes, writes and kills: what follows from it."""

from children import Child, ended, environment, shell, spawn
from scenario import Scenario

CALLBACKS = [
    "connectionMade",
    "childDataReceived",
    "childConnectionLost",
    "processExited",
    "processEnded",
]

ACTIONS = {
    "loseConnection": lambda transport: transport.loseConnection(),
    "closeChildFD 0": lambda transport: transport.closeChildFD(0),
    "closeChildFD 1": lambda transport: transport.closeChildFD(1),
    "closeChildFD 2": lambda transport: transport.closeChildFD(2),
    "closeChildFD 9": lambda transport: transport.closeChildFD(9),
    "write": lambda transport: transport.write(b"more\n"),
    "writeToChild 0": lambda transport: transport.writeToChild(0, b"more\n"),
    "pauseProducing": lambda transport: transport.pauseProducing(),
    "KILL": lambda transport: transport.signalProcess("KILL"),
}


def acting(method):
    def run(self, *arguments):
        getattr(super(Acting, self), method)(*arguments)
        if self.callback == method and not self.acted:
            self.acted = True
            self.scenario.attempt(f"{self.label} acts", ACTIONS[self.action], self.kept)

    return run


class Acting(Child):
    """Acts once, in one of its callbacks."""

    acted = False

    def __init__(self, scenario, label, callback, action):
        super().__init__(scenario, label)
        self.callback, self.action = callback, action

    def makeConnection(self, transport):
        # The protocol's own is gone with its end.
        self.kept = transport
        super().makeConnection(transport)


for name in CALLBACKS:
    setattr(Acting, name, acting(name))


async def one(scenario, callback, action, usePTY):
    kind = " in a terminal" if usePTY else ""
    label = f"{action} in {callback}{kind}"
    child = Acting(scenario, label, callback, action)
    # It ends by its input's end or by a line, having said something or closed an output before,
    # where that is called for: what it does meanwhile depends on nothing but the action.
    script = "read x; exit 3"
    if callback == "childDataReceived":
        # The end of a terminal is a signal, and the end of its input: either may be first.
        script = "trap '' HUP; echo hello; read x; exit 3"
    elif callback == "childConnectionLost":
        script = "exec 2>&-; read x; exit 3"
    spawn(scenario, label, *shell(script), environment(), protocol=child, usePTY=usePTY)
    waiting = callback in ("processExited", "processEnded")
    if not waiting:
        await scenario.until(lambda: child.acted)
    if usePTY and not waiting:
        child.kept.loseConnection()
    elif usePTY:
        child.kept.write(b"line\n")
    else:
        child.kept.closeStdin()
    if action == "pauseProducing":
        await scenario.until(lambda: child.acted)
        child.kept.resumeProducing()
    await ended(scenario, child)


async def main(scenario):
    for callback in CALLBACKS:
        for action in ACTIONS:
            await one(scenario, callback, action, False)
    # Not connectionMade: Twisted's child may not be in its terminal by then. Nor processExited: the
    # echo of what was written may not have been read.
    for callback in ("childDataReceived", "processEnded"):
        for action in ("loseConnection", "KILL"):
            await one(scenario, callback, action, True)


scenario = Scenario()
scenario.run(main)
