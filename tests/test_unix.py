"""UNIX sockets: native classes are in use, and what goes wrong ends as on Twisted's reactors."""

import pytest

from support import assert_same, baseline_of, run_scenario


@pytest.mark.parametrize("scenario", ["unix_closing", "unix_descriptors", "unix_paths"])
def test_ends_as_on_twisteds_reactor(scenario: str, reactor_name: str) -> None:
    assert_same(scenario, reactor_name)


def test_descriptors_that_the_table_has_no_room_for_are_lost_alone(reactor_name: str) -> None:
    found = assert_same("unix_exhaustion", reactor_name, prefix=("prlimit", "--nofile=64:"))
    assert ["nearly full", 3] in found["events"]
    assert ["kept", 0] in found["events"]


def test_plain_data_runs_no_python_of_the_transports(reactor_name: str) -> None:
    found = run_scenario("unix_native", reactor_name)
    assert ["classes", "ropewalk.unix", "ropewalk.unix"] in found["events"]
    assert ["received", 100] in found["events"]
    assert found["figures"]["calls"] == 0
    # The count counts.
    assert baseline_of("unix_native", reactor_name)["figures"]["calls"] > 100
