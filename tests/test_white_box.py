"""The private attributes of Twisted's reactors, on ropewalk's."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from support import REACTORS, ROOT, assert_same, environment_of


# Inside asyncio it is asyncio's loop that waits.
@pytest.mark.parametrize("reactor", [name for name in REACTORS if name != "ropewalk-asyncio"])
def test_they_tell_the_truth_and_can_be_replaced_as_twisteds(reactor: str) -> None:
    assert_same("white_box", reactor)


def test_a_native_kqueue_can_be_replaced_as_well() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "programs" / "native_kqueue.py")],
        env=environment_of("kqueue"),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("changes").startswith("a ropewalk reactor's own kqueue takes no changes")
    assert found == {
        "is native": True,
        "is the same": True,
        "waits for nothing": [],
        "received": "there and back",
        "lost": "ConnectionDone",
        "asked without changes": True,
        "with room": True,
        "with a limit": True,
        "filters": ["read", "write"],
        "was taken away": True,
    }
