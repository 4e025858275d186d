"""The reactor runs in a greenlet whose callbacks switch to the main greenlet and back."""

from greenlet import getcurrent, greenlet
from scenario import Scenario, factory_of
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.internet.threads import deferToThread

CONNECTIONS = 20
MESSAGES = 30

main_greenlet = getcurrent()
scenario = Scenario()
reactor = scenario.reactor
switches = 0


def outside(function, *args):
    """Called in the reactor's greenlet: have the main greenlet call the function, and go on."""
    assert getcurrent() is reactor_greenlet
    return main_greenlet.switch((function, args))


class Echo(Protocol):
    def connectionMade(self):
        outside(self.transport.setTcpNoDelay, True)

    def dataReceived(self, data):
        outside(self.transport.write, data)


class Client(Protocol):
    def __init__(self):
        self.received = b""
        self.sent = 0
        self.lost = Deferred()

    def connectionMade(self):
        outside(self.send)

    def send(self):
        self.sent += 1
        self.transport.write(b"%08d" % self.sent)

    def dataReceived(self, data):
        self.received += data
        if len(self.received) < 8 * self.sent:
            return
        if self.sent == MESSAGES:
            outside(self.transport.loseConnection)
        else:
            outside(reactor.callLater, 0, self.send)

    def connectionLost(self, reason):
        outside(self.lost.callback, reason.type.__name__)


class Clients(ClientFactory):
    noisy = False
    protocol = Client

    def __init__(self):
        self.built = []

    def buildProtocol(self, address):
        self.built.append(super().buildProtocol(address))
        return self.built[-1]


async def main(scenario):
    port = scenario.listen(factory_of(Echo))
    clients = Clients()
    for _ in range(CONNECTIONS):
        reactor.connectTCP("127.0.0.1", port.getHost().port, clients)
    await scenario.until(lambda: len(clients.built) == CONNECTIONS)
    reasons = await gatherResults([client.lost for client in clients.built])
    scenario.record("reasons", sorted(set(reasons)))
    expected = b"".join(b"%08d" % n for n in range(1, MESSAGES + 1))
    scenario.record("echoed", sum(c.received == expected for c in clients.built))
    in_thread = await deferToThread(lambda: 6 * 7)
    scenario.record("from a thread", in_thread)
    scenario.record("switched out", switches > CONNECTIONS * MESSAGES)
    await scenario.stop(port)


def turn_until_dead():
    """The main greenlet: do what callbacks ask for, in between their two halves."""
    global switches
    answer = reactor_greenlet.switch()
    while not reactor_greenlet.dead:
        function, args = answer
        switches += 1
        answer = reactor_greenlet.switch(function(*args))


reactor_greenlet = greenlet(lambda: scenario.run(main))
turn_until_dead()
