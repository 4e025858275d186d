"""Reactors that are run again and again, or created and dropped, leave nothing behind."""

from support import assert_same, run_scenario


def test_a_thousand_runs_and_crashes_leave_nothing(reactor_name: str) -> None:
    found = assert_same("run_and_crash", reactor_name)
    assert found["figures"]["descriptors"] == 0
    # Interned names and caches of the interpreter grow a little; a leak is one object per run.
    assert found["figures"]["objects"] < 100


def test_three_hundred_dropped_reactors_close_their_descriptors(reactor_name: str) -> None:
    figures = run_scenario("many_reactors", reactor_name)["figures"]
    assert figures == {"descriptors": 0, "alive": 0}
