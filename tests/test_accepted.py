"""Accepted connections: what programs see of them is Twisted's, and little Python runs for it."""

from support import assert_same, baseline_of, run_scenario


def test_looks_and_ends_as_on_twisteds_reactor(reactor_name: str) -> None:
    assert_same("accepted", reactor_name)


def test_a_plain_connection_runs_no_python_beneath_the_servers_own(reactor_name: str) -> None:
    found = run_scenario("accepted_native", reactor_name)
    assert found["events"] == [["lost", 20], ["lost", 20]]
    assert found["figures"]["calls"] == 0
    # The count counts.
    assert baseline_of("accepted_native", reactor_name)["figures"]["calls"] > 200
