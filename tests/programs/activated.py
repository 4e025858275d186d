"""A server on sockets that a service manager opened: activated.py REACTOR ENDPOINT..."""

import sys

from twisted.application.reactors import installReactor

reactor = installReactor(sys.argv[1])

from twisted.internet.endpoints import serverFromString  # noqa: E402
from twisted.internet.protocol import Factory, Protocol  # noqa: E402


class Echo(Protocol):
    def dataReceived(self, data):
        self.transport.write(data)


def listening(port):
    print(type(port).__module__, port.getHost(), flush=True)


for description in sys.argv[2:]:
    endpoint = serverFromString(reactor, description)
    endpoint.listen(Factory.forProtocol(Echo)).addCallback(listening)
reactor.run()
