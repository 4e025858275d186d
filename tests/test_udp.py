"""UDP ports of ropewalk's reactors: native, and like Twisted's but where they promise more."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from twisted.internet import udp as twisted_udp

from ropewalk import _ropewalk, udp
from support import REACTORS, assert_same, run_scenario

#: The reactor inside asyncio as well.
ALL = [*REACTORS, "ropewalk-asyncio"]


def test_ports_are_native_and_twisteds() -> None:
    for ours, theirs in [
        (udp.Port, twisted_udp.Port),
        (udp.MulticastPort, twisted_udp.MulticastPort),
    ]:
        assert issubclass(ours, _ropewalk.Datagram)
        assert issubclass(ours, theirs)
        assert ours.write is _ropewalk.Datagram.write
        assert ours.doRead is _ropewalk.Datagram.doRead


@pytest.mark.parametrize("reactor", ALL)
def test_misuse_ends_as_on_twisteds_reactor(reactor: str) -> None:
    assert_same("udp_misuse", reactor)


@pytest.mark.parametrize("reactor", ALL)
def test_datagrams_arrive_as_on_twisteds_reactor(reactor: str) -> None:
    assert_same("udp_delivery", reactor, *(["polled"] if reactor in REACTORS else []))


@pytest.mark.parametrize("reactor", ALL)
def test_a_silenced_port_is_silent_and_a_refused_one_lives_on(reactor: str) -> None:
    found = run_scenario("udp_native", reactor)
    first, whole = ["0", "1"], ["0", "1", "2", "3", "4", "5"]
    paused = [["before", first], ["still", first], ["after", whole], ["stopped", whole]]
    assert found["events"] == [
        *[["pauseProducing"], *paused],
        *[["stopReading"], *paused],
        *[["stopListening"], ["stopped", first]],
        *[["connectionLost"], ["stopped", first]],
        *[["refused"], ["peer", "to somebody"], ["refused"]],
        *[["connected", True], ["stopped", ["answer"]]],
    ]
    assert found["sockets_left"] == 0


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_a_batch_is_received_by_one_call(tmp_path: Path) -> None:
    record = tmp_path / "calls"
    singles, together = 20, 60
    strace = ("strace", "-f", "-o", str(record), "-e", "trace=recvmmsg,recvfrom,recvmsg,sendto")
    found = run_scenario("udp_calls", "ropewalk-epoll", str(singles), str(together), prefix=strace)
    (number, name), *_ = found["events"]
    assert "ropewalk.udp.Port" in name
    calls = re.findall(rf"(\w+)\({number}, (.*)", record.read_text())
    received = [text for call, text in calls if call.startswith("recv")]
    # One call for each datagram that came alone, and none to find out that there is no other.
    assert {call for call, _ in calls} == {"recvmmsg", "sendto"}
    assert len(received) <= singles + together // 8
    assert not any("EAGAIN" in text for text in received)
    assert sum(call == "sendto" for call, _ in calls) == singles + together
