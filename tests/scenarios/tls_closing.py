"""TLS: how connections end."""

import socket
import sys

from scenario import Recorder, Scenario, factory_of, reset
from tls_peers import KINDS, Peer, digest, server

BIG = b"b" * 3_000_000


class Server(Recorder):
    """Does what a command says, when it has come whole."""

    def __init__(self, scenario):
        super().__init__(scenario)
        self.data = b""

    def dataReceived(self, data):
        super().dataReceived(data)
        self.data += data
        while b"." in self.data:
            command, _, self.data = self.data.partition(b".")
            getattr(self, f"do_{command.decode()}", self.do_nothing)()

    def do_nothing(self):
        self.scenario.record("server", "got a sentence")

    def do_answer(self):
        self.transport.write(b"answer")

    def do_lose(self):
        self.transport.write(b"farewell")
        self.transport.loseConnection()
        self.transport.write(b"after loseConnection")

    def do_lose_much(self):
        self.transport.write(BIG)
        self.transport.loseConnection()

    def do_answer_much(self):
        self.transport.write(BIG)

    def do_nest(self):
        """Turns the reactor from within, with more for this connection to be read."""
        self.scenario.meanwhile()
        for _ in range(3):
            self.scenario.reactor.iterate(0)
        self.scenario.record("server", "has nested", self.data)

    def do_abort(self):
        self.transport.write(b"never seen, perhaps")
        self.transport.abortConnection()
        self.transport.write(b"never seen")
        self.transport.loseConnection()

    def do_raise(self):
        self.transport.write(b"before the exception")
        raise ValueError("of dataReceived")

    def do_raise_after_lose(self):
        self.transport.loseConnection()
        raise ValueError("after loseConnection")

    def do_fail(self):
        from twisted.python.failure import Failure

        self.transport.failVerification(Failure(ValueError("not verified")))


async def case(scenario, name, steps):
    """One connection: `steps` gets the peer, and the server's end is awaited."""
    scenario.record(f"-- {name}")
    factory = factory_of(lambda: Server(scenario))
    port = scenario.listen(server(scenario, factory, scenario.arguments[0]))
    peer = Peer(scenario, port)
    scenario.record("handshake", await peer.handshake())
    await scenario.until(lambda: factory.built)
    await steps(scenario, peer)
    await scenario.until(lambda: factory.built[0].reason)
    peer.close()
    await scenario.stop(port)


def says(command, *also):
    async def steps(scenario, peer):
        peer.write(command)
        for step in also:
            step(peer)
        end = await peer.wait_for_end()
        scenario.record("peer", len(peer.received), digest(peer.received), end)

    return steps


async def truncates(scenario, peer):
    peer.write(b"answer.")
    await peer.wait_for(b"answer")
    peer.close()


async def breaks_off(scenario, peer):
    peer.write(b"answer.")
    await peer.wait_for(b"answer")
    reset(peer.socket)


async def half_closes(scenario, peer):
    """Says no more, without close_notify, while it is sent much."""
    peer.write(b"answer_much.")
    await scenario.until(lambda: peer.read() or len(peer.received) > 100_000)
    peer.socket.shutdown(socket.SHUT_WR)
    await peer.wait_for_end()


async def closes(scenario, peer):
    peer.write(b"answer.")
    await peer.wait_for(b"answer")
    peer.tls.shutdown()
    peer.flush()
    scenario.record("peer", await peer.wait_for_end())


async def closes_with_data(scenario, peer):
    peer.tls.send(b"answer.")
    peer.tls.shutdown()
    peer.flush()
    scenario.record("peer", await peer.wait_for_end(), bytes(peer.received))


async def closes_with_loss(scenario, peer):
    peer.tls.send(b"lose.")
    peer.tls.shutdown()
    peer.flush()
    scenario.record("peer", await peer.wait_for_end(), bytes(peer.received))


async def garbage(scenario, peer):
    peer.write(b"answer.")
    await peer.wait_for(b"answer")
    peer.socket.sendall(b"\x17\x03\x03\x00\x20" + b"garbage " * 4)
    await peer.wait_for_end()
    scenario.record("peer", peer.end)


async def garbage_with_data(scenario, peer):
    peer.tls.send(b"nothing.")
    peer.socket.sendall(peer.take() + b"no record at all, by no means" * 10)
    await peer.wait_for_end()
    scenario.record("peer", peer.end)


async def pieces(scenario, peer):
    """Records cut anywhere, several at once, and a large one by and by."""
    for word in (b"an", b"sw", b"er"):
        peer.tls.send(word)
    peer.tls.send(b"." + b"x" * 16_000 + b".")
    data = peer.take()
    for start in range(0, len(data), 1009):
        peer.socket.sendall(data[start : start + 1009])
        await scenario.sleep(0)
    peer.write(b"lose.")
    peer.write(b"answer.")
    scenario.record("peer", await peer.wait_for_end(), digest(peer.received))


async def nested(scenario, peer):
    """What comes meanwhile is delivered by a turn inside of `dataReceived`."""
    scenario.meanwhile = lambda: peer.write(b"answer.lose.")
    peer.write(b"nest.")
    scenario.record("peer", await peer.wait_for_end(), bytes(peer.received))


async def stops_reading(scenario, peer):
    """Loses the connection while the server has much to send; what came is read to no end."""
    peer.write(b"answer_much.")
    await scenario.until(lambda: peer.read() or len(peer.received) > 100_000)
    reset(peer.socket)


async def main(scenario):
    await case(scenario, "loseConnection", says(b"lose."))
    await case(scenario, "loseConnection with much to send", says(b"lose_much."))
    await case(scenario, "abortConnection", aborts)
    await case(scenario, "exception", raises)
    await case(scenario, "exception after loseConnection", says(b"raise_after_lose."))
    await case(scenario, "failVerification", aborts_by(b"fail."))
    for steps in (truncates, breaks_off, half_closes):
        await case(scenario, steps.__name__, steps)
    for steps in (closes, closes_with_data, closes_with_loss):
        await case(scenario, steps.__name__, steps)
    for steps in (garbage, garbage_with_data, pieces, nested, stops_reading):
        await case(scenario, steps.__name__, steps)


def aborts_by(command):
    async def steps(scenario, peer):
        peer.write(command)
        # What was written before may have left.
        await peer.wait_for_end()
        scenario.record("peer", "was aborted", peer.end in ("Connection reset by peer", "cut"))

    return steps


aborts = aborts_by(b"abort.")


async def raises(scenario, peer):
    peer.write(b"raise.")
    await peer.wait_for_end()


assert sys.argv[2] in KINDS
scenario = Scenario()
scenario.run(main)
