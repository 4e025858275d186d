"""Three hundred reactors, each used and then collected."""

import gc
import weakref

from scenario import Recorder, Scenario, connect, descriptors, factory_of

REACTORS = 300


def use(reactor_class):
    """A reactor with a port, a connection and a delayed call that nobody cleans up."""
    reactor = reactor_class()
    factory = factory_of(lambda: Recorder(scenario))
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    call = reactor.callLater(1000, reactor.stop)
    with connect(port) as peer:
        peer.sendall(b"data")
        while not factory.built or not factory.built[0].received:
            reactor.iterate(0.01)
    gone = [weakref.ref(reactor), weakref.ref(port), weakref.ref(factory.built[0])]
    del call
    return gone


def collect():
    """Collect until nothing is left to: some objects become garbage by a collection."""
    while gc.collect():
        pass


scenario = Scenario()
reactor_class = type(scenario.reactor)
use(reactor_class)
collect()
before = len(descriptors())
alive = []
for _ in range(REACTORS):
    alive += use(reactor_class)
collect()
scenario.events.clear()
scenario.figures["descriptors"] = len(descriptors()) - before
scenario.figures["alive"] = sum(reference() is not None for reference in alive)
scenario.finish()
