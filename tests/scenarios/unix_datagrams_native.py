"""Counts the calls of Twisted's Python functions for ports while UNIX datagrams are echoed."""

import os
import sys
import tempfile

from scenario import Scenario
from twisted.internet.protocol import ConnectedDatagramProtocol, DatagramProtocol

MESSAGES = 100
FILES = tuple(os.path.join("twisted", "internet", name) for name in ("unix.py", "udp.py"))


class Echo(DatagramProtocol):
    noisy = False
    received = 0

    def datagramReceived(self, data, address):
        self.received += 1
        self.transport.write(data, address)


class Peer(ConnectedDatagramProtocol):
    noisy = False
    received = 0

    def datagramReceived(self, data):
        self.received += 1


async def main(scenario):
    reactor, calls = scenario.reactor, []

    def profile(frame, event, _):
        if event == "call" and frame.f_code.co_filename.endswith(FILES):
            calls.append(frame.f_code.co_name)

    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "socket")
        echo, peer = Echo(), Peer()
        port = reactor.listenUNIXDatagram(path, echo)
        other = reactor.connectUNIXDatagram(path, peer, bindAddress=path + "-peer")
        scenario.record("classes", type(port).__module__, type(other).__module__)
        sys.setprofile(profile)
        for number in range(1, MESSAGES + 1):
            other.write(b"x")
            await scenario.until(lambda n=number: peer.received == n)
        sys.setprofile(None)
        scenario.record("received", echo.received, peer.received)
        scenario.figures["calls"] = len(calls)
        for each in (port, other):
            await scenario.stop(each)


scenario = Scenario()
scenario.run(main)
