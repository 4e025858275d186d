"""Child processes: births, lives and ends are as on Twisted's reactors, with native parts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support import SCENARIOS, assert_same, baseline_of, environment_of, run_scenario

ROOM_FOR_64 = ("prlimit", "--nofile=64:")

TWISTEDS = "twisted.internet.process"
NATIVE = "ropewalk.process"

#: What is asked for when the native classes make the child.
PLAIN = {
    *("plain", "searched", "there", "mapped", "no protocol", "terminal", "given terminal"),
    *("other mapping", "bytes", "user", "group", "user in a terminal", "put back", "and again"),
}

#: Why Twisted's class makes the others, as the line for debugging says it.
REASONS = {
    "uid": "it stays root's, of which Twisted's class warns",
    "gid": "it stays root's, of which Twisted's class warns",
    "no number": "'daemon' is no user or group",
    "no user": "-1 is no user or group",
    "unknown user": "nobody knows user 3999999",
    "Mac": "the groups of a login are the system's own affair",
    "not root": "only root can have it change its user",
    "signals blocked": "the child is to inherit a mask of signals",
    "_neverUseSpawn": "the reactor is told never to use anything like posix_spawn",
    "unwatchable": "this system does not tell of the end of each child",
    "no arguments": "it has no list of arguments",
    "an empty one": "it has no list of arguments",
    "an iterator": "it has no list of arguments",
    "other childFDs": "childFDs is no dict",
    "below zero": "no descriptor has the number -1",
    "a truth": "no descriptor has the number True",
    "a word": "'x' is no descriptor, or there is no protocol for it",
    "nobody to tell": "'r' is no descriptor, or there is no protocol for it",
    "closed": "[Errno 9] Bad file descriptor",
    "no program": "[Errno 2] No such file or directory",
    "no place": "[Errno 2] No such file or directory",
    "no executable": "expected str, bytes or os.PathLike object, not NoneType",
    "a number": "'int' object is not an instance of 'str'",
    "zero byte": "an argument or a variable of a child has a zero byte in it",
    "surrogate": (
        "'utf-8' codec can't encode character '\\ud800' in position 0: surrogates not allowed"
    ),
    "no environment": "'list' object has no attribute 'items'",
    "no value": "'None' is not an instance of 'str'",
    "no name": "no variable has such a name",
}
CHANGED = "{} is not Twisted's, or Python's, own any more"


@pytest.mark.parametrize("scenario", ["process_births", "process_lives", "process_closing"])
def test_happens_as_on_twisteds_reactor(scenario: str, reactor_name: str) -> None:
    assert_same(scenario, reactor_name)


@pytest.mark.parametrize("program", ["cat", "sort", "openssl", "terminals"])
def test_programs_that_everybody_has_do_what_they_do(program: str, reactor_name: str) -> None:
    # A hundred megabytes take their time: one of Twisted's reactors is enough.
    expected = baseline_of("process_programs", "ropewalk-epoll", program)
    found = run_scenario("process_programs", reactor_name, program)
    assert found["events"] == expected["events"]
    assert len(found["events"]) > 3
    if program != "terminals":
        assert [event for event in found["events"] if event[1:] == [100_000_000, True]]
    assert found["descriptors_left"] == 0


def test_whatever_is_replaced_has_twisteds_class_make_the_child(reactor_name: str) -> None:
    run = run_scenario("process_native", reactor_name)
    found = run["events"]
    expected = baseline_of("process_native", reactor_name)["events"]
    assert {event[0] for event in found if event[1] == NATIVE} == PLAIN & {e[0] for e in found}
    # Beside the names of those modules, both are the same.
    assert [natively(event) for event in expected] == found
    lines = run["figures"]["lines"]
    labels = {event[0] for event in found} - {"own", "moved"}
    assert lines.keys() == labels - PLAIN
    for label, (line,) in lines.items():
        changed = CHANGED.format(
            "writeSequence" if label == "an addition" else label.split(".")[-1]
        )
        executable = {"no program": "'/nonexistent'", "no executable": "None"}.get(
            label, "'/bin/sh'"
        )
        why = REASONS.get(label, changed)
        assert line == f"Twisted's class makes the child {executable}: {why}", label
    if os.getuid() == 0:
        assert REASONS.keys() <= labels


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


def test_no_descriptor_is_left_where_there_is_no_room_for_a_child(reactor_name: str) -> None:
    found = assert_same("process_room", reactor_name, prefix=ROOM_FOR_64)
    # Some need more than others.
    assert found["figures"]["pipes"] > found["figures"]["nothing"]


def test_changes_its_user_as_twisteds_does(reactor_name: str, tmp_path: Path) -> None:
    private = ("unshare", "--mount")
    if os.getuid() != 0 or subprocess.run([*private, "true"], capture_output=True).returncode:
        pytest.skip("only root can change a child's user, and mount a file of groups")
    groups = tmp_path / "group"
    groups.write_text(
        Path("/etc/group").read_text() + "one:x:3001:daemon,nobody\ntwo:x:3002:daemon\n"
    )
    found = assert_same("process_users", reactor_name, str(groups), prefix=private)
    native = found["figures"]["native"]
    for when in ("root", "real", "effective"):
        assert {f"{when}: 1 0", f"{when}: 1 65534", f"{when}: terminal"} <= set(native), native
    assert not any(label.startswith("none") for label in native)
    # The groups of the file were given.
    events = json.dumps(found["events"])
    assert "3001 3002" in events


def test_children_outlive_a_run_and_are_heard_of_in_the_next(reactor_name: str) -> None:
    found = run_scenario("process_runs", reactor_name)
    expected = baseline_of("process_runs", reactor_name)
    assert found["events"] == expected["events"]
    assert len(found["events"]) == 11
    assert found["figures"]["descriptors"] == 0


def test_nothing_of_a_child_outlives_its_end(reactor_name: str) -> None:
    found = run_scenario("process_collected", reactor_name)
    assert len(found["figures"]) > 20
    assert {key: left for key, left in found["figures"].items() if left != [[], 0]} == {}
    assert found["descriptors_left"] == 0


@pytest.mark.parametrize("reactors", ["1", "2"])
def test_reactors_in_threads_have_children_of_their_own(reactors: str, reactor_name: str) -> None:
    found = run_scenario("process_threads", reactor_name, reactors, "20")
    assert found["events"] == [*[[42, [4], True]] * int(reactors), ["left", 0]]


def test_crowds_of_children_end(reactor_name: str) -> None:
    assert_same("process_crowds", reactor_name, "100", "50", "50")


def test_thousands_are_made_one_in_the_others_end() -> None:
    found = run_scenario("process_crowds", "ropewalk-epoll", "5000", "500", "200")
    assert (
        found["events"]
        == baseline_of("process_crowds", "ropewalk-epoll", "100", "50", "50")["events"]
    )
    assert found["descriptors_left"] == 0


CONDITIONS = ["none", "ignored", "thread", "crowded", "replaced", "handled"]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_end_of_every_child_is_heard_of(condition: str, reactor_name: str) -> None:
    room = ("prlimit", "--nofile=2000:")
    found = run_scenario("process_reaping", reactor_name, "20", condition, prefix=room)
    codes = found["events"][0][1]
    # A kernel before 6.15 keeps no record of children that nobody waits for.
    assert codes in ([[7], [255]] if condition == "ignored" else [[7]])
    assert found["events"] == [["codes", codes, 0]]
    assert found["descriptors_left"] == 0
    assert (found["figures"]["signals"] > 0) == (condition == "handled")


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
    found = assert_same("process_table", reactor_name, "80")
    # One look for each of twenty ends, not one for each child that lives.
    assert max(found["figures"].values()) <= 4 * 20
    expected = baseline_of("process_table", reactor_name, "80")
    assert min(expected["figures"].values()) > 600


def test_others_are_reaped_beside_thousands() -> None:
    room = ("prlimit", "--nofile=4500:")
    found = assert_same("process_table", "ropewalk-epoll", "2000", prefix=room)
    assert max(found["figures"].values()) <= 4 * 20


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
