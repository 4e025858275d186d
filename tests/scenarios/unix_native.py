"""Counts the calls of Twisted's Python functions for transports while plain data is echoed."""

import os
import socket
import sys
import tempfile

from scenario import Recorder, Scenario, factory_of

MESSAGES = 100
FILES = tuple(os.path.join("twisted", "internet", name) for name in ("unix.py", "tcp.py"))


class Echo(Recorder):
    def dataReceived(self, data):
        super().dataReceived(data)
        self.transport.write(data)


async def main(scenario):
    factory = factory_of(lambda: Echo(scenario))
    calls = []

    def profile(frame, event, _):
        if event == "call" and frame.f_code.co_filename.endswith(FILES):
            calls.append(frame.f_code.co_name)

    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as peer:
        path = os.path.join(directory, "socket")
        port = scenario.reactor.listenUNIX(path, factory)
        peer.connect(path)
        await scenario.until(lambda: factory.built and factory.built[0].transport)
        module = type(factory.built[0].transport).__module__
        scenario.record("classes", module, type(port).__module__)
        peer.setblocking(False)
        for number in range(1, MESSAGES + 1):
            sys.setprofile(profile)
            peer.send(b"x")
            await scenario.until(lambda n=number: factory.built[0].received == n)
            sys.setprofile(None)
            await scenario.until(lambda: answered(peer))
        scenario.record("received", factory.built[0].received)
        scenario.figures["calls"] = len(calls)
        await scenario.stop(port)
    await scenario.until(lambda: factory.built[0].reason)


def answered(peer):
    try:
        return peer.recv(1)
    except BlockingIOError:
        return b""


scenario = Scenario()
scenario.run(main)
