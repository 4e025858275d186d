"""One of several processes on one port: sharing_a_port.py REACTOR PORT. Answers with its number."""

import os
import sys

from twisted.application.reactors import installReactor

reactor = installReactor(sys.argv[1])

from twisted.internet.protocol import Factory, Protocol  # noqa: E402
from twisted.internet.tcp import makeBinding  # noqa: E402


class Who(Protocol):
    def connectionMade(self):
        self.transport.write(f"{os.getpid()}\n".encode())
        self.transport.loseConnection()


binding = makeBinding("127.0.0.1", int(sys.argv[2]), reuseAddress=True, reusePort=True)
port = reactor.listenTCP(binding, Factory.forProtocol(Who))
print(port.getHost().port, type(port).__module__, flush=True)
reactor.run()
