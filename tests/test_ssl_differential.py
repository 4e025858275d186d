"""`ropewalk.ssl` does what Twisted's TLS does on Twisted's reactors, as programs see it."""

from __future__ import annotations

import json
from typing import Any

from support import assert_same, baseline_of, run_scenario

#: What both call a lost connection, in different words.
LOST = "ConnectionLost"


def events_without_words(found: dict[str, Any]) -> list[str]:
    """The events, in which the text of a lost connection is left out."""
    events = json.loads(json.dumps(found["events"]))
    for event in events:
        if event[1:2] == ["connectionLost"] and event[-1][0] == LOST:
            event[-1][1] = ""
    return [json.dumps(event) for event in events]


def test_starts_in_the_middle_of_a_stream_in_both_roles(reactor_name: str) -> None:
    assert_same("tls_start", reactor_name, "rustls")


def test_producers_are_paused_and_resumed_at_the_same_points(reactor_name: str) -> None:
    expected = baseline_of("tls_producers", reactor_name, "rustls")
    found = run_scenario("tls_producers", reactor_name, "rustls")
    assert events_without_words(found) == events_without_words(expected)
    assert len(found["events"]) > 40
    assert found["sockets_left"] == 0


def test_data_arrives_as_it_was_written(reactor_name: str) -> None:
    *expected, end = baseline_of("tls_delivery", reactor_name, "rustls")["events"]
    *found, own_end = run_scenario("tls_delivery", reactor_name, "rustls")["events"]
    assert found == expected
    # An answer to data that came with the peer's goodbye is sent before one's own.
    assert own_end[:2] == end[:2]
    assert own_end[2] == end[2] + len("the last")


def test_connections_end_the_same_way_but_for_better_reasons(reactor_name: str) -> None:
    expected = baseline_of("tls_closing", reactor_name, "rustls")["events"]
    found = run_scenario("tls_closing", reactor_name, "rustls")["events"]
    assert len(found) == len(expected)
    pairs = [(own, theirs) for own, theirs in zip(found, expected, strict=True) if own != theirs]
    # Which alert a broken record is answered with, is each library's own choice.
    alerts = [own for own, theirs in pairs if theirs[0] == "peer" and "alert" in theirs[1]]
    assert len(alerts) == 1
    assert "alert" in alerts[0][1]
    pairs = [(own[-1], theirs[-1]) for own, theirs in pairs if own not in alerts]
    kinds = {own if isinstance(own, str) else own[0] for own, _ in pairs}
    assert kinds == {LOST, *BETTER}
    for own, theirs in pairs:
        assert own[0] != LOST or theirs[0] == LOST


#: What programs hear of where Twisted's TLS says that the connection was lost, or names an error of
#: OpenSSL's: that it was they who aborted, and what they raised themselves. And what a peer gets in
#: addition: an answer that was written before its goodbye came.
BETTER = {"ConnectionAborted", "ValueError", "ProtocolViolation", "b'answer'"}
