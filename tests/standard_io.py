"""A program that serves its standard input and output with Twisted, driven by a test."""

from __future__ import annotations

import hashlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from support import ROOT, environment_of

PROGRAM = ROOT / "tests" / "programs" / "standard_io.py"

#: Seconds after which what is waited for will not come any more.
PATIENCE = 60

#: The numbers of standard input and output.
STANDARD = (0, 1)


class Program:
    """The program, the far ends of its standard input and output, and what it told."""

    #: Those that have not ended.
    running: ClassVar[set[subprocess.Popen[bytes]]] = set()

    def __init__(
        self,
        reactor: str,
        protocol: str,
        stdin: int,
        stdout: int,
        numbers: tuple[int, int] = (0, 1),
    ) -> None:
        control, self.control = os.pipe()
        self.report, report = os.pipe()
        command = [sys.executable, str(PROGRAM), reactor, str(control), str(report)]
        command += [*map(str, numbers), protocol]
        self.process = subprocess.Popen(
            command,
            env=environment_of(reactor),
            stdin=stdin,
            stdout=stdout,
            pass_fds=(control, report),
        )
        self.running.add(self.process)
        os.close(control)
        os.close(report)
        self.events: list[Any] = []
        self.answers: list[Any] = []
        self.recorded = ""
        self.rest = b""

    def tell(self) -> bool:
        """Wait for something to be told; False at the end of it all."""
        ready, _, _ = select.select([self.report], [], [], PATIENCE)
        assert ready, f"nothing is told any more after {self.events}"
        data = os.read(self.report, 65536)
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            event = json.loads(line)
            if event[0] != "answer":
                self.events.append(event)
                continue
            self.answers.append(event[1])
            if self.recorded:
                self.events.append([self.recorded, event[1]])
        return bool(data)

    def ask(self, expression: str) -> Any:
        """What an expression gives."""
        os.write(self.control, expression.encode() + b"\n")
        while not self.answers:
            assert self.tell(), f"it has ended: {self.events}"
        return self.answers.pop()

    def do(self, expression: str) -> None:
        """Have an expression evaluated, and what it gives recorded between what it leads to."""
        self.recorded = expression
        self.ask(expression)
        self.recorded = ""

    def until(self, expression: str) -> None:
        """Wait until an expression holds."""
        deadline = time.monotonic() + PATIENCE
        while self.ask(expression) is not True:
            assert time.monotonic() < deadline, f"not {expression}: {self.events}"

    def hears(self, event: str) -> None:
        """Wait for an event."""
        while all(heard[0] != event for heard in self.events):
            assert self.tell(), f"it has ended: {self.events}"

    def idle(self) -> None:
        """Let it turn a few times."""
        for _ in range(5):
            self.ask("None")

    def end(self, *observed: Any) -> list[Any]:
        """End the program; what happened, and what was seen from outside."""
        os.close(self.control)
        while self.tell():
            pass
        os.close(self.report)
        status = self.process.wait(PATIENCE)
        self.running.discard(self.process)
        return [*self.events, *observed, status]


def read_all(number: int) -> list[Any]:
    """Read to the end, and close: how much it was, and what."""
    digest, count = hashlib.sha256(), 0
    with open(number, "rb", buffering=0) as file:
        while data := file.read(65536):
            digest.update(data)
            count += len(data)
    return [count, digest.hexdigest()]


def write_all(number: int, data: bytes) -> threading.Thread:
    """Write in a thread, and close."""

    def write() -> None:
        with open(number, "wb", buffering=0) as file:
            left = memoryview(data)
            while left:
                left = left[file.write(left) :]

    thread = threading.Thread(daemon=True, target=write)
    thread.start()
    return thread


@contextmanager
def nothing_running() -> Iterator[None]:
    """End what a test that failed has not ended."""
    try:
        yield
    finally:
        while Program.running:
            process = Program.running.pop()
            process.kill()
            process.wait()
