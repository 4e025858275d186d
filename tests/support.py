"""Scenarios in child processes, for tests that compare a ropewalk reactor with Twisted's."""

from __future__ import annotations

import difflib
import functools
import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SCENARIOS = ROOT / "tests" / "scenarios"
BIN = Path(sys.executable).parent

#: The --reactor names of the reactors under test, and of Twisted's that says what is right.
BASELINES = {
    "ropewalk-asyncio": "asyncio",
    "ropewalk-epoll": "epoll",
    "ropewalk-kqueue": "kqueue",
    "ropewalk-poll": "poll",
    "ropewalk-select": "select",
}
#: Not the one inside asyncio, whose counterpart of Twisted's lets a callback's KeyboardInterrupt
#: through and cannot be turned by hand: tests/test_asyncio.py has its tests.
REACTORS = [name for name in BASELINES if name != "ropewalk-asyncio"]

#: Where each reactor and each of Twisted's is.
MODULES = {
    "asyncio": "asyncioreactor",
    "epoll": "epollreactor",
    "kqueue": "kqreactor",
    "poll": "pollreactor",
    "select": "selectreactor",
}


def environment_of(reactor: str) -> dict[str, str]:
    """The environment of a process with the named reactor, ropewalk's or Twisted's."""
    environment = dict(os.environ)
    if reactor.endswith("kqueue") and not hasattr(select, "kqueue"):
        paths = [str(ROOT / "tests" / "conformance" / "kqueue_site"), os.environ.get("PYTHONPATH")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment


def run_scenario(
    script: str, reactor: str, *arguments: str, prefix: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Run a script of tests/scenarios on the named reactor and return what it printed."""
    command = [*prefix, sys.executable, str(SCENARIOS / f"{script}.py"), reactor, *arguments]
    child = subprocess.run(
        command,
        env=environment_of(reactor),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert child.returncode == 0, f"{command} ended with {child.returncode}:\n{child.stderr}"
    assert child.stdout, f"{command} printed nothing:\n{child.stderr}"
    return json.loads(child.stdout.splitlines()[-1])


@functools.cache
def baseline_of(
    script: str, reactor: str, *arguments: str, prefix: tuple[str, ...] = ()
) -> dict[str, Any]:
    """What the scenario gives on Twisted's reactor that `reactor` replaces."""
    return run_scenario(script, BASELINES[reactor], *arguments, prefix=prefix)


def assert_same(
    script: str, reactor: str, *arguments: str, prefix: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The scenario records the same events on both reactors and leaves no descriptor."""
    expected = baseline_of(script, reactor, *arguments, prefix=prefix)
    assert len(expected["events"]) > 1, "a scenario without events shows nothing"
    assert not any(str(e[0]).startswith("scenario ") for e in expected["events"]), expected
    found = run_scenario(script, reactor, *arguments, prefix=prefix)
    before, after = ([json.dumps(event) for event in r["events"]] for r in (expected, found))
    difference = "\n".join(
        difflib.unified_diff(before, after, BASELINES[reactor], reactor, "", "", 3)
    )
    assert not difference, f"{script} differs:\n{difference}"
    assert found["sockets_left"] == 0
    assert found["descriptors_left"] <= expected["descriptors_left"]
    return found


def own_descriptors() -> dict[int, str]:
    """The open descriptors of this process and what they refer to."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            pass  # the directory's own descriptor
    return found


def own_children() -> set[int]:
    """The processes that this one started and has not waited for."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found |= {int(word) for word in (task / "children").read_text().split()}
        except FileNotFoundError:
            pass  # a thread that has just ended
    return found
