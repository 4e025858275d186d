"""Descriptors that are closed behind the reactor's back, while others go on."""

from __future__ import annotations

import os
import socket
from typing import Any

from scenario import Recorder, Scenario, connect, factory_of
from twisted.internet.abstract import FileDescriptor

scenario = Scenario()
reactor = scenario.reactor


class Descriptor(FileDescriptor):
    """One end of a socket pair."""

    def __init__(self, label: str) -> None:
        super().__init__(reactor)
        self.label = label
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        # Full, so that the system has nothing to say about writing either.
        try:
            while True:
                self.near.send(b"x" * 4096)
        except BlockingIOError:
            pass

    def fileno(self) -> int:
        return self.near.fileno()

    def doRead(self) -> Any:
        scenario.record(self.label, "reads")
        return OSError("there is nothing to read")

    def doWrite(self) -> Any:
        scenario.record(self.label, "writes")
        return OSError("there is no room to write")

    def connectionLost(self, reason: Any) -> None:
        scenario.record(self.label, "lost", reason)

    def is_watched(self) -> bool:
        return self in reactor.getReaders() + reactor.getWriters()


async def close_one(label: str, add: str, by_number: bool) -> None:
    """Watch a descriptor, close it, and see what becomes of it and of the others."""
    descriptor = Descriptor(label)
    # Nobody may take the number meanwhile.
    getattr(reactor, add)(descriptor)
    await scenario.sleep(0.01)
    if by_number:
        os.close(descriptor.near.fileno())
    else:
        descriptor.near.close()
    await scenario.sleep(0.03)
    scenario.record(label, "is watched", descriptor.is_watched())
    reactor.removeReader(descriptor)
    reactor.removeWriter(descriptor)
    if by_number:
        descriptor.near.detach()
    descriptor.far.close()


async def main(scenario: Scenario) -> None:
    server = Recorder(scenario)
    port = scenario.listen(factory_of(lambda: server))
    peer = connect(port)
    for add in ("addReader", "addWriter"):
        await close_one(f"{add}, by number", add, True)
        await close_one(f"{add}, by its object", add, False)
        peer.send(b"x")
        received = server.received + 1
        await scenario.until(lambda expected=received: server.received == expected)
        scenario.record("the others have heard", server.received)
    peer.close()
    await scenario.until(lambda: server.reason)
    await scenario.stop(port)


scenario.run(main)
