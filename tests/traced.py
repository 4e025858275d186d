"""Servers that run under strace, and the system calls that they made."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

#: The calls in which a reactor waits.
WAITS = {
    *("epoll_wait", "epoll_pwait", "epoll_pwait2"),
    *("poll", "ppoll", "select", "pselect6"),
}


@dataclass(frozen=True)
class Call:
    """A system call, as strace wrote it down when it began."""

    name: str
    text: str

    @property
    def waits(self) -> bool:
        """Whether a reactor waits in it."""
        return self.name in WAITS

    @property
    def polls(self) -> bool:
        """Whether it is a wait that cannot block."""
        return self.waits and _NO_TIME.search(self.text) is not None


class TracedServer:
    """A server under strace, with one connection to it.

    It prints a line that ends with its port. Its input stays open and empty.
    """

    def __init__(
        self, command: list[str], record: Path, environment: dict[str, str] | None = None
    ) -> None:
        self._record = record
        self._strace = subprocess.Popen(
            ["strace", "-f", "-o", str(record), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | (environment or {}),
            text=True,
        )
        self._connection: socket.socket | None = None

    def connect(self) -> None:
        """Wait until it listens, and connect."""
        assert self._strace.stdout is not None
        line = self._strace.stdout.readline()
        if not line:
            _, errors = self._strace.communicate(timeout=30)
            raise AssertionError(f"the server did not start:\n{errors}")
        port = int(re.findall(r"\d+", line)[-1])
        self._connection = socket.create_connection(("127.0.0.1", port), timeout=30)

    def ask(self, data: bytes, answer: bytes) -> None:
        """Send data and wait for the answer."""
        assert self._connection is not None
        self._connection.sendall(data)
        found = b""
        while len(found) < len(answer):
            chunk = self._connection.recv(1024)
            assert chunk, f"the server closed the connection after {found!r}"
            found += chunk
        assert found == answer

    def end(self) -> None:
        """Kill the server, in the state in which it is."""
        strace = self._strace.pid
        children = Path(f"/proc/{strace}/task/{strace}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        try:
            self._strace.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self._strace.kill()
            self._strace.communicate()
        if self._connection is not None:
            self._connection.close()

    def calls(self) -> list[Call]:
        """All system calls, in the order in which they began."""
        found = []
        for line in self._record.read_text(errors="replace").splitlines():
            match = _CALL.match(line)
            if match is not None:
                found.append(Call(match[1], line))
        return found


# "1234  epoll_wait(3, ..."; the rest of an interrupted line begins with "<...".
_CALL = re.compile(r"\d+ +(\w+)\(")

# The time to wait, which is the last argument or the last but the signal mask: 0 in milliseconds,
# or a structure of zeros.
_NO_TIME = re.compile(r", (0|\{tv_sec=0, tv_n?u?sec=0\})(, NULL(, \d+)?|, \{sigmask=.*\})?\) +=")
