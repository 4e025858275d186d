"""A peer that sends, then resets; what it sent is read first, although a write failed before."""

from scenario import Recorder, Scenario, connect, factory_of, reset

SENT = 60_000  # What one read takes: Twisted loses what is beyond.


class Paused(Recorder):
    """Does not read until it is told to."""

    def connectionMade(self):
        super().connectionMade()
        self.total = 0
        self.transport.pauseProducing()

    def dataReceived(self, data):
        self.total += len(data)


async def main(scenario):
    factory = factory_of(lambda: Paused(scenario))
    port = scenario.listen(factory)
    peer = connect(port)
    await scenario.until(lambda: factory.built and factory.built[0].transport)
    server = factory.built[0]
    peer.sendall(b"x" * SENT)
    reset(peer)
    await scenario.sleep(0.05)
    server.transport.resumeProducing()
    server.transport.write(b"too late")
    scenario.record("lost", await scenario.until(lambda: server.reason, 2))
    scenario.record("received", server.total)
    await scenario.stop(port)


scenario = Scenario()
scenario.run(main)
