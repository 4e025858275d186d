"""Counts calls of Python functions of the layer while data is echoed, and the records."""

import os
import sys
from contextlib import contextmanager

from scenario import Scenario
from ssl_peers import Pair, Side, for_client, for_server
from twisted.internet.endpoints import TCP4ClientEndpoint

from ropewalk import ssl

MESSAGES = 100
WRITES = 10


class Echo(Side):
    def dataReceived(self, data):
        super().dataReceived(data)
        for _ in range(WRITES):
            self.transport.write(data)


async def main(scenario):
    pair = Pair(scenario, for_server(), for_client(), make_server=Echo)
    await pair.made()
    await echoed(scenario, pair.client)
    await disconnected(scenario, pair)
    # What a client endpoint puts around a protocol is in nobody's way.
    number = pair.port.getHost().port
    tcp = TCP4ClientEndpoint(scenario.reactor, "127.0.0.1", number)
    await ssl.wrapClientTLS(for_client(), tcp).connect(pair._clients)
    await pair.made(2)
    await echoed(scenario, pair.client)
    await disconnected(scenario, pair)
    await pair.stop()


async def echoed(scenario, client):
    deliveries = []
    kept = client.dataReceived
    client.dataReceived = lambda data: (deliveries.append(len(data)), kept(data))
    calls = []
    for number in range(1, MESSAGES + 1):
        with profiled(calls):
            client.transport.write(b"x")
            await scenario.until(lambda n=number: len(client.data) == n * WRITES)
    scenario.record("calls", calls)
    # Ten writes of a turn are one record, delivered at once.
    scenario.record("deliveries", set(deliveries) == {WRITES}, len(deliveries))


async def disconnected(scenario, pair):
    """Shows that calls are counted."""
    calls = []
    with profiled(calls):
        pair.client.transport.loseConnection()
        await scenario.until(lambda: pair.server.reason and pair.client.reason)
    scenario.record("counts", len(calls) > 3)


@contextmanager
def profiled(calls):
    def profile(frame, event, _):
        if event == "call" and frame.f_code.co_filename.endswith(os.sep + "_rustls.py"):
            calls.append(frame.f_code.co_name)

    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(None)


scenario = Scenario()
scenario.run(main)
