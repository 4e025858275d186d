"""Nothing of a TLS connection outlives it, whichever way it ends and whatever a program keeps."""

import gc
import weakref

from scenario import Recorder, Scenario, factory_of
from tls_peers import Peer, server


class Server(Recorder):
    def connectionMade(self):
        self.kept = self.transport.write

    def dataReceived(self, data):
        super().dataReceived(data)
        self.transport.write(data)
        if data == b"lose":
            self.transport.loseConnection()
        elif data == b"abort":
            self.transport.abortConnection()
        elif data == b"raise":
            raise ValueError("of dataReceived")


async def case(scenario, word):
    """One connection; answers weak references to its parts, and what a program may keep."""
    scenario.record(f"-- {word}")
    factory = factory_of(lambda: Server(scenario))
    port = scenario.listen(server(scenario, factory))
    peer = Peer(scenario, port)
    await peer.handshake()
    peer.write(b"hello")
    await peer.wait_for(b"hello")
    protocol = factory.built.pop()
    layer = protocol.transport
    parts = {
        "protocol": protocol,
        "layer": layer,
        "stream": layer.transport,
        "connection": layer.getHandle(),
    }
    references = {name: weakref.ref(part) for name, part in parts.items()}
    kept = [protocol.kept, layer.write]
    peer.write(word)
    await peer.wait_for_end()
    peer.close()
    await scenario.until(lambda: protocol.reason)
    await scenario.stop(port)
    return references, kept


async def main(scenario):
    for word in (b"lose", b"abort", b"raise"):
        references, kept = await case(scenario, word)
        for keeps in (True, False):
            if not keeps:
                del kept
            await scenario.sleep(0)
            gc.collect()
            left = {name for name, reference in references.items() if reference() is not None}
            if keeps:
                # What was kept are methods of the layer.
                left -= {"layer", "stream"}
            scenario.record("left", keeps, sorted(left))


scenario = Scenario()
scenario.run(main)
