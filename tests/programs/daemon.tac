"""A server for twistd that also has descriptors and a timer from before it became a daemon."""

import json
import os
import sys
import threading

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.utils import getProcessOutput

done = set()


class Answers(Protocol):
    """Answers each word after what it stands for has been done."""

    def dataReceived(self, data):
        word = data.decode()
        if word == "timer":
            reactor.callLater(0.02, self.answer, word)
        elif word == "thread":
            threading.Thread(target=reactor.callFromThread, args=(self.answer, word)).start()
        elif word == "process":
            output = getProcessOutput(sys.executable, ["-c", "print('process', end='')"])
            output.addCallback(lambda found: self.answer(found.decode()))
        elif word == "early timer":
            self.answer(word if "early timer" in done else "nothing yet")
        else:
            self.answer(f"echo {word}")

    def answer(self, text):
        self.transport.write(text.encode())


factory = Factory.forProtocol(Answers)
early = reactor.listenTCP(0, factory, interface="127.0.0.1")
reactor.callLater(0.01, done.add, "early timer")
# The poller knows them before the process forks.
reactor.iterate(0)

application = Application("daemon")
service = StreamServerEndpointService(TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"), factory)
service.setServiceParent(application)


def started():
    """Say where to ask."""
    late = service._waitingForPort.result
    ports = {"early": early.getHost().port, "late": late.getHost().port}
    with open("ports.new", "w") as file:
        json.dump({**ports, "pid": os.getpid()}, file)
    os.rename("ports.new", "ports")


reactor.callWhenRunning(started)
