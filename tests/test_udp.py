"""Datagram ports of ropewalk's reactors: native, and like Twisted's or with more to promise."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from twisted.internet import udp as twisted_udp
from twisted.internet import unix as twisted_unix
from zope.interface import implementedBy

from ropewalk import _ropewalk, udp, unix
from support import (
    BASELINES,
    REACTORS,
    ROOT,
    assert_same,
    baseline_of,
    environment_of,
    run_scenario,
)

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
    for ours, theirs in [
        (unix.DatagramPort, twisted_unix.DatagramPort),
        (unix.ConnectedDatagramPort, twisted_unix.ConnectedDatagramPort),
    ]:
        assert issubclass(ours, _ropewalk.Datagram)
        assert issubclass(ours, theirs)
        assert ours.doRead is _ropewalk.Datagram.doRead
        assert set(implementedBy(ours)) == set(implementedBy(theirs))


@pytest.mark.parametrize("reactor", ALL)
def test_misuse_ends_as_on_twisteds_reactor(reactor: str) -> None:
    assert_same("udp_misuse", reactor)


@pytest.mark.parametrize("reactor", ALL)
def test_datagrams_arrive_as_on_twisteds_reactor(reactor: str) -> None:
    assert_same("udp_delivery", reactor, *(["polled"] if reactor in REACTORS else []))


@pytest.mark.parametrize("reactor", ALL)
def test_unix_datagrams_arrive_as_on_twisteds_reactor(reactor: str) -> None:
    assert_same("unix_datagrams", reactor)


@pytest.mark.parametrize("reactor", ALL)
def test_unix_ports_with_one_peer_are_as_on_twisteds_reactor(reactor: str) -> None:
    found = assert_same("unix_connected_datagrams", reactor)
    assert ["full", "NoneType", True] in found["events"]
    assert ["client", "connectionRefused"] in found["events"]


@pytest.mark.parametrize("reactor", ALL)
def test_unix_datagrams_run_no_python_of_the_ports(reactor: str) -> None:
    found = run_scenario("unix_datagrams_native", reactor)
    assert ["classes", "ropewalk.unix", "ropewalk.unix"] in found["events"]
    assert ["received", 100, 100] in found["events"]
    assert found["figures"]["calls"] == 0
    # The count counts: two reads and two writes for each.
    assert baseline_of("unix_datagrams_native", reactor)["figures"]["calls"] >= 400


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
    # What waits in a paused port does not keep the loop busy.
    assert all(seconds < 0.5 for seconds in found["figures"].values()), found["figures"]
    assert found["sockets_left"] == 0


@contextmanager
def name_server(reactor: str) -> Iterator[int]:
    """The port of a name server of Twisted's on the named reactor."""
    server = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "programs" / "names.py"), reactor],
        env=environment_of(reactor),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    with server:
        try:
            assert server.stdout is not None
            yield int(server.stdout.readline())
        finally:
            server.kill()


def answers(reactor: str) -> str:
    """What dig is told, sorted within each answer by itself."""
    questions = [
        *("www.example.com", "A", "www.example.com", "AAAA", "example.com", "NS"),
        *("many.example.com", "TXT", "absent.example.com", "A", "example.com", "SOA"),
    ]
    with name_server(reactor) as port:
        told = []
        for way in ("+notcp", "+tcp"):
            for name, kind in zip(questions[::2], questions[1::2], strict=True):
                command = ["dig", "@127.0.0.1", "-p", str(port), way, "+tries=2", "+time=5"]
                options = ["+noall", "+answer", "+authority", "+comments"]
                found = subprocess.run(
                    [*command, *options, name, kind], capture_output=True, text=True, timeout=30
                )
                assert found.returncode == 0, found.stdout + found.stderr
                lines = [re.sub(r"id: \d+", "", line) for line in found.stdout.splitlines()]
                told += sorted(lines)
    return "\n".join(told)


@pytest.mark.skipif(shutil.which("dig") is None, reason="needs dig")
def test_dig_asks_a_name_server(reactor_name: str) -> None:
    expected = answers(BASELINES[reactor_name])
    assert "2001:db8::1" in expected
    assert expected.count("NXDOMAIN") == 2
    assert expected.count("TXT") == 2 * 200
    assert answers(reactor_name) == expected


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
