"""The reactor inside asyncio's loop and uvloop's, beside real asyncio programs."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from support import ROOT

LOOPS = ["asyncio", "uvloop"]


def run_program(name: str, loop: str) -> dict[str, Any]:
    """What the program of tests/programs reports."""
    # What was left behind: coroutines never awaited, sockets and loops never closed.
    strict = ["-W", "error::RuntimeWarning", "-W", "error::ResourceWarning"]
    # Twisted's readBody gives one about a transport of its own web client.
    strict += ["-W", "ignore::DeprecationWarning"]
    command = [sys.executable, *strict, str(ROOT / "tests" / "programs" / name), loop]
    child = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90
    )
    assert child.returncode == 0, child.stderr
    assert not child.stderr, child.stderr
    return json.loads(child.stdout.splitlines()[-1])


@pytest.mark.parametrize("loop", LOOPS)
def test_aiohttp_and_twisted_talk_to_a_twisted_server_in_one_process(loop: str) -> None:
    found = run_program("aiohttp_and_twisted.py", loop)
    assert found == {"aiohttp": True, "twisted": True, "poller": "epoll"}


@pytest.mark.parametrize("loop", LOOPS)
def test_neither_starves_the_other(loop: str) -> None:
    found = run_program("sharing_a_thread.py", loop)
    assert min(found["counts"].values()) >= 3000
    # An echo takes a few turns of the loop, the others one each.
    assert min(found["at_first_end"].values()) > 300, found


@pytest.mark.parametrize("loop", LOOPS)
def test_a_program_may_own_the_loop(loop: str) -> None:
    found = run_program("loop_of_the_program.py", loop)
    assert found["events"] == [True, True, "timer", "thread", "hello\n", "", False]


@pytest.mark.parametrize("loop", LOOPS)
def test_it_runs_again_after_a_crash(loop: str) -> None:
    assert run_program("running_again.py", loop) == {"made": True, "leaked": 0, "calls": 0}
