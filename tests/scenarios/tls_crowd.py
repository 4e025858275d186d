"""Ten thousand clients that say hello over TLS and go before the handshake is over.

Arguments: the kind of the server's TLS, as `tls_peers.wrapped` takes it.
"""

import gc
import resource
import select
from pathlib import Path

import scenario as scenarios
from OpenSSL import SSL
from scenario import Scenario, connect, descriptors, reset
from tls_peers import Peer, server
from twisted.internet.protocol import Factory, Protocol

#: For a machine that is slow.
scenarios.TIME_LIMIT = 80

#: How many clients are there at once, and how often.
CROWD, WAVES = 500, 20


class Counter(Protocol):
    """An echo server that counts its connections."""

    counts = {"made": 0, "lost": 0}

    def connectionMade(self):
        self.counts["made"] += 1

    def dataReceived(self, data):
        self.transport.write(data)

    def connectionLost(self, reason=None):
        self.counts["lost"] += 1


def resident() -> int:
    """The memory of this process, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def hello() -> bytes:
    """What a client says first."""
    tls = SSL.Connection(SSL.Context(SSL.TLS_METHOD))
    tls.set_connect_state()
    try:
        tls.do_handshake()
    except SSL.WantReadError:
        return tls.bio_read(1 << 16)


def allow_descriptors() -> None:
    """Two for each client, and some more."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * CROWD + 200
    if now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


async def wave(scenario, port, words, answered, leave):
    """A crowd that says `words`, is heard, and leaves; how much memory there was before that."""
    counts = Counter.counts
    made, lost = counts["made"], counts["lost"]
    peers = []
    for _ in range(CROWD):
        peer = connect(port)
        peer.sendall(words)
        peers.append(peer)
        if len(peers) % 25 == 0:
            # The port's backlog is 50.
            await scenario.until(lambda: counts["made"] == made + len(peers))
    await scenario.until(lambda: counts["made"] == made + CROWD)
    if answered:
        await scenario.until(lambda: all(select.select([peer], [], [], 0)[0] for peer in peers))
    held = resident()
    for peer in peers:
        leave(peer)
    await scenario.until(lambda: counts["lost"] == lost + CROWD)
    return held


async def main(scenario):
    allow_descriptors()
    factory = Factory.forProtocol(Counter)
    factory.noisy = False
    port = scenario.listen(server(scenario, factory, scenario.arguments[0]))
    good = Peer(scenario, port)
    await good.handshake()
    good.write(b"before")
    await good.wait_for(b"before")
    open_before, calls_before = len(descriptors()), len(scenario.reactor.getDelayedCalls())
    words = hello()
    nobody, memory = resident(), []
    for number in range(WAVES):
        whole = bool(number % 2)
        said = words if whole else words[: len(words) // 2]
        leave = reset if number % 4 < 2 else lambda peer: peer.close()
        held = await wave(scenario, port, said, whole, leave)
        if number == 1:
            scenario.figures["KiB of each"] = (held - nobody) / CROWD
        gc.collect()
        memory.append(resident())
    scenario.record("heard", Counter.counts["made"], Counter.counts["lost"])
    scenario.record("descriptors", len(descriptors()) - open_before)
    scenario.record("calls", len(scenario.reactor.getDelayedCalls()) - calls_before)
    # The first waves make room that the others use again.
    scenario.figures["KiB more"] = memory[-1] - memory[3]
    good.write(b", and still here")
    await good.wait_for(b"still here")
    scenario.record("good", bytes(good.received).decode())
    good.close()
    await scenario.stop(port)


Scenario().run(main)
