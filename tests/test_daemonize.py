"""A reactor that was installed before the process forks works after it, and shares nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support import BASELINES, BIN, MODULES, REACTORS, ROOT, environment_of

PROGRAMS = ROOT / "tests" / "programs"
ALL = sorted({*REACTORS, "ropewalk-asyncio"})
WITH_POLLER = sorted({*REACTORS} - {"ropewalk-asyncio"})
WORDS = {
    "x": "echo x",
    "timer": "timer",
    "thread": "thread",
    "process": "process",
    "early timer": "early timer",
}


@contextmanager
def daemon(reactor: str, directory: Path, *, forks: bool = True) -> Iterator[dict[str, Any]]:
    """A daemon that twistd made, or the same without forking: its process id and its ports."""
    command = [str(BIN / "twistd"), f"--reactor={reactor}", "--pidfile=pid", "--logfile=log"]
    command += ["--umask=022", f"--python={PROGRAMS / 'daemon.tac'}"]
    if not forks:
        command.append("--nodaemon")
    twistd = subprocess.Popen(
        command,
        cwd=directory,
        env=environment_of(reactor),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        if forks:
            output, _ = twistd.communicate(timeout=30)
            assert twistd.returncode == 0, output.decode()
        until((directory / "ports").exists, lambda: log_of(directory))
        yield json.loads((directory / "ports").read_text())
    finally:
        stop(directory)
        twistd.communicate(timeout=30)


def stop(directory: Path) -> None:
    """Stop the daemon by its pid file, and see it end."""
    try:
        number = int((directory / "pid").read_text())
        os.kill(number, signal.SIGTERM)
    except (FileNotFoundError, ProcessLookupError):
        return
    until(lambda: not (directory / "pid").exists(), lambda: log_of(directory))
    until(lambda: has_ended(number), lambda: log_of(directory))


def has_ended(number: int) -> bool:
    """Whether a process is no more, or waits for its parent to notice."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def until(condition: Callable[[], object], explain: Callable[[], str]) -> None:
    """Wait for what other processes do."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.01)


def log_of(directory: Path) -> str:
    """The daemon's log."""
    log = directory / "log"
    return log.read_text() if log.exists() else "no log"


def ask(port: int, word: str) -> str:
    """What the daemon answers."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(word.encode())
        return connection.recv(100).decode()


def descriptors(number: int) -> Counter[str]:
    """How many descriptors of each kind a process has, those of its start aside."""
    kinds: Counter[str] = Counter()
    for name in os.listdir(f"/proc/{number}/fd"):
        try:
            target = os.readlink(f"/proc/{number}/fd/{name}")
        except FileNotFoundError:
            continue
        if int(name) > 2:
            kinds[re.sub(r":\[\d+\]$", "", target)] += 1
    return kinds


def serve_a_while(found: dict[str, Any]) -> Counter[str]:
    """Ask for everything at both ports; answer what is open before and after."""
    number = found["pid"]
    before = descriptors(number)
    for port in (found["early"], found["late"]):
        for word, answer in WORDS.items():
            assert ask(port, word) == answer
    # The connections end a moment after their clients.
    until(lambda: descriptors(number) == before, lambda: f"{before} {descriptors(number)}")
    return before


def left_by_forking(reactor: str, directory: Path) -> tuple[Counter[str], Counter[str]]:
    """Which descriptors a daemon has more than a process that did not fork, and which less."""
    found = {}
    for forks in (False, True):
        place = directory / f"{reactor}-{'daemon' if forks else 'plain'}"
        place.mkdir()
        with daemon(reactor, place, forks=forks) as process:
            kinds = serve_a_while(process)
            assert len(os.listdir(f"/proc/{process['pid']}/task")) == 1
        log = log_of(place)
        assert "Traceback" not in log, log
        assert "Server Shut Down." in log, log
        kinds.pop(str(place / "log"), None)
        found[forks] = kinds
    return found[True] - found[False], found[False] - found[True]


@pytest.fixture(scope="module")
def left_by_twistd(tmp_path_factory: pytest.TempPathFactory) -> tuple[Counter[str], Counter[str]]:
    """What twistd leaves itself, with a reactor that has no descriptor of its own to share."""
    return left_by_forking("poll", tmp_path_factory.mktemp("twistd"))


@pytest.mark.parametrize("reactor", ALL)
def test_a_daemon_serves_as_the_process_would_that_did_not_fork(
    reactor: str, tmp_path: Path, left_by_twistd: tuple[Counter[str], Counter[str]]
) -> None:
    assert left_by_forking(reactor, tmp_path) == left_by_twistd


@pytest.mark.parametrize("reactor", WITH_POLLER)
def test_parent_and_child_share_nothing(reactor: str) -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAMS / "forked.py"), MODULES[BASELINES[reactor]]],
        env=environment_of(reactor),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    parent, child, before = found["parent"], found["child"], found["before"]
    assert found["released"] == 0
    for role, process in (("parent", parent), ("child", child)):
        assert process["own"] == [role]
        assert process["woken"] == [role]
        assert process["pollers"] == before["pollers"]
        assert process["same numbers"]
    assert parent["pipe"] != child["pipe"] != before["pipe"]
    # The socket is shared, as all that a program opened is; who watches it is not.
    assert parent["early"] == ["later"]
    assert child["early"] == []
