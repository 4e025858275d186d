"""Counts the calls of Python functions beneath a server's own, over the life of its connections."""

import os
import sys

from scenario import Recorder, Scenario, connect, factory_of

CONNECTIONS = 20
FILES = tuple(
    os.path.join(*path)
    for path in (
        ("twisted", "internet", "abstract.py"),
        ("twisted", "internet", "address.py"),
        ("twisted", "internet", "tcp.py"),
        ("twisted", "python", "components.py"),
        ("twisted", "python", "context.py"),
        ("ropewalk", "_failures.py"),
        ("attr", "validators.py"),
    )
)
#: What a listening port is asked, once for all that is accepted in a turn.
PORT = {"doRead", "logPrefix"}


class Echo(Recorder):
    def connectionMade(self):
        self.transport.setTcpNoDelay(True)
        self.transport.getHost()

    def dataReceived(self, data):
        super().dataReceived(data)
        self.transport.write(data)

    def connectionLost(self, reason):
        self.reason = reason


async def main(scenario):
    factory = factory_of(lambda: Echo(scenario))
    calls = []

    def profile(frame, event, _):
        name = frame.f_code.co_name
        if event == "call" and frame.f_code.co_filename.endswith(FILES) and name not in PORT:
            calls.append(name)

    port = scenario.listen(factory)
    # What is looked up once is not counted.
    for counted in (False, True):
        peers = [connect(port) for _ in range(CONNECTIONS)]
        sys.setprofile(profile if counted else None)
        await scenario.until(lambda: len(factory.built) == CONNECTIONS)
        sys.setprofile(None)
        for peer in peers:
            peer.sendall(b"x")
        sys.setprofile(profile if counted else None)
        await scenario.until(lambda: all(echo.received for echo in factory.built))
        sys.setprofile(None)
        for peer in peers:
            peer.close()
        sys.setprofile(profile if counted else None)
        await scenario.until(lambda: all(echo.reason for echo in factory.built))
        sys.setprofile(None)
        scenario.record("lost", sum(echo.reason is not None for echo in factory.built))
        factory.built.clear()
    scenario.figures["calls"] = len(calls)
    await scenario.stop(port)


scenario = Scenario()
scenario.run(main)
