"""The workloads: each runs one server once and returns named figures.

CPU time is the server's alone, read while it sleeps before and after the measured part.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.process import CLIENT_CPU, SERVER_CPU, Child, ChildError
from harness.servers import DATAGRAMS, HOSTED, POLLERS, TLS, Server

Figures = dict[str, float]


class NotApplicable(Exception):
    """The server has nothing that the workload measures."""


@dataclass(frozen=True)
class Settings:
    """``load`` is the client's path; the others say how long and how large."""

    load: str
    seconds: float
    megabytes: int
    idle: int
    #: A PEM file, and why there may be none.
    certificate: str
    no_certificate: str | None
    #: Numbers of idle connections, ascending.
    curve: tuple[int, ...] = (0, 1000, 10_000)
    #: Children made one after the other, those alive at once, and files open beside them.
    spawned: int = 3000
    children: int = 2000
    files: int = 5000


@dataclass(frozen=True)
class Workload:
    """``table`` says where its figures are shown."""

    name: str
    title: str
    table: str
    run: Callable[[Server, Settings], Figures]
    #: The servers it is for, in place of the usual ones.
    servers: tuple[str, ...] = ()


def _secured(server: Server, settings: Settings, mode: str) -> tuple[Server, list[str]]:
    """The server with what its mode needs to serve TLS, and the client's options for that."""
    if not mode.startswith("tls-"):
        return server, []
    missing = server.tls().missing or settings.no_certificate
    if missing is not None:
        raise NotApplicable(missing)
    environment = server.environment | {"BENCH_CERTIFICATE": settings.certificate}
    return replace(server, environment=environment), ["--certificate", settings.certificate]


def _serve(server: Server, mode: str, *wrapped: str) -> tuple[Child, str]:
    """A started server, by the command ``wrapped`` if that is given, and its address."""
    if server.serve is None:
        raise NotApplicable("it only makes children here")
    child = Child([*wrapped, *server.serve(mode)], SERVER_CPU, server.environment)
    try:
        words = child.line().split()
        if words[:2] != ["listening", "on"]:
            raise ChildError(f"{server.name} said {' '.join(words)!r}")
    except BaseException:
        child.__exit__()
        raise
    return child, words[2]


def _settle(child: Child, settings: Settings, mode: str, address: str, *options: str) -> None:
    """Lets the server serve and lose connections once before anything is measured.

    A server that has just started may pay what one that has served does not: asyncio's buffers of
    256 KiB, for one, are mapped anew for each read until glibc's allocator has adapted.
    """
    with Child([settings.load, mode, address, *options], CLIENT_CPU) as client:
        client.line()
        client.go_on()
        client.line()


def _drive(server: Child, settings: Settings, mode: str, address: str, *options: str) -> Figures:
    """Runs the client in ``mode`` and adds to its figures what CPU time the server spent."""
    with Child([settings.load, mode, address, *options], CLIENT_CPU) as client:
        client.line()
        before = server.cpu_ns()
        client.go_on()
        figures = client.json()
        spent = server.cpu_ns() - before
    if figures["errors"]:
        raise ChildError(f"{figures['errors']:.0f} connections were lost")
    if not figures["operations"]:
        raise ChildError("no operation was completed")
    figures["cpu_us"] = spent / 1000 / figures["operations"]
    if figures["bytes"]:
        figures["cpu_ms_per_gb"] = spent / 1e6 / (figures["bytes"] / 1e9)
    return figures


def _exchanges(
    mode: str, connections: int, size: int, serve: str = "echo"
) -> Callable[[Server, Settings], Figures]:
    def run(server: Server, settings: Settings) -> Figures:
        server, secure = _secured(server, settings, serve)
        with ExitStack() as held:
            if serve == "unix":
                # A server that is killed leaves its socket behind.
                directory = held.enter_context(TemporaryDirectory())
                environment = server.environment | {"TMPDIR": directory}
                server = replace(server, environment=environment)
            child, address = _serve(server, serve)
            held.enter_context(child)
            options = ["--connections", str(connections), "--size", str(size), *secure]
            _settle(child, settings, mode, address, *options, "--seconds", "0.1")
            options += ["--seconds", str(settings.seconds)]
            return _drive(child, settings, mode, address, *options)

    return run


def _bulk(
    server_mode: str, client_mode: str, share: int = 1
) -> Callable[[Server, Settings], Figures]:
    """One way, by the ``share``-th part of the usual amount."""

    def run(server: Server, settings: Settings) -> Figures:
        server, secure = _secured(server, settings, server_mode)
        child, address = _serve(server, server_mode)
        with child:
            amount = str(settings.megabytes // share)
            _settle(child, settings, client_mode, address, *secure, "--megabytes", "50")
            return _drive(child, settings, client_mode, address, *secure, "--megabytes", amount)

    return run


def _flood(server: Server, settings: Settings) -> Figures:
    """Datagrams from one socket, as fast as they go: what arrives, and what it costs."""
    child, address = _serve(server, "udp-count")
    with child:
        options = ["--size", "64", "--seconds"]
        _settle(child, settings, "flood", address, *options, "0.1")
        figures = _drive(child, settings, "flood", address, *options, str(settings.seconds))
    sent = figures["operations"] + figures["lost"]
    figures["loss_percent"] = figures["lost"] / sent * 100
    figures["per_second"] = figures["operations"] / figures["seconds"]
    return figures


def _calls(serve: str, mode: str) -> Callable[[Server, Settings], Figures]:
    """How many system calls the server makes for a datagram. Counted, not timed: the counting
    makes it slow, so that more datagrams wait for it at once than do otherwise."""

    def run(server: Server, settings: Settings) -> Figures:
        if shutil.which("strace") is None:
            raise NotApplicable("strace is not installed")
        with TemporaryDirectory() as directory:
            counts = Path(directory) / "calls"
            strace = ("strace", "-f", "-c", "-S", "calls", "-o", str(counts))
            child, address = _serve(server, serve, *strace)
            with child:
                options = ["--size", "64", "--seconds", str(settings.seconds)]
                figures = _drive(child, settings, mode, address, *options)
                child.interrupt()
            calls = _total_calls(counts.read_text())
        return {"calls_each": calls / figures["operations"]}

    return run


def _total_calls(table: str) -> int:
    """The sum of the column "calls" of what ``strace -c`` prints, of the calls that do I/O."""
    wanted = {"recvfrom", "recvmsg", "recvmmsg", "sendto", "sendmsg", "sendmmsg"}
    wanted |= {"epoll_wait", "epoll_pwait", "epoll_pwait2", "epoll_ctl", "read", "write"}
    rows = [line.split() for line in table.splitlines()]
    return sum(int(row[3]) for row in rows if len(row) > 4 and row[-1] in wanted)


def _idle(server: Server, settings: Settings) -> Figures:
    """The same load without and with idle connections, on one server process."""
    busy = ["--connections", "50", "--size", "64"]
    child, address = _serve(server, "echo")
    with child:
        _settle(child, settings, "echo", address, *busy, "--seconds", "0.1")
        busy += ["--seconds", str(settings.seconds)]
        alone = _drive(child, settings, "echo", address, *busy)
        memory = child.memory_kib()
        hold = [settings.load, "idle", address, "--connections", str(settings.idle)]
        with Child(hold, CLIENT_CPU) as idle:
            idle.line()
            memory = child.memory_kib() - memory
            beside = _drive(child, settings, "echo", address, *busy)
    return {
        "alone_us": alone["cpu_us"],
        "beside_us": beside["cpu_us"],
        "slower_percent": (beside["cpu_us"] / alone["cpu_us"] - 1) * 100,
        "kib_per_idle": memory / settings.idle,
    }


def _tls_idle(server: Server, settings: Settings) -> Figures:
    """Memory of TLS connections that have shaken hands and do nothing."""
    server, secure = _secured(server, settings, "tls-echo")
    # Handshakes take their time: 1,000 where 9,000 connections without TLS are held.
    count = max(settings.idle // 9, 1)
    kinds = {"private_kib": "Private_Dirty", "rss_kib": "Rss"}
    child, address = _serve(server, "tls-echo")
    with child:
        # What the first connection alone costs is no memory of each.
        once = ["--connections", "1", "--seconds", "0.1"]
        _settle(child, settings, "connect", address, *secure, *once)
        before = {name: child.memory_kib(kind) for name, kind in kinds.items()}
        hold = [settings.load, "idle", address, *secure, "--connections", str(count)]
        with Child(hold, CLIENT_CPU) as idle:
            idle.line()
            return {
                name: (child.memory_kib(kind) - before[name]) / count
                for name, kind in kinds.items()
            }


def _curve(server: Server, settings: Settings) -> Figures:
    """The same load beside more and more idle connections, on one server process."""
    busy = ["--connections", "50", "--size", "64"]
    child, address = _serve(server, "echo")
    with child, ExitStack() as held:
        _settle(child, settings, "echo", address, *busy, "--seconds", "0.1")
        busy += ["--seconds", str(settings.seconds)]
        figures: Figures = {}
        count = 0
        for step, idle in enumerate(settings.curve):
            if idle > count:
                hold = [settings.load, "idle", address, "--connections", str(idle - count)]
                held.enter_context(Child(hold, CLIENT_CPU)).line()
                count = idle
            figures[f"step_{step}_us"] = _drive(child, settings, "echo", address, *busy)["cpu_us"]
    return figures


def _micro(name: str) -> Callable[[Server, Settings], Figures]:
    """A script of its own that prints its figures."""

    def run(server: Server, _: Settings) -> Figures:
        if server.micro is None:
            raise NotApplicable("it has neither timers nor calls from threads")
        with Child(server.micro(name), SERVER_CPU, server.environment) as child:
            return child.json()

    return run


WORKLOADS = [
    Workload("echo-64", "echo, 64 B, 50 connections", "operations", _exchanges("echo", 50, 64)),
    Workload("echo-4k", "echo, 4 KiB, 50 connections", "operations", _exchanges("echo", 50, 4096)),
    Workload(
        "echo-64k", "echo, 64 KiB, 50 connections", "operations", _exchanges("echo", 50, 65536)
    ),
    Workload("echo-500", "echo, 64 B, 500 connections", "operations", _exchanges("echo", 500, 64)),
    Workload("connect", "connect, echo 64 B, close", "operations", _exchanges("connect", 50, 64)),
    Workload("bulk-in", "one way, to the server", "bulk", _bulk("sink", "send")),
    Workload("bulk-out", "one way, from the server", "bulk", _bulk("source", "receive")),
    Workload("idle", "idle connections", "idle", _idle),
    Workload("pollers", "pollers", "curve", _curve, tuple(POLLERS)),
    Workload("hosted-64", "echo, 64 B", "hosted", _exchanges("echo", 50, 64), tuple(HOSTED)),
    Workload("hosted-4k", "echo, 4 KiB", "hosted", _exchanges("echo", 50, 4096), tuple(HOSTED)),
    Workload(
        "hosted-connect",
        "connect, echo, close",
        "hosted",
        _exchanges("connect", 50, 64),
        tuple(HOSTED),
    ),
    Workload(
        "udp-64",
        "UDP echo, 64 B, 50 sockets",
        "datagrams",
        _exchanges("echo", 50, 64, "udp"),
        tuple(DATAGRAMS),
    ),
    Workload("udp-flood", "UDP flood, 64 B, one socket", "datagrams", _flood, tuple(DATAGRAMS)),
    Workload("udp-calls", "", "datagrams", _calls("udp", "echo"), tuple(DATAGRAMS)),
    Workload("flood-calls", "", "datagrams", _calls("udp-count", "flood"), tuple(DATAGRAMS)),
    Workload(
        "unix-64",
        "UNIX stream echo, 64 B",
        "datagrams",
        _exchanges("echo", 50, 64, "unix"),
        tuple(DATAGRAMS),
    ),
    Workload(
        "tls-64",
        "echo, 64 B, 50 connections",
        "tls",
        _exchanges("echo", 50, 64, "tls-echo"),
        tuple(TLS),
    ),
    Workload(
        "tls-16k",
        "echo, 16 KiB, 50 connections",
        "tls",
        _exchanges("echo", 50, 16384, "tls-echo"),
        tuple(TLS),
    ),
    Workload(
        "tls-full",
        "connect, full handshake, echo 64 B, close",
        "tls",
        _exchanges("connect", 50, 64, "tls-echo"),
        tuple(TLS),
    ),
    Workload(
        "tls-resumed",
        "the same, session resumed",
        "tls",
        _exchanges("resume", 50, 64, "tls-echo"),
        tuple(TLS),
    ),
    Workload(
        "tls-writes",
        "1,000 writes of 10 B in one turn",
        "tls",
        _exchanges("writes", 10, 64, "tls-writes"),
        tuple(TLS),
    ),
    Workload("tls-in", "one way, to the server", "tls", _bulk("tls-sink", "send", 4), tuple(TLS)),
    Workload(
        "tls-out",
        "one way, from the server",
        "tls",
        _bulk("tls-source", "receive", 4),
        tuple(TLS),
    ),
    Workload("tls-idle", "", "tls", _tls_idle, tuple(TLS)),
    Workload("timers", "timers", "micro", _micro("timers")),
    Workload("threads", "calls from a thread", "micro", _micro("threads")),
]
