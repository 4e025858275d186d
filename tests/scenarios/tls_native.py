"""Counts the calls of Twisted's and pyOpenSSL's Python functions for TLS while data is echoed."""

import os
import sys

from scenario import Recorder, Scenario, factory_of
from tls_peers import Peer, server

MESSAGES = 100
WRITES = 10
FILES = (os.path.join("protocols", "tls.py"), os.path.join("OpenSSL", "SSL.py"))


class Echo(Recorder):
    def dataReceived(self, data):
        super().dataReceived(data)
        for _ in range(WRITES):
            self.transport.write(data)


async def main(scenario):
    factory = factory_of(lambda: Echo(scenario))
    port = scenario.listen(server(scenario, factory))
    peer = Peer(scenario, port)
    scenario.record("handshake", await peer.handshake())
    peer.write(b"x")
    await scenario.until(lambda: peer.read() or len(peer.received) == WRITES)
    below = factory.built[0].transport.transport
    records = getattr(below, "_tlsRecords", None)
    scenario.record("native", records is not None)
    before = (records.bytesReceived, records.bytesSent) if records else (0, 0)
    calls = []

    def profile(frame, event, _):
        if event == "call" and frame.f_code.co_filename.endswith(FILES):
            calls.append(frame.f_code.co_name)

    sent = 0
    for number in range(2, MESSAGES + 2):
        peer.tls.send(b"x")
        record = peer.take()
        sys.setprofile(profile)
        peer.socket.send(record)
        await scenario.until(lambda n=number: factory.built[0].received == n)
        await scenario.sleep(0)
        sys.setprofile(None)
        start = len(peer.received)
        while len(peer.received) < start + WRITES:
            peer.fetch()
            # One record for all that was written in one turn.
            try:
                peer.received += peer.tls.recv(1 << 16)
                sent += 1
            except Exception:
                await scenario.sleep(0)
    scenario.record("received", factory.built[0].received, len(peer.received))
    if records:
        after = (records.bytesReceived, records.bytesSent)
        scenario.record("moved", [b - a for a, b in zip(before, after, strict=True)])
    scenario.figures["calls"] = len(calls)
    scenario.figures["records"] = sent
    peer.tls.shutdown()
    peer.flush()
    await scenario.until(lambda: factory.built[0].reason)
    scenario.record("released", getattr(below, "_tlsRecords", None))
    peer.close()
    await scenario.stop(port)


scenario = Scenario()
scenario.run(main)
