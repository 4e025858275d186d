"""What a type checker sees of ropewalk; `make lint` runs it over this file, nobody runs it."""

from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.protocol import DatagramProtocol, Factory
from typing_extensions import assert_type

import ropewalk
import ropewalk.default
import ropewalk.epollreactor
import ropewalk.pollreactor
from ropewalk import tcp, udp

assert_type(ropewalk.__version__, str)
assert_type(ropewalk.install(), None)
assert_type(ropewalk.default.install(), None)
assert_type(ropewalk.epollreactor.install(), None)
assert_type(ropewalk.pollreactor.install(), None)

reactor = ropewalk.epollreactor.EPollReactor()
base: PosixReactorBase = reactor
assert_type(reactor.poller, str)
assert_type(reactor.timeout(), float | None)
assert_type(reactor.listenTCP(0, Factory(), interface="127.0.0.1"), tcp.Port)
assert_type(reactor.listenUDP(0, DatagramProtocol()), udp.Port)
assert_type(reactor.listenMulticast(0, DatagramProtocol()), udp.MulticastPort)
