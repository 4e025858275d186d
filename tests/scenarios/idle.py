"""An echo server with a timer that is far away, for a test that counts its system calls.

    idle.py REACTOR [uvloop | busy]

Prints its port. "arm" in place of data to echo makes it arm timers of 0.4 ms one after the other,
with a write before and after each, and answer when they are done. With "uvloop" ropewalk's asyncio
reactor is in a loop of uvloop's. With "busy" there is a timer that is not far away.
"""

import os
import sys

from twisted.application.reactors import installReactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall

TIMERS = 20


def install(name, option):
    """Install the reactor by its name, or in another loop than it takes by itself."""
    if option != "uvloop":
        return installReactor(name)
    import uvloop

    from ropewalk.asyncioreactor import install

    install(uvloop.new_event_loop())
    from twisted.internet import reactor

    return reactor


class Server(Protocol):
    """Echoes, or arms timers and then answers."""

    def dataReceived(self, data):
        if data == b"arm":
            self.arm(TIMERS)
        else:
            self.transport.write(data)

    def arm(self, count):
        if count == 0:
            self.transport.write(b"done")
            return
        os.write(null, b"armed")
        reactor.callLater(0.0004, self.fired, count)

    def fired(self, count):
        os.write(null, b"fired")
        # In a turn of its own, so that no wait belongs to two timers.
        reactor.callLater(0.01, self.arm, count - 1)


option = sys.argv[2] if len(sys.argv) > 2 else ""
reactor = install(sys.argv[1], option)
null = os.open(os.devnull, os.O_WRONLY)
port = reactor.listenTCP(0, Factory.forProtocol(Server), interface="127.0.0.1")
reactor.callLater(3600, reactor.stop)
if option == "busy":
    call = LoopingCall(lambda: None)
    call.clock = reactor
    call.start(0.5)
print(port.getHost().port, flush=True)
reactor.run()
