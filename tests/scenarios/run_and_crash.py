"""Run, crash and run again, a thousand times, with a connection each time."""

import gc

from scenario import Recorder, Scenario, connect, descriptors, factory_of

TIMES = 1000


class Once(Recorder):
    """Stops the turn's run when its peer has gone."""

    def connectionMade(self):
        self.transport.write(b"hello")

    def connectionLost(self, reason):
        scenario.reactor.crash()


def once():
    factory = factory_of(lambda: Once(scenario))
    port = scenario.listen(factory)
    peer = connect(port)
    peer.sendall(b"data")
    peer.close()
    scenario.reactor.run()
    stopped = port.stopListening()
    while not stopped.called:
        scenario.reactor.iterate(0)


def measure():
    gc.collect()
    return len(gc.get_objects()), len(descriptors())


scenario = Scenario()
for _ in range(100):
    once()
objects, numbers = measure()
for _ in range(TIMES - 100):
    once()
objects_now, numbers_now = measure()
scenario.figures["objects"] = objects_now - objects
scenario.figures["descriptors"] = numbers_now - numbers
scenario.record("readers", len(scenario.reactor.getReaders()))
scenario.record("writers", len(scenario.reactor.getWriters()))
scenario.record("delayed calls", len(scenario.reactor.getDelayedCalls()))
scenario.record("times", TIMES)
scenario.finish()
