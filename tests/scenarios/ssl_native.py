"""Counts calls of Python functions of the layer while data is echoed, and the records."""

import os
import sys

from scenario import Scenario
from ssl_peers import Pair, Side, for_client, for_server

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
    deliveries = []
    kept = pair.client.dataReceived
    pair.client.dataReceived = lambda data: (deliveries.append(len(data)), kept(data))
    calls = []

    def profile(frame, event, _):
        if event == "call" and frame.f_code.co_filename.endswith(os.sep + "_rustls.py"):
            calls.append(frame.f_code.co_name)

    for number in range(1, MESSAGES + 1):
        sys.setprofile(profile)
        pair.client.transport.write(b"x")
        await scenario.until(lambda n=number: len(pair.client.data) == n * WRITES)
        sys.setprofile(None)
    scenario.record("calls", calls)
    # Ten writes of a turn are one record, delivered at once.
    scenario.record("deliveries", set(deliveries) == {WRITES}, len(deliveries))
    sys.setprofile(profile)
    pair.client.transport.loseConnection()
    await pair.ended()
    sys.setprofile(None)
    scenario.record("counts", len(calls) > 3)
    await pair.stop()


scenario = Scenario()
scenario.run(main)
