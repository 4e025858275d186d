"""asyncio and Twisted, both always busy: neither may starve the other."""

from __future__ import annotations

from asyncio_support import install, report

loop = install()

from twisted.internet import reactor  # noqa: E402
from twisted.internet.protocol import Factory, Protocol  # noqa: E402

ENOUGH = 3000
counts = dict.fromkeys(("call_soon", "task", "callLater", "callFromThread", "echoes"), 0)
at_first_end: dict[str, int] = {}


def count(name: str) -> bool:
    """Count; whether to go on."""
    counts[name] += 1
    if counts[name] == ENOUGH and not at_first_end:
        at_first_end.update(counts)
    if min(counts.values()) >= ENOUGH and reactor.running:
        reactor.callWhenRunning(stop)
    return reactor.running


def stop() -> None:
    if not stopping:
        stopping.append(True)
        reactor.stop()


stopping: list[bool] = []


def soon() -> None:
    if count("call_soon"):
        loop.call_soon(soon)


async def task() -> None:
    import asyncio

    while count("task"):
        await asyncio.sleep(0)


def later() -> None:
    if count("callLater"):
        reactor.callLater(0, later)


def thread_call() -> None:
    if count("callFromThread"):
        reactor.callFromThread(thread_call)


class Echo(Protocol):
    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class Client(Protocol):
    def connectionMade(self) -> None:
        self.transport.write(b"x")

    def dataReceived(self, data: bytes) -> None:
        if count("echoes"):
            self.transport.write(data)


class ClientFactory(Factory):
    protocol = Client
    noisy = False

    def startedConnecting(self, connector) -> None:
        pass

    def clientConnectionLost(self, connector, reason) -> None:
        pass


def start() -> None:
    server = Factory.forProtocol(Echo)
    server.noisy = False
    port = reactor.listenTCP(0, server, interface="127.0.0.1")
    reactor.connectTCP("127.0.0.1", port.getHost().port, ClientFactory())
    loop.call_soon(soon)
    tasks.append(loop.create_task(task()))
    later()
    thread_call()


tasks: list = []
reactor.callWhenRunning(start)
reactor.run()
report(counts=counts, at_first_end=at_first_end)
