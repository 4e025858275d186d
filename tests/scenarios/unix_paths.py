"""UNIX streams by path and by abstract name: locks, modes, errors, and socat at the other end."""

import os
import select
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

from scenario import Recorder, Scenario, factory_of
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure

# Listens with a lock, says so and waits to be killed.
LOCKED = """
import sys
from twisted.application.reactors import installReactor
reactor = installReactor(sys.argv[1])
from twisted.internet.protocol import Factory
reactor.listenUNIX(sys.argv[2], Factory(), wantPID=True)
reactor.callWhenRunning(lambda: print("listening", flush=True))
reactor.run()
"""


class Echo(Recorder):
    """Sends back what it receives."""

    def connectionMade(self):
        super().connectionMade()
        self.scenario.record("peer", repr(self.transport.getPeer()), repr(self.transport))
        self.scenario.record("host", repr(self.transport.getHost()))

    def dataReceived(self, data):
        super().dataReceived(data)
        self.transport.write(data)


def connector_of(scenario, label, closes=False):
    """A client factory that says how connecting goes."""

    class Client(Recorder):
        def connectionMade(self):
            super().connectionMade()
            self.scenario.record(label, repr(self.transport.getPeer()))
            if closes:
                self.transport.loseConnection()

    built = factory_of(lambda: Client(scenario, label))
    factory = ClientFactory()
    factory.noisy = False
    factory.built = built.built
    factory.failed = []
    factory.buildProtocol = built.buildProtocol

    def failed(connector, reason):
        factory.failed.append(reason)
        scenario.record(label, "failed", reason)

    factory.clientConnectionFailed = failed
    return factory


async def connect(scenario, path, label, **kw):
    factory = connector_of(scenario, label, closes=True)
    scenario.reactor.connectUNIX(path, factory, **kw)
    await scenario.until(
        lambda: factory.failed or (factory.built and factory.built[0].reason is not None)
    )


def listen(scenario, label, path, factory, **kw):
    try:
        port = scenario.reactor.listenUNIX(path, factory, **kw)
    except CannotListenError:
        scenario.record(label, "cannot listen", Failure())
        return None
    scenario.record(label, "listens", repr(port.getHost()))
    return port


async def locks(scenario, path):
    factory = factory_of(lambda: Recorder(scenario))
    await connect(scenario, path, "nobody there")
    await connect(scenario, path, "nobody there, lock wanted", checkPID=1)
    command = [sys.executable, "-c", LOCKED, sys.argv[1], path]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE)
    holder.stdout.readline()
    listen(scenario, "lock held", path, factory, wantPID=1)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    scenario.record("left", os.path.lexists(path), os.path.lexists(path + ".lock"))
    listen(scenario, "no lock, stale path", path, factory)
    port = listen(scenario, "stale lock", path, factory, wantPID=1, mode=0o640)
    scenario.record("mode", oct(stat.S_IMODE(os.stat(path).st_mode)))
    listen(scenario, "path in use", path, factory)
    await connect(scenario, path, "lock held", checkPID=1)
    await scenario.until(lambda: factory.built and factory.built[0].reason)
    await scenario.stop(port)
    scenario.record("left", os.path.lexists(path), os.path.lexists(path + ".lock"))


async def addresses(scenario, path):
    """Peers with a path, with an abstract name and with none."""
    name = f"\0ropewalk-{os.getpid()}"
    scenario.name(os.getpid(), "PID")
    for address in (path, name):
        factory = factory_of(lambda: Echo(scenario))
        port = listen(scenario, "echo", address, factory)
        for own in (None, path + "-peer", name + "-peer"):
            peer = socket.socket(socket.AF_UNIX)
            if own is not None:
                peer.bind(own)
            peer.connect(address)
            peer.send(b"abc")
            await scenario.until(lambda f=factory: f.built and f.built[-1].received)
            await scenario.until(lambda p=peer: select.select([p], [], [], 0)[0])
            scenario.record("answer", peer.recv(10).decode())
            peer.close()
            await scenario.until(lambda f=factory: f.built[-1].reason)
            if own == path + "-peer":
                os.unlink(own)
        await connect(scenario, address, "client")
        await scenario.until(lambda f=factory: f.built[-1].reason)
        await scenario.stop(port)


async def socat(scenario, path):
    """socat as client and as server, by path and by abstract name, with endpoints."""
    for kind in ("UNIX", "ABSTRACT"):
        name = path if kind == "UNIX" else f"ropewalk-{os.getpid()}-s"
        address = name if kind == "UNIX" else "\0" + name
        factory = factory_of(lambda: Echo(scenario))
        port = scenario.reactor.listenUNIX(address, factory)
        client = subprocess.Popen(
            ["socat", "-t5", "-", f"{kind}-CONNECT:{name}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        client.stdin.write(b"x" * 30_000)
        client.stdin.flush()
        os.set_blocking(client.stdout.fileno(), False)
        echoed = []
        await scenario.until(
            lambda c=client, e=echoed: (
                e.append(c.stdout.read() or b"") or sum(map(len, e)) == 30_000
            )
        )
        scenario.record("echoed", sum(map(len, echoed)))
        client.stdin.close()
        await scenario.until(lambda f=factory: f.built and f.built[0].reason)
        await scenario.until(lambda c=client: c.poll() is not None)
        scenario.record("ended", client.returncode)
        client.stdout.close()
        await scenario.stop(port)

        server = subprocess.Popen(
            ["socat", f"{kind}-LISTEN:{name}", "SYSTEM:printf hello; wc -c"],
        )
        connecting = connector_of(scenario, "client")
        await scenario.until(lambda n=name: listens(n))
        scenario.reactor.connectUNIX(address, connecting)
        await scenario.until(lambda c=connecting: c.built and c.built[0].received == 5)
        protocol = connecting.built[0]
        protocol.transport.write(b"y" * 70_000)
        protocol.transport.loseWriteConnection()
        await scenario.until(lambda p=protocol: p.reason)
        await scenario.until(lambda s=server: s.poll() is not None)
        scenario.record("server", server.returncode)


def listens(name):
    """Whether somebody listens there; the flag is __SO_ACCEPTCON."""
    lines = Path("/proc/net/unix").read_text().splitlines()
    return any(line.endswith(name) and line.split()[3] == "00010000" for line in lines)


async def endpoints(scenario, path):
    factory = factory_of(lambda: Echo(scenario))
    endpoint = serverFromString(scenario.reactor, f"unix:{path}:mode=600:lockfile=1")
    port = await endpoint.listen(factory)
    scenario.record(
        "mode", oct(stat.S_IMODE(os.stat(path).st_mode)), os.path.lexists(path + ".lock")
    )
    client = clientFromString(scenario.reactor, f"unix:path={path}:lockfile=1")
    protocol = await client.connect(factory_of(lambda: Recorder(scenario, "client")))
    protocol.transport.write(b"abc")
    await scenario.until(lambda: protocol.received == 3)
    protocol.transport.abortConnection()
    await scenario.until(lambda: factory.built[0].reason)
    await scenario.stop(port)


async def main(scenario):
    with tempfile.TemporaryDirectory() as directory:
        scenario.name(directory, "DIRECTORY")
        for part in (locks, addresses, socat, endpoints):
            scenario.record("part", part.__name__)
            await part(scenario, os.path.join(directory, part.__name__))
            scenario.record("files", sorted(os.listdir(directory)))


scenario = Scenario()
scenario.run(main)
