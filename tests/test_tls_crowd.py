"""Handshakes over TLS that clients begin by the thousand and do not end leave nothing behind."""

from __future__ import annotations

import pytest

from support import run_scenario

#: The most memory for each that is there at once, in KiB, with the client's end, which is in the
#: same process. OpenSSL's is what it is on Twisted's reactors: 66.
LIMITS = {"gathered": 96, "rustls": 24}


@pytest.mark.parametrize(
    "kind", [pytest.param("gathered", id="pyOpenSSL"), pytest.param("rustls", id="ropewalk.ssl")]
)
def test_keeps_nothing_of_ten_thousand_that_leave_after_the_hello(kind: str) -> None:
    found = run_scenario("tls_crowd", "ropewalk-epoll", kind)
    assert found["events"] == [
        ["heard", 10_001, 10_000],
        ["descriptors", 0],
        ["calls", 0],
        ["good", "before, and still here"],
    ]
    assert found["sockets_left"] == 0
    # The descriptor that Twisted's ports reserve.
    assert found["descriptors_left"] <= 1
    # A kilobyte kept of each would be eight times as much.
    assert found["figures"]["KiB more"] < 1024
    assert found["figures"]["KiB of each"] < LIMITS[kind]
