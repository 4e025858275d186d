"""What a program or a peer does wrong ends as it does on Twisted's own reactor."""

import pytest

from support import assert_same, baseline_of, run_scenario


@pytest.mark.parametrize(
    "scenario",
    [
        "closing_callbacks",
        "connect_errors",
        "data_before_reset",
        "lifecycle_errors",
        "listen_errors",
        "raising_callbacks",
        "resets",
        "timer_misuse",
        "transport_misuse",
    ],
)
def test_ends_as_on_twisteds_reactor(scenario: str, reactor_name: str) -> None:
    if (scenario, reactor_name) == ("data_before_reset", "ropewalk-kqueue"):
        # Twisted's KQueueReactor drops what came before a reset; no other of its reactors does.
        expected = baseline_of(scenario, "ropewalk-poll")
        assert run_scenario(scenario, reactor_name)["events"] == expected["events"]
    else:
        assert_same(scenario, reactor_name)


def test_accepting_survives_a_full_descriptor_table(reactor_name: str) -> None:
    found = assert_same("descriptor_exhaustion", reactor_name, prefix=("prlimit", "--nofile=64:"))
    assert found["figures"]["cpu_seconds_while_full"] < 0.25
