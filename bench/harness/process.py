"""Child processes, and what the kernel knows of their CPU time and memory."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

SERVER_CPU = 0
CLIENT_CPU = 1

# Seconds for one line of a child. Opening 9,000 connections and a slow round come first.
PATIENCE = 90


def _cpu_clock(pid: int) -> int:
    """What clock_getcpuclockid(3) answers: the nanoseconds for which a process was on a CPU."""
    return ~pid << 3 | 2


class ChildError(Exception):
    """A child ended early, or answered something that is not understood."""


class Child:
    """A process pinned to one CPU that speaks in lines and is gone after the ``with`` block."""

    def __init__(self, command: list[str], cpu: int, environment: dict[str, str] | None = None):
        self.command = command
        self._process = subprocess.Popen(
            ["taskset", "-c", str(cpu), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def line(self) -> str:
        """The next line; a child that says nothing for too long is killed."""
        watchdog = threading.Timer(PATIENCE, self._process.kill)
        watchdog.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            self._process.kill()
            _, errors = self._process.communicate()
            reason = errors.strip().splitlines()[-1:] or ["no message"]
            raise ChildError(f"{Path(self.command[0]).name} ended early: {reason[0]}")
        return line.strip()

    def json(self) -> dict[str, Any]:
        return json.loads(self.line())

    def go_on(self) -> None:
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def interrupt(self) -> None:
        """Has it end by SIGINT, with what it started, and waits for that."""
        subprocess.run(["pkill", "-INT", "-P", str(self._process.pid)], check=False)
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise ChildError(f"{Path(self.command[0]).name} does not end") from None

    @property
    def pid(self) -> int:
        return self._process.pid

    def cpu_ns(self) -> int:
        """CPU time of all threads so far, with those that have ended; exact while it sleeps."""
        return time.clock_gettime_ns(_cpu_clock(self.pid))

    def memory_kib(self, kind: str = "Pss") -> int:
        """Memory of a kind of ``smaps_rollup``; usually what the process would free if it ended."""
        for line in Path(f"/proc/{self._process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(f"{kind}:"):
                return int(line.split()[1])
        raise ChildError(f"no {kind} in smaps_rollup")
