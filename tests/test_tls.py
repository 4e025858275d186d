"""TLS under Twisted: records are moved natively, and everything is as on Twisted's reactors."""

import pytest

from support import assert_same, baseline_of, run_scenario

#: Twisted's default; no gathering of small writes; gathered, but timed by another clock.
KINDS = ["gathered", "unbuffered", "other clock"]

#: Why which connections of the scenario `tls_fallback` are left to Twisted's Python.
REASONS = {
    "unknown binding": "AttributeError: 'function' object has no attribute '__self__'",
    "overriding subclass": "dataReceived is not the original",
    "own connection": "its connection is a OwnConnection",
    "patched class": "_flushReceiveBIO is not the original",
    "patched instance": "_write is not the original",
    "patched transport": "its transport is not the connection itself",
    "own doWrite": "its transport has doRead or doWrite of its own",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scenario", ["tls_delivery", "tls_closing", "tls_producers"])
def test_is_as_on_twisteds_reactor(scenario: str, kind: str, reactor_name: str) -> None:
    assert_same(scenario, reactor_name, kind)


def test_starts_in_the_middle_of_a_stream(reactor_name: str) -> None:
    assert_same("tls_start", reactor_name)


def test_handshakes_and_callbacks_are_pyopenssls(reactor_name: str) -> None:
    found = assert_same("tls_handshakes", reactor_name, "0")
    # Of two writes from within OpenSSL, none is lost.
    assert found["figures"]["from the callback"] == 2


def test_turns_from_within_openssl_leave_the_connection_alone(reactor_name: str) -> None:
    # Twisted sends a part twice then.
    found = run_scenario("tls_handshakes", reactor_name, "3")
    assert ["received", "b'before asked one two '", 1] in found["events"]
    assert ["shaken hands again", 3] in found["events"]
    assert found["figures"]["from the callback"] == 2


def test_nothing_outlives_its_connection(reactor_name: str) -> None:
    found = assert_same("tls_collected", reactor_name)
    left = [event for event in found["events"] if event[0] == "left"]
    assert [names for _, _, names in left] == [[]] * 6


def test_data_runs_no_python_of_the_layer(reactor_name: str) -> None:
    found = run_scenario("tls_native", reactor_name)
    assert ["native", True] in found["events"]
    assert ["moved", [100, 1000]] in found["events"]
    assert ["released", None] in found["events"]
    # Ten writes share a record.
    assert found["figures"] == {"calls": 0, "records": 100}
    # The count counts.
    assert baseline_of("tls_native", reactor_name)["figures"]["calls"] > 1000


def test_endpoints_make_native_connections(reactor_name: str) -> None:
    assert assert_same("tls_endpoints", reactor_name)["figures"] == {
        # The server's side and the client's.
        "wrapClientTLS": [True, True],
        "SSL4ClientEndpoint": [True, True],
        "with a method in between": [True, False],
        "reasons": ["dataReceived of its endpoint is not the original"],
    }


def test_what_is_unknown_is_left_to_twisted_and_said(reactor_name: str) -> None:
    found = assert_same("tls_fallback", reactor_name)["figures"]
    assert found.pop("as it is") == [True, []]
    assert found.pop("harmless subclass") == [True, []]
    assert found == {name: [False, [["debug", reason]]] for name, reason in REASONS.items()}
