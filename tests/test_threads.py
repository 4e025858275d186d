"""Reactors in threads that are not the main one."""

import pytest

from support import assert_same, baseline_of, run_scenario


@pytest.mark.parametrize("how_many", ["one", "two"])
def test_reactors_serve_and_take_calls_in_their_threads(reactor_name: str, how_many: str) -> None:
    found = run_scenario("threads", reactor_name, how_many)
    assert found["events"] == baseline_of("threads", reactor_name, how_many)["events"]
    assert found["sockets_left"] == 0


def test_a_call_from_the_reactors_own_thread_ends_the_wait(reactor_name: str) -> None:
    assert_same("own_thread_calls", reactor_name)
