"""The reactor inside asyncio's loop and uvloop's, beside real asyncio programs."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest

from support import ROOT, assert_same, baseline_of, run_scenario

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


@pytest.mark.parametrize(
    "scenario",
    [
        "closing_callbacks",
        "connect_errors",
        "data_before_reset",
        "greenlets",
        "lifecycle_errors",
        "listen_errors",
        "process_births",
        "process_closing",
        "process_lives",
        "resets",
        "transport_misuse",
    ],
)
def test_ends_as_on_twisteds_reactor(scenario: str) -> None:
    assert_same(scenario, "ropewalk-asyncio")


@pytest.mark.parametrize(
    ("scenario", "arguments"),
    [("process_crowds", ("100", "50", "50")), ("process_table", ("80",)), ("process_room", ())],
)
def test_children_end_as_on_twisteds_reactor(scenario: str, arguments: tuple[str, ...]) -> None:
    prefix = ("prlimit", "--nofile=64:") if scenario == "process_room" else ()
    assert_same(scenario, "ropewalk-asyncio", *arguments, prefix=prefix)


def test_children_outlive_a_run_and_are_heard_of_in_the_next() -> None:
    found = run_scenario("process_runs", "ropewalk-asyncio")
    assert found["events"] == baseline_of("process_runs", "ropewalk-asyncio")["events"]


@pytest.mark.parametrize("condition", ["ignored", "thread", "handled"])
def test_the_end_of_every_child_is_heard_of(condition: str) -> None:
    found = run_scenario("process_reaping", "ropewalk-asyncio", "20", condition)
    # A kernel before 6.15 keeps no record of children that nobody waits for.
    codes = found["events"][0][1]
    assert codes in ([[7], [255]] if condition == "ignored" else [[7]])
    assert found["events"] == [["codes", codes, 0]]


def test_accepting_survives_a_full_descriptor_table() -> None:
    assert_same("descriptor_exhaustion", "ropewalk-asyncio", prefix=("prlimit", "--nofile=64:"))


@pytest.mark.parametrize("how_many", ["one", "two"])
def test_reactors_serve_and_take_calls_in_their_threads(how_many: str) -> None:
    found = run_scenario("threads", "ropewalk-asyncio", how_many)
    assert found["events"] == baseline_of("threads", "ropewalk-asyncio", how_many)["events"]


def test_dropped_reactors_close_their_descriptors() -> None:
    figures = run_scenario("many_reactors", "ropewalk-asyncio")["figures"]
    # The thread's event loop keeps the last reactor, its port and its protocol.
    assert figures == {"descriptors": 0, "alive": 3}


def test_what_cannot_be_called_is_refused_at_once() -> None:
    # Twisted's asyncio reactor alone finds it out later, in the loop.
    expected = baseline_of("timer_misuse", "ropewalk-epoll")
    assert run_scenario("timer_misuse", "ropewalk-asyncio")["events"] == expected["events"]


def test_shows_what_twisteds_class_keeps_in_attributes() -> None:
    from twisted.internet.abstract import FileDescriptor

    from ropewalk.asyncioreactor import AsyncioSelectorReactor

    loop = asyncio.new_event_loop()
    reactor = AsyncioSelectorReactor(loop)
    try:
        assert reactor._asyncioEventloop is loop
        assert reactor._readers == {reactor.waker: reactor.waker.fileno()}
        assert reactor._writers == {}
        with open(__file__) as file:
            reader = FileDescriptor(reactor)
            reader.fileno = file.fileno
            reader.doRead = reader.startReading
            reader.startReading()
            reactor.iterate(0)
            assert reactor._continuousPolling.isReading(reader)
            assert reader not in reactor._readers
            reader.stopReading()
        call = reactor.callLater(3600, list)
        reactor.iterate(0)
        assert reactor._timerHandle is not None and reactor._scheduledAt > loop.time()
        call.cancel()
        reactor.iterate(0)
    finally:
        loop.close()
