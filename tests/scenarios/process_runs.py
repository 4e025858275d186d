"""Children that live longer than a run of the reactor: crashed, forked, stopped at last."""

import os
import signal

from children import Quiet, shell
from scenario import Scenario, descriptors
from twisted.internet import process
from twisted.internet.interfaces import IReactorDaemonize

scenario = Scenario()
reactor = scenario.reactor
WAITING = shell("read x; exit 7")


class Ending(Quiet):
    """Ends the run with its own end, if it is told to."""

    crashes = False

    def processEnded(self, reason):
        super().processEnded(reason)
        if self.crashes:
            reactor.crash()


def spawn(child_fds=None):
    child = Ending(scenario, "child")
    reactor.spawnProcess(child, *WAITING, {}, childFDs=child_fds)
    return child


def run(start=None):
    """Runs until something crashes the reactor, of which a time limit is one."""
    if start is not None:
        reactor.callWhenRunning(start)
    limit = reactor.callLater(20, lambda: (scenario.record("too late"), reactor.crash()))
    reactor.run()
    if limit.active():
        limit.cancel()


def between_runs():
    """Children of one run end in the next, or while none runs."""
    children = []
    read, write = os.pipe()

    def first():
        children.extend([spawn(), spawn(), spawn({0: read})])
        reactor.crash()

    run(first)
    os.close(read)
    scenario.record("alive", [child.reason for child in children])
    living, dead, silent = children
    os.kill(dead.pid, signal.SIGKILL)
    # Nobody waits for it meanwhile: a zombie stays one.
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
    os.close(write)
    run(lambda: close(living))
    scenario.record("living", living.reason)
    for child in (dead, silent):
        run(lambda c=child: end_with(c))
        scenario.record("ended", child.reason)


def end_with(child):
    """Ends the run with the child's end, which may have been heard of."""
    child.crashes = True
    if child.reason is not None:
        reactor.crash()


def close(child):
    child.crashes = True
    child.transport.closeStdin()


def forked():
    """A fork of the program that goes on for a while has the same children, and is nobody's."""
    child = spawn()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    os.close(read)
    # The fork holds the write end of the child's input as well.
    run(lambda: kill(child))
    scenario.record("beside a fork", child.reason, os.waitpid(pid, os.WNOHANG)[0])
    os.close(write)
    scenario.record("the fork", os.waitpid(pid, 0)[1])


def kill(child):
    child.crashes = True
    child.transport.signalProcess("KILL")


def in_the_fork():
    """A program that forks, and runs the reactor in the fork: the children are not its own."""
    child = spawn()
    daemonize = IReactorDaemonize(reactor, None)
    if daemonize is not None:
        daemonize.beforeDaemonize()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            if daemonize is not None:
                daemonize.afterDaemonize()
            own = Ending(scenario, "own")
            reactor.spawnProcess(own, *WAITING, {}, childFDs={0: "w"})
            run(lambda: close(own))
            status = 0 if own.reason.value.exitCode == 7 and child.reason is None else 2
        finally:
            os._exit(status)
    scenario.record("in the fork", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    if daemonize is not None:
        daemonize.afterDaemonize()
    run(lambda: close(child))
    scenario.record("the parent's", child.reason)


def stopped():
    """A stop closes the pipes of those that live, and leaves them."""
    read, write = os.pipe()
    child = spawn({0: read, 1: "r"})
    os.close(read)
    reactor.callWhenRunning(reactor.stop)
    reactor.run()
    scenario.record("stopped", child.reason, sorted(child.transport.pipes), sorted(child.lost))
    scenario.record("registered", list(process.reapProcessHandlers) == [child.pid])
    os.close(write)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    process.reapAllProcesses()
    scenario.record("reaped", child.reason, len(process.reapProcessHandlers))


before = len(descriptors())
between_runs()
forked()
in_the_fork()
stopped()
scenario.figures["descriptors"] = len(descriptors()) - before
scenario.finish()
