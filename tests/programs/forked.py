"""Forks around a reactor that both processes go on with, and prints what each of them saw."""

from __future__ import annotations

import json
import os
import socket
import sys
from importlib import import_module
from typing import Any

import_module("ropewalk." + sys.argv[1]).install()

from twisted.internet import reactor  # noqa: E402
from twisted.internet.abstract import FileDescriptor  # noqa: E402


class Listening(FileDescriptor):
    """Notes what it reads."""

    def __init__(self) -> None:
        super().__init__(reactor)
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.heard: list[str] = []

    def fileno(self) -> int:
        return self.near.fileno()

    def doRead(self) -> None:
        self.heard.append(self.near.recv(100).decode())


def turn(seconds: float = 0.05) -> None:
    """Turn until a delayed call."""
    over: list[bool] = []
    reactor.callLater(seconds, over.append, True)
    while not over:
        reactor.iterate(0.01)


def pollers() -> int:
    """How many epoll descriptors this process has."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{name}") == "anon_inode:[eventpoll]"
        except FileNotFoundError:
            pass
    return count


def waker_pipe() -> int:
    """Which pipe the waker has."""
    assert os.fstat(reactor.waker.i).st_ino == os.fstat(reactor.waker.o).st_ino
    return os.fstat(reactor.waker.i).st_ino


def go_on(role: str) -> dict[str, Any]:
    """Be one of the two processes."""
    numbers = [reactor.waker.i, reactor.waker.o]
    reactor.afterDaemonize()
    own = Listening()
    reactor.addReader(own)
    own.far.send(role.encode())
    turn()
    woken: list[str] = []
    reactor.callFromThread(woken.append, role)
    turn()
    return {
        "own": own.heard,
        "early": early.heard,
        "woken": woken,
        "pollers": pollers(),
        "pipe": waker_pipe(),
        "same numbers": numbers == [reactor.waker.i, reactor.waker.o],
    }


early = Listening()
reactor.addReader(early)
turn(0.0)
before = {"pollers": pollers(), "pipe": waker_pipe()}
reactor.beforeDaemonize()
released = pollers()
from_child, to_parent = os.pipe()
child = os.fork()
if child == 0:
    found = go_on("child")
    os.write(to_parent, json.dumps(found).encode())
    os._exit(0)
os.close(to_parent)
found = go_on("parent")
text = b""
while part := os.read(from_child, 1 << 16):
    text += part
os.close(from_child)
os.waitpid(child, 0)
# The child is gone. What it closed or forgot is not this process's, which hears what comes now.
early.far.send(b"later")
turn()
found["early"] = early.heard
print(
    json.dumps({"before": before, "released": released, "parent": found, "child": json.loads(text)})
)
