"""Connections of `ropewalk.ssl`: how they live and how they end."""

from __future__ import annotations

from typing import Any

import pytest

from support import run_scenario

CLEAN = ["ConnectionDone", "Connection was closed cleanly."]
ABORTED = "ConnectionAborted"
LOST = "ConnectionLost"


def events_of(script: str, reactor: str, part: str) -> list[Any]:
    """What a part of a scenario recorded, for which nothing was left open."""
    found = run_scenario(script, reactor, part)
    assert found["sockets_left"] == 0
    # The descriptor that Twisted's ports reserve.
    assert found["descriptors_left"] <= 1
    events = found["events"]
    assert not any(str(event[0]).startswith("scenario ") for event in events), events
    return events


def facts_of(events: list[Any]) -> dict[str, Any]:
    """The events that are not callbacks, by their names."""
    return {name: rest for name, *rest in events if rest and rest[0] not in CALLBACKS}


CALLBACKS = ("connectionMade", "handshakeCompleted", "connectionLost")


def ends_of(events: list[Any]) -> dict[str, tuple[int, str]]:
    """How much each side received, and the class of the reason that it heard."""
    ends = [e for e in events if e[1:2] == ["connectionLost"]]
    return {label: (received, reason[0]) for label, _, received, reason in ends}


def test_callbacks_come_in_twisteds_order_and_facts_are_known(reactor_name: str) -> None:
    events = events_of("ssl_connections", reactor_name, "life")
    for side in ("client", "server"):
        callbacks = [event[1] for event in events if event[0] == side and event[1] in CALLBACKS]
        assert callbacks == list(CALLBACKS)
    assert ends_of(events) == {"server": (15, CLEAN[0]), "client": (0, CLEAN[0])}
    assert facts_of(events) == {
        "early": ["early, and more"],
        "version": ["TLSv1_3", "cipher", "TLS13_AES_256_GCM_SHA384"],
        "resumed": [False, "completed", True],
        "client": ["b'http/1.1'", "localhost"],
        "server": ["b'http/1.1'", "localhost"],
        "provided": [[True, True, True]],
        "certificate": [True, "CN=localhost", "CN=authority"],
        "names": [["localhost", "127.0.0.1"], True],
        "none": [None],
    }


def test_ten_megabytes_go_both_ways(reactor_name: str) -> None:
    events = events_of("ssl_connections", reactor_name, "data")
    assert facts_of(events) == {"same": [True, True]}
    assert ends_of(events) == dict.fromkeys(("client", "server"), (10_000_000, CLEAN[0]))


def test_names_choose_certificates_and_reloads_renew_them(reactor_name: str) -> None:
    facts = facts_of(events_of("ssl_connections", reactor_name, "names"))
    assert facts == {
        "localhost": ["CN=localhost"],
        "example.org": ["CN=example.org"],
        "www.example.org": ["CN=*.example.org"],
        "asked": ["www.example.org"],
        "reloaded": [["localhost", "renewed"]],
        "refused": ["/default.pem: there is no certificate in it"],
        "kept": [["localhost", "renewed"]],
    }


def test_clients_show_certificates(reactor_name: str) -> None:
    facts = facts_of(events_of("ssl_connections", reactor_name, "clients"))
    assert facts == {"required": ["CN=client.example.org"], "optional": [None]}


def test_sessions_are_resumed_where_both_allow_it(reactor_name: str) -> None:
    events = events_of("ssl_connections", reactor_name, "resumption")
    resumed = [event[1] for event in events if event[0] == "resumed"]
    assert resumed == [[True, True], [False, False]]
    assert facts_of(events)["older"] == ["TLSv1_2"]


def test_secrets_are_logged_where_that_is_asked_for(reactor_name: str) -> None:
    events = events_of("ssl_connections", reactor_name, "keys")
    secrets = [f"{side}_{kind}" for side in ("CLIENT", "SERVER") for kind in SECRETS]
    # If both sides log, each secret is there twice: they agree on it.
    assert [event[1:] for event in events if event[0] == "logged"] == [
        [[False, False], [], 0],
        [[True, False], sorted([*secrets, "EXPORTER_SECRET"]), 0],
        [[True, True], sorted([*secrets, "EXPORTER_SECRET"]), 5],
    ]


SECRETS = ("HANDSHAKE_TRAFFIC_SECRET", "TRAFFIC_SECRET_0")


def test_what_is_queued_arrives_before_the_end(reactor_name: str) -> None:
    events = events_of("ssl_closing", reactor_name, "queued")
    assert facts_of(events) == {"received": [5_000_000, False]}
    assert ends_of(events) == {"server": (5_000_000, CLEAN[0]), "client": (0, CLEAN[0])}


def test_closing_in_the_handshake_delivers_or_aborts(reactor_name: str) -> None:
    events = events_of("ssl_closing", reactor_name, "in_the_handshake")
    assert facts_of(events) == {"received": ["before"]}
    reasons = [event[3][0] for event in events if event[:2] == ["client", "connectionLost"]]
    assert reasons == [CLEAN[0], ABORTED]


def test_a_paused_transport_closes_and_delivers_no_more(reactor_name: str) -> None:
    ends = ends_of(events_of("ssl_closing", reactor_name, "paused"))
    assert ends == dict.fromkeys(("client", "server"), (0, CLEAN[0]))


def test_an_abort_is_told_on_both_sides(reactor_name: str) -> None:
    ends = ends_of(events_of("ssl_closing", reactor_name, "aborted"))
    assert ends == {"client": (0, ABORTED), "server": (0, LOST)}


def test_a_stream_without_goodbye_is_lost(reactor_name: str) -> None:
    events = events_of("ssl_closing", reactor_name, "truncated")
    assert facts_of(events) == {"is": [True]}
    reason = next(event[3][1] for event in events if event[:2] == ["server", "connectionLost"])
    assert reason.endswith("the stream ended without a TLS close_notify.")


def test_a_peer_without_goodbye_is_waited_for_a_while(reactor_name: str) -> None:
    ends = ends_of(events_of("ssl_closing", reactor_name, "unanswered"))
    assert ends["server"] == (0, CLEAN[0])


def test_a_handshake_has_a_time_limit(reactor_name: str) -> None:
    events = events_of("ssl_closing", reactor_name, "slow_handshake")
    assert ends_of(events)["server"] == (0, "HandshakeTimeout")
    assert facts_of(events) == {"peer": [[0, "Connection reset by peer"]]}


def test_an_exception_in_a_callback_is_the_reason(reactor_name: str) -> None:
    events = events_of("ssl_closing", reactor_name, "raising")
    raised = ["ZeroDivisionError", "in dataReceived"]
    assert facts_of(events) == {"logged": ["", raised]}
    assert ["server", "connectionLost", 0, raised] in events


def test_a_program_may_refuse_the_peer(reactor_name: str) -> None:
    events = events_of("ssl_closing", reactor_name, "verification")
    assert ["client", "connectionLost", 0, ["ValueError", "not this one"]] in events


def test_a_factory_may_make_no_protocol(reactor_name: str) -> None:
    events = events_of("ssl_closing", reactor_name, "refused_protocol")
    assert [event[0] for event in events] == ["client"] * 2
    assert events[-1][3][1].endswith("during the handshake.")


def test_nothing_is_left_of_a_connection(reactor_name: str) -> None:
    assert facts_of(events_of("ssl_closing", reactor_name, "collected"))["left"] == [[]]


def test_a_cycle_through_a_layer_is_collected(reactor_name: str) -> None:
    events = events_of("ssl_closing", reactor_name, "cycles")
    assert events == [["cycle", True], ["collected", True]]


FAILURES = {
    "expired": ("CertificateExpired", "AlertReceived"),
    "not yet valid": ("CertificateNotYetValid", "AlertReceived"),
    "wrong name": ("WrongName", "AlertReceived"),
    "wrong address": ("WrongName", "AlertReceived"),
    "unknown issuer": ("UnknownIssuer", "AlertReceived"),
    "client without": ("AlertReceived", "CertificateMissing"),
    "client unknown": ("AlertReceived", "UnknownIssuer"),
    "no common protocol": ("AlertReceived", "IncompatiblePeer"),
    "no common version": ("AlertReceived", "IncompatiblePeer"),
}


def test_both_sides_hear_why_a_handshake_failed(reactor_name: str) -> None:
    events = events_of("ssl_failures", reactor_name, "tls")
    found: dict[str, dict[str, str]] = {}
    for event in events:
        if event[0] == "case":
            found[event[1]] = {}
            latest = found[event[1]]
        elif event[1:2] == ["connectionLost"]:
            latest[event[0]] = event[3][0]
    # Those that succeed end when they are disconnected from outside.
    for good in ("right address", "anybody"):
        assert found.pop(good) == {"client": LOST, "server": LOST}
    assert {name: (f["client"], f["server"]) for name, f in found.items()} == FAILURES
    assert facts_of(events)["wrong name"] == [["WrongName", "CertificateRefused", "TLSError"]]


@pytest.mark.parametrize(
    ("part", "kinds"),
    [
        ("other", [["PlainHTTP", "NotTLS"], ["NotTLS"], ["ProtocolViolation"]]),
        ("plain_server", [["NotTLS"]]),
        ("tampered", [["ProtocolViolation"]]),
    ],
)
def test_what_is_no_tls_is_told(part: str, kinds: list[list[str]], reactor_name: str) -> None:
    events = events_of("ssl_failures", reactor_name, part)
    told = [event[1] for event in events if event[0] == "is"]
    assert told == [[*kind, "TLSError"] for kind in kinds]


def test_data_runs_no_python_of_the_layer(reactor_name: str) -> None:
    events = events_of("ssl_native", reactor_name, "")
    facts = [event for event in events if event[1] not in CALLBACKS]
    each = [["calls", []], ["deliveries", True, 100], ["counts", True]]
    assert facts == each + each


@pytest.mark.parametrize("reactor", ["ropewalk", "ropewalk-asyncio", "epoll", "asyncio"])
def test_any_reactor_transport_and_peer_will_do(reactor: str) -> None:
    found = run_scenario("ssl_elsewhere", reactor)
    assert found["sockets_left"] == 0
    events = found["events"]
    facts = facts_of(events)
    names = ["rustls with itself", "a rustls server", "a rustls client", "TLS in TLS"]
    assert facts == {name: [True] for name in names}
    reasons = {event[3][0] for event in events if event[1] == "connectionLost"}
    assert reasons == {CLEAN[0]}
