"""Sockets that several processes share, and sockets that a service manager passes on."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support import ROOT, environment_of

PROGRAMS = ROOT / "tests" / "programs"

#: What `systemd-socket-activate` does, for sockets that the caller has opened: LISTEN_PID has to
#: name the process that is to have them.
ACTIVATE = """
import os, sys
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2", LISTEN_FDNAMES="web:local")
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@contextmanager
def running(command: list[str], **options) -> Iterator[subprocess.Popen[str]]:
    """A process that is ended with the block."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, **options
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_two_processes_share_one_port(reactor_name: str) -> None:
    command = [sys.executable, str(PROGRAMS / "sharing_a_port.py"), reactor_name]
    environment = environment_of(reactor_name)
    with running([*command, "0"], env=environment) as first:
        port, module = first.stdout.readline().split()
        assert module == "ropewalk.tcp"
        with running([*command, port], env=environment) as second:
            assert second.stdout.readline().split() == [port, module]
            answered = set()
            # The system spreads connections by a hash of their addresses.
            for _ in range(200):
                with socket.create_connection(("127.0.0.1", int(port)), 30) as client:
                    answered.add(int(client.makefile().readline()))
                if len(answered) == 2:
                    break
            assert answered == {first.pid, second.pid}


def echoes(client: socket.socket) -> None:
    client.settimeout(30)
    client.sendall(b"hello")
    with client.makefile("rb") as answer:
        assert answer.read(5) == b"hello"


@contextmanager
def opened(tmp_path: Path) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A TCP and a UNIX socket that listen, as a service manager opens them."""
    with socket.socket() as web, socket.socket(socket.AF_UNIX) as local:
        web.bind(("127.0.0.1", 0))
        local.bind(str(tmp_path / "socket"))
        web.listen()
        local.listen()
        yield web, local


def test_sockets_of_a_service_manager_are_adopted_by_name(
    reactor_name: str, tmp_path: Path
) -> None:
    def pass_on() -> None:
        # From 3 on, and in this order. The sources are moved out of the way first.
        numbers = [os.dup2(number, 100 + index) for index, number in enumerate(sources)]
        for index, number in enumerate(numbers):
            os.dup2(number, 3 + index)

    with opened(tmp_path) as (web, local):
        sources = [web.fileno(), local.fileno()]
        command = [
            *(sys.executable, "-c", ACTIVATE, str(PROGRAMS / "activated.py"), reactor_name),
            *("systemd:domain=INET:name=web", "systemd:domain=UNIX:name=local"),
        ]
        options = {"close_fds": False, "preexec_fn": pass_on}
        with running(command, env=environment_of(reactor_name), **options) as server:
            modules = {server.stdout.readline().split()[0] for _ in range(2)}
            assert modules == {"ropewalk.tcp", "ropewalk.unix"}
            with socket.create_connection(web.getsockname()) as client:
                echoes(client)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(local.getsockname())
                echoes(client)


@pytest.mark.skipif(
    shutil.which("systemd-socket-activate") is None, reason="systemd-socket-activate is missing"
)
def test_systemd_activates_a_server(reactor_name: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *("systemd-socket-activate", f"--listen=127.0.0.1:{port}", "--fdname=web"),
        *(f"--setenv={name}={value}" for name, value in environment_of(reactor_name).items()),
        *(sys.executable, str(PROGRAMS / "activated.py"), reactor_name),
        "systemd:domain=INET:name=web",
    ]
    with running(command, stderr=subprocess.DEVNULL):
        client = connect_when_there(port)
        with client:
            echoes(client)


def connect_when_there(port: int) -> socket.socket:
    """Connects as soon as somebody listens."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 30)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.01)
