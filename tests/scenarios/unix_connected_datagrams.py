"""UNIX datagram ports with one peer: connecting, both ways, errors of all kinds, and the end."""

import errno
import os
import socket
import stat
import tempfile

from scenario import Scenario
from twisted.internet.protocol import ConnectedDatagramProtocol, DatagramProtocol
from twisted.logger import formatEvent, globalLogPublisher


class Client(ConnectedDatagramProtocol):
    """Records its calls; raises the next of `errors` after each datagram."""

    noisy = False

    def __init__(self, scenario, errors=()):
        self.scenario = scenario
        self.errors = list(errors)
        self.received = 0

    def startProtocol(self):
        self.scenario.record("client", "startProtocol")

    def stopProtocol(self):
        self.scenario.record("client", "stopProtocol", self.transport is None)

    def datagramReceived(self, *arguments):
        self.received += 1
        (data,) = arguments
        self.scenario.record("client", "received", len(data), bytes(data[:8]))
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error

    def connectionRefused(self):
        self.scenario.record("client", "connectionRefused")

    def connectionFailed(self, reason):
        self.scenario.record("client", "connectionFailed", reason)


def raw(name):
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    peer.bind(name)
    peer.settimeout(10)
    return peer


async def failing(scenario, path):
    """Nobody is there, the own name is taken, the protocol is of another kind."""
    connect = scenario.reactor.connectUNIXDatagram
    port = scenario.attempt("nobody", connect, path, Client(scenario))
    scenario.attempt("protocol", lambda: port.protocol)
    await scenario.until(lambda: not port.connected)
    with raw(path):
        port = scenario.attempt("taken", connect, path, Client(scenario), bindAddress=path)
        scenario.attempt("handle", port.getHandle)
        scenario.attempt("other protocol", connect, path, DatagramProtocol())
        scenario.attempt("long name", connect, "/" * 200, Client(scenario))
        await scenario.sleep(0.01)
    os.unlink(path)


async def both_ways(scenario, path):
    for own, mode in [(path + "-own", 0o600), (path + "-bytes", 0o640), ("\0ropewalk-own", 0o666)]:
        with raw(path) as peer:
            bound = own.encode() if own.endswith("bytes") else own
            client = Client(scenario)
            port = scenario.reactor.connectUNIXDatagram(path, client, 8192, mode, bound)
            scenario.record(port.getHost(), port.getPeer(), client.transport is port)
            if os.path.exists(own):
                scenario.record("mode", oct(stat.S_IMODE(os.stat(own).st_mode)))
            for size in [0, 1, 8192, 8193, 60_000]:
                scenario.record("written", port.write(b"x" * size))
                data, sender = peer.recvfrom(1 << 20)
                scenario.record("peer", len(data), sender)
                before = client.received
                peer.sendto(data[:8200], own)
                await scenario.until(lambda c=client, b=before: c.received > b)
            misuse(scenario, port)
            await port.stopListening()
            scenario.attempt("write after stop", port.write, b"x")
            scenario.attempt("stop after stop", port.stopListening)
            scenario.record(os.path.exists(own), port.fileno())
        os.unlink(path)


def misuse(scenario, port):
    for label, arguments, keywords in [
        ("text", ("text",), {}),
        ("None", (None,), {}),
        ("nothing", (), {}),
        ("two", (b"x", port.remoteaddr), {}),
        ("bytearray", (bytearray(b"four"),), {}),
        ("too much", (b"x" * 10_000_000,), {}),
        ("keyword", (), {"data": b"x"}),
        ("another keyword", (), {"datagram": b"x"}),
    ]:
        scenario.attempt(f"write {label}", port.write, *arguments, **keywords)
    scenario.attempt("writeSequence", port.writeSequence, [b"a"])


async def full(scenario, path):
    """A peer that does not read has datagrams dropped, and gets what is sent after it has read."""
    with raw(path) as peer:
        port = scenario.reactor.connectUNIXDatagram(path, Client(scenario))
        sent = 0
        while (written := port.write(b"x" * 1000)) is not None and sent < 100_000:
            sent += 1
        scenario.record("full", type(written).__name__, sent > 0)
        for _ in range(sent):
            peer.recv(2000)
        scenario.record("room", port.write(b"more"), peer.recv(2000).decode())
        await port.stopListening()
    os.unlink(path)


async def gone(scenario, path):
    """The peer closes its socket."""
    peer = raw(path)
    port = scenario.reactor.connectUNIXDatagram(path, Client(scenario))
    peer.close()
    for _ in range(2):
        scenario.attempt("write", port.write, b"x")
    await scenario.sleep(0.01)
    scenario.record("connected", bool(port.connected))
    await scenario.stop(port)
    os.unlink(path)


async def raising(scenario, path):
    """What a protocol raises is logged, or taken for an error of the socket."""
    again, broken = OSError(errno.EAGAIN, "mine"), OSError(errno.EIO, "mine")
    refused = OSError(errno.ECONNREFUSED, "mine")
    for errors in [[KeyError(1), None, KeyError(2)], [again, refused, SystemExit(3)], [broken]]:
        own = path + "-own"
        with raw(path) as peer:
            client = Client(scenario, errors)
            port = scenario.reactor.connectUNIXDatagram(path, client, 3, bindAddress=own)
            for number in range(5):
                peer.sendto(b"%d-long" % number, own)
            await scenario.until(lambda c=client, p=port: c.received == 5 or not p.connected)
            scenario.record("connected", bool(port.connected), client.received)
            await scenario.stop(port)
        for name in (path, own):
            os.unlink(name)


def observe(scenario):
    def observer(event):
        text = formatEvent(event)
        if "starting on" in text or "Closed)" in text:
            scenario.record("log", text)

    globalLogPublisher.addObserver(observer)


async def main(scenario):
    observe(scenario)
    for module in ("ropewalk.unix", "twisted.internet.unix"):
        scenario.name(module, "unix")
    with tempfile.TemporaryDirectory() as directory:
        scenario.name(directory, "DIRECTORY")
        for part in (failing, both_ways, full, gone, raising):
            scenario.record("part", part.__name__)
            await part(scenario, os.path.join(directory, part.__name__))


scenario = Scenario()
scenario.run(main)
