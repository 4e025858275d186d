"""Reactors outside the main thread: one, or two at the same time."""

import socket
import threading

from scenario import Scenario, factory_of
from twisted.internet.protocol import Protocol
from twisted.internet.threads import blockingCallFromThread

ROUNDS = 200


class Echo(Protocol):
    def dataReceived(self, data):
        self.transport.write(data)


class Running:
    """A reactor that runs in a thread of its own, with an echo server."""

    def __init__(self, reactor):
        self.reactor = reactor
        started = threading.Event()
        reactor.callWhenRunning(started.set)
        self.thread = threading.Thread(target=reactor.run, kwargs={"installSignalHandlers": False})
        self.thread.start()
        assert started.wait(10)
        self.port = blockingCallFromThread(
            reactor, reactor.listenTCP, 0, factory_of(Echo), interface="127.0.0.1"
        )

    def talk(self):
        """Echoes and calls into the reactor's thread; how many were right."""
        right = 0
        with socket.create_connection(("127.0.0.1", self.port.getHost().port)) as peer:
            for number in range(ROUNDS):
                message = b"%08d" % number
                peer.sendall(message)
                echoed = peer.recv(8) == message
                name = blockingCallFromThread(self.reactor, threading.get_ident)
                right += echoed and name == self.thread.ident
        return right

    def stop(self):
        blockingCallFromThread(self.reactor, self.port.stopListening)
        self.reactor.callFromThread(self.reactor.stop)
        self.thread.join(10)
        return not self.thread.is_alive()


scenario = Scenario()
reactors = [scenario.reactor]
if scenario.arguments == ["two"]:
    reactors.append(type(scenario.reactor)())
running = [Running(reactor) for reactor in reactors]
results = {}
talkers = [
    threading.Thread(target=lambda n=n, r=r: results.update({n: r.talk()}))
    for n, r in enumerate(running)
]
for talker in talkers:
    talker.start()
for talker in talkers:
    talker.join()
scenario.record("right", [results.get(n) for n in range(len(running))])
scenario.record("ended", [r.stop() for r in running])
# Twisted's reactors leave their pipes to the end of the process.
for reactor in reactors:
    reactor.disconnectAll()
scenario.finish()
