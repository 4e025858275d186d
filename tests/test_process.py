"""Child processes: births, lives and ends are as on Twisted's reactors, with native parts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support import SCENARIOS, assert_same, baseline_of, environment_of, run_scenario

TWISTEDS = "twisted.internet.process"
NATIVE = "ropewalk.process"

#: What is asked for when the native classes make the child.
PLAIN = {"plain", "searched", "there", "mapped", "terminal", "given terminal"}


@pytest.mark.parametrize("scenario", ["process_births", "process_lives"])
def test_happens_as_on_twisteds_reactor(scenario: str, reactor_name: str) -> None:
    assert_same(scenario, reactor_name)


def test_whatever_is_replaced_has_twisteds_class_make_the_child(reactor_name: str) -> None:
    found = run_scenario("process_native", reactor_name)["events"]
    expected = baseline_of("process_native", reactor_name)["events"]
    assert {event[0] for event in found if event[1] == NATIVE} == PLAIN
    # Beside the names of those modules, both are the same.
    assert [natively(event) for event in expected] == found
    assert len(found) > 40


def natively(event: list[Any]) -> list[Any]:
    """An event of Twisted's reactor as it is to be on ropewalk's."""
    if event[0] not in PLAIN:
        return event
    modules = {TWISTEDS: NATIVE}
    return [
        [modules.get(word, word) for word in field]
        if isinstance(field, list) and TWISTEDS in field
        else modules.get(field, field)
        if isinstance(field, str)
        else field
        for field in event
    ]


def test_data_runs_no_python_of_twisteds_descriptors(reactor_name: str) -> None:
    assert run_scenario("process_native", reactor_name)["figures"]["calls"] == 0
    # The count counts.
    assert baseline_of("process_native", reactor_name)["figures"]["calls"] > 100


@pytest.mark.parametrize("condition", ["none", "ignored", "thread", "crowded", "replaced"])
def test_the_end_of_every_child_is_heard_of(condition: str, reactor_name: str) -> None:
    room = ("prlimit", "--nofile=2000:")
    found = run_scenario("process_reaping", reactor_name, "20", condition, prefix=room)
    codes = found["events"][0][1]
    # A kernel before 6.15 keeps no record of children that nobody waits for.
    assert codes in ([[7], [255]] if condition == "ignored" else [[7]])
    assert found["events"] == [["codes", codes, 0]]
    assert found["descriptors_left"] == 0


def test_a_child_that_somebody_else_waited_for_ends_too(reactor_name: str) -> None:
    found = run_scenario("process_reaping", reactor_name, "5", "stolen")
    # Killed by a signal, or unknown to a kernel before 6.15.
    assert found["events"] in ([["codes", [None], 0]], [["codes", [255], 0]])
    assert found["descriptors_left"] == 0


def test_one_child_is_waited_for_once_whatever_lives_beside_it(
    reactor_name: str, tmp_path: Path
) -> None:
    waits = count_waits(reactor_name, tmp_path / "native")
    assert waits == CHILDREN


def test_twisteds_reactor_waits_for_all_that_live(tmp_path: Path) -> None:
    # So the count above counts.
    assert count_waits("epoll", tmp_path / "twisteds") > 10 * CHILDREN


def test_others_are_reaped_whatever_stands_in_twisteds_table(reactor_name: str) -> None:
    found = assert_same("process_table", reactor_name, "60")
    # One look for each of twenty ends, not one for each child that lives.
    assert found["figures"]["looks"] <= 3 * 20
    assert baseline_of("process_table", reactor_name, "60")["figures"]["looks"] > 600


def test_others_are_reaped_beside_thousands() -> None:
    room = ("prlimit", "--nofile=4500:")
    found = assert_same("process_table", "ropewalk-epoll", "2000", prefix=room)
    assert found["figures"]["looks"] <= 3 * 20


CHILDREN = 60


def count_waits(reactor: str, record: Path) -> int:
    """The calls that wait for a child while children end one by one, by strace."""
    script = str(SCENARIOS / "process_reaping.py")
    calls = "--trace=wait4,waitid,newfstatat,stat,statx"
    command = ["strace", "-o", str(record), calls, sys.executable, script, reactor]
    subprocess.run(
        [*command, str(CHILDREN), "none"],
        env=environment_of(reactor),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=90,
    )
    lines = record.read_text(errors="replace").splitlines()
    begin, end = (
        next(number for number, line in enumerate(lines) if mark in line)
        for mark in ("/all-live", "/all-ended")
    )
    return sum(line.startswith(("wait4(", "waitid(")) for line in lines[begin:end])
