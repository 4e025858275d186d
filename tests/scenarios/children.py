"""What the scenarios of child processes share."""

import os
import re
import sys

from twisted.internet import process
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

PYTHON = sys.executable


class Child(ProcessProtocol):
    """Records what it hears; what may come in any order is recorded in one."""

    def __init__(self, scenario, label):
        self.scenario = scenario
        self.label = label
        self.written = {}
        self.lost = []
        self.reason = None
        self.exit_reason = None

    def connectionMade(self):
        self.pid = self.transport.pid
        self.scenario.record(self.label, "connectionMade", self.pid is not None)

    def childDataReceived(self, number, data):
        self.written[number] = self.written.get(number, b"") + data

    def childConnectionLost(self, number):
        self.lost.append(number)

    def processExited(self, reason):
        self.exit_reason = reason
        registered = self.pid in process.reapProcessHandlers
        self.scenario.record(self.label, "processExited", reason, registered, self.transport.pid)

    def processEnded(self, reason):
        scenario, transport = self.scenario, self.transport
        for number, data in sorted(self.written.items()):
            scenario.record(self.label, "data", number, plain(data))
        scenario.record(self.label, "lost", sorted(self.lost))
        registered = self.pid in process.reapProcessHandlers
        same = reason.value.status == self.exit_reason.value.status
        scenario.record(self.label, "processEnded", reason, registered, transport.proto, same)
        self.reason = reason


class Quiet(Child):
    """Records nothing."""

    def connectionMade(self):
        self.pid = self.transport.pid

    def processExited(self, reason):
        self.exit_reason = reason

    def processEnded(self, reason):
        self.reason = reason


def plain(data):
    """The text, without what differs from run to run; the length of what is long."""
    if len(data) > 4096:
        return len(data)
    text = data.decode("utf-8", "replace")
    return re.sub(r"environment id \d+|0x[0-9a-f]+|/dev/pts/\d+|  File .*\n(    .*\n)*", "*", text)


def spawn(scenario, label, *arguments, protocol=None, **kw):
    """Spawn a child, and record how that went; its protocol, or None."""
    child = Child(scenario, label) if protocol is None else protocol
    try:
        scenario.reactor.spawnProcess(child, *arguments, **kw)
    except BaseException as error:
        failure = Failure(error)
        # How a wrong argument is put in words is left out, as the number of a descriptor.
        words = scenario._plain(failure.getErrorMessage())
        words = re.sub(r"\d+", "N", words)
        scenario.record(label, "raises", failure.type.__name__, words)
        return None
    return child


async def ended(scenario, child):
    """Wait for the end of a child that was made."""
    if child is not None and not await scenario.until(lambda: child.reason is not None):
        scenario.record(child.label, "never ends")


def shell(script):
    """The executable and the arguments of a shell that runs the script."""
    return "/bin/sh", ["sh", "-c", script]


def environment():
    """An environment that says where programs are."""
    return {"PATH": os.environ["PATH"]}
