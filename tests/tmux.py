"""A pane of tmux with a server of its own, for programs that want a terminal."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

#: Seconds after which what is waited for will not come any more.
PATIENCE = 60

#: Runs a program between two looks at the modes of its terminal, and stays, so that the pane does.
AROUND = """
stty -g >before
sh -c 'echo $$ >pid; exec "$@"' sh "$@"
echo $? >status
stty -g >after
mv status done
exec cat
"""

#: What of an environment is for the program, and not for tmux and what it would make of it.
VARIABLES = ("PATH", "PYTHONPATH")


class Pane:
    """A terminal with a program in it, and the directory where the program runs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def tmux(self, *command: str) -> str:
        """Have tmux do something."""
        done = subprocess.run(
            ["tmux", "-S", "socket", "-f", os.devnull, *command],
            cwd=self.directory,
            # Nothing of a session that the tests themselves may be run in.
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TERM": "dumb"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def type(self, text: str, *keys: str) -> None:
        """Type a text, and then the keys with these names."""
        if text:
            self.tmux("send-keys", "-l", "--", text)
        if keys:
            self.tmux("send-keys", *keys)

    def resize(self, columns: int, lines: int) -> None:
        """Give the window another size."""
        self.tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def screen(self) -> str:
        """What is on the screen."""
        return self.tmux("capture-pane", "-p")

    def shows(self, pattern: str) -> re.Match[str]:
        """Wait until something on the screen matches; ``^`` and ``$`` are the ends of a line."""
        expression = re.compile(pattern, re.MULTILINE)
        found: list[re.Match[str]] = []

        def look() -> bool:
            found.extend(expression.finditer(self.screen()))
            return bool(found)

        self.until(look, pattern)
        return found[0]

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition, whose name is told if it does not come."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"still waiting: {what}\n{self.screen()}"
            time.sleep(0.02)

    def file(self, name: str) -> str:
        """Wait for a file of the directory, and read it."""
        path = self.directory / name
        self.until(lambda: path.exists() and path.read_text() != "", name)
        return path.read_text()

    def end(self) -> tuple[int, bool]:
        """Wait for the program's end: its status, and whether the terminal is as it was."""
        status = int(self.file("done"))
        return status, self.file("before") == self.file("after")


@contextmanager
def pane(directory: Path, command: list[str], environment: dict[str, str]) -> Iterator[Pane]:
    """A pane of 80 columns and 24 lines that runs the command."""
    given = [f"{name}={environment[name]}" for name in VARIABLES if name in environment]
    words = ["env", "LC_ALL=C.UTF-8", *given, "sh", "-c", AROUND, "sh", *command]
    made = Pane(directory)
    made.tmux("new-session", "-d", "-x", "80", "-y", "24", "exec " + shlex.join(words))
    try:
        yield made
    finally:
        made.tmux("kill-server")
