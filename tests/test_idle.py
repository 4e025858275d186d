"""A reactor with nothing to do stays in one wait, and a short timer is waited for, not spun on.

Idle means: with a listening port, a connection, and a timer that is an hour away (in Rust, none).
All idle servers run side by side under strace.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support import ROOT, SCENARIOS
from traced import Call, TracedServer

#: Seconds of idleness.
IDLE = 10

#: Short timers that the script sets.
TIMERS = 20

IDLE_SCRIPT = str(SCENARIOS / "idle.py")

#: The Python reactors, by what the script takes. A kqueue would be a stand-in in Python here.
PYTHON = [
    ("ropewalk-epoll",),
    ("ropewalk-poll",),
    ("ropewalk-select",),
    ("ropewalk-asyncio",),
    ("ropewalk-asyncio", "uvloop"),
]

#: The Rust reactor, by the name of an example and that of the poller.
RUST = [
    ("echo", "epoll"),
    ("echo", "poll"),
    ("echo", "select"),
    ("hosted_in_poll", "epoll"),
    ("hosted_in_tokio", "epoll"),
    ("hosted_in_calloop", "epoll"),
]

NAMES = [" ".join(words) for words in [*PYTHON, *RUST]]


def python_command(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, IDLE_SCRIPT, *arguments]


@pytest.fixture(scope="module")
def examples() -> dict[str, str]:
    """The paths of the built Rust examples."""
    if shutil.which("cargo") is None:
        pytest.skip("needs cargo")
    names = {name for name, _ in RUST}
    command = ["cargo", "build", "--quiet", "--message-format=json", "--package=ropewalk"]
    command += ["--features=tokio", *(f"--example={name}" for name in sorted(names))]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    messages = [json.loads(line) for line in built.stdout.splitlines()]
    return {m["target"]["name"]: m["executable"] for m in messages if m.get("executable")}


@pytest.fixture(scope="module")
def idle_servers(
    examples: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, TracedServer]:
    """All servers, after their idleness, ended."""
    directory = tmp_path_factory.mktemp("strace")
    servers: dict[str, TracedServer] = {}
    try:
        for arguments in [*PYTHON, ("epoll", "busy")]:
            record = directory / "-".join(arguments)
            servers[" ".join(arguments)] = TracedServer(python_command(arguments), record)
        for name, poller in RUST:
            command = [examples[name], "127.0.0.1:0"]
            record = directory / f"{name}-{poller}"
            environment = {"ROPEWALK_POLLER": poller}
            servers[f"{name} {poller}"] = TracedServer(command, record, environment)
        for server in servers.values():
            server.connect()
            server.ask(b"last", b"last")
        time.sleep(IDLE)
    finally:
        for server in servers.values():
            server.end()
    return servers


def calls_after_the_answer(server: TracedServer) -> list[Call]:
    calls = server.calls()
    answered = max(n for n, call in enumerate(calls) if '"last"' in call.text)
    return calls[answered + 1 :]


@pytest.mark.parametrize("name", NAMES)
def test_an_idle_reactor_stays_in_one_wait(
    name: str, idle_servers: dict[str, TracedServer]
) -> None:
    after = calls_after_the_answer(idle_servers[name])
    texts = [call.text for call in after]
    assert sum(call.waits and not call.polls for call in after) == 1, texts
    # It was killed in that wait; before it, the turn that sent the answer came to its end.
    assert after[-1].waits and not after[-1].polls, texts
    assert len(after) <= 10, texts


def test_a_reactor_that_wakes_up_is_noticed(idle_servers: dict[str, TracedServer]) -> None:
    waits = [call for call in calls_after_the_answer(idle_servers["epoll busy"]) if call.waits]
    assert len(waits) >= IDLE


@pytest.mark.parametrize("arguments", PYTHON, ids=" ".join)
def test_a_timer_of_less_than_a_millisecond_is_waited_for(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    server = TracedServer(python_command(arguments), tmp_path / "record")
    try:
        server.connect()
        server.ask(b"arm", b"done")
    finally:
        server.end()
    spans = waits_between_arming_and_firing(server.calls())
    assert len(spans) == TIMERS
    texts = [[call.text for call in waits] for waits in spans]
    # Inside another loop a turn polls, and so does the loop when it is to make a turn soon; at
    # times a loop is a little early, and asks once more. One that spins makes more of both each
    # time, also at the pace that strace allows.
    assert all(spans), texts
    assert sum(len(waits) for waits in spans) <= 4 * TIMERS, texts
    assert sum(call.polls for waits in spans for call in waits) <= 3 * TIMERS, texts


def waits_between_arming_and_firing(calls: list[Call]) -> list[list[Call]]:
    spans: list[list[Call]] = []
    armed = False
    for call in calls:
        if call.name == "write" and '"armed"' in call.text:
            spans.append([])
            armed = True
        elif call.name == "write" and '"fired"' in call.text:
            armed = False
        elif armed and call.waits:
            spans[-1].append(call)
    return spans
