"""Twisted's StandardIO, in programs of its own, does the same on ropewalk as on Twisted's reactors.

Nothing of it is native; its descriptors are strange ones: not nonblocking when they come, shared,
such as epoll refuses, two objects with the same number.
"""

from __future__ import annotations

import functools
import hashlib
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from standard_io import PATIENCE, Program, nothing_running, read_all, write_all
from support import BASELINES

#: Twisted's of the same name serve regular files in one way or the other.
REACTORS = [name for name in BASELINES if name != "ropewalk-kqueue"]

#: More bytes than any pipe or socket takes at once.
LARGE = 1_000_000

DATA = bytes(range(251)) * 4000


class Piped(Program):
    """One with a pipe for each."""

    def __init__(self, reactor: str, protocol: str) -> None:
        stdin, self.to = os.pipe()
        self.of, stdout = os.pipe()
        super().__init__(reactor, protocol, stdin, stdout)
        os.close(stdin)
        os.close(stdout)
        self.hears("made")


def pipes_echo(reactor: str, tmp_path: Path) -> list[Any]:
    program = Piped(reactor, "HalfEcho")
    writer = write_all(program.to, DATA)
    program.until("it.received > 0")
    back: list[Any] = []
    reader = threading.Thread(daemon=True, target=lambda: back.extend(read_all(program.of)))
    reader.start()
    writer.join()
    program.hears("read lost")
    program.do("io.loseConnection()")
    program.hears("lost")
    found = program.end()
    reader.join()
    assert back == [len(DATA), hashlib.sha256(DATA).hexdigest()]
    return [*found, back]


def input_ends_while_output_waits(reactor: str, tmp_path: Path) -> list[Any]:
    program = Piped(reactor, "Recorder")
    program.do("io.write(b'x' * 1_000_000)")
    program.idle()
    os.close(program.to)
    program.hears("lost")
    found = program.end()
    # As much as the pipe took.
    assert 0 < read_all(program.of)[0] < LARGE
    return found


def input_ends_while_half_closed_output_waits(reactor: str, tmp_path: Path) -> list[Any]:
    program = Piped(reactor, "Half")
    program.do("io.write(b'x' * 1_000_000)")
    os.close(program.to)
    program.hears("read lost")
    program.do("io.loseConnection()")
    found: list[Any] = []
    reader = threading.Thread(daemon=True, target=lambda: found.extend(read_all(program.of)))
    reader.start()
    program.hears("lost")
    events = program.end()
    reader.join()
    assert found[0] == 1_000_000
    return [*events, found]


def output_is_half_closed(reactor: str, tmp_path: Path) -> list[Any]:
    program = Piped(reactor, "Half")
    program.do("io.writeSequence([b'a', b'', b'b'])")
    program.do("io.loseWriteConnection()")
    program.hears("write lost")
    program.do("io.write(b'dropped')")
    os.write(program.to, b"still read")
    program.until("it.received == 10")
    os.close(program.to)
    program.hears("read lost")
    program.idle()
    program.do("io.loseConnection()")
    program.idle()
    return [*program.end(), read_all(program.of)]


def nobody_reads(protocol: str, writes: int, reactor: str, tmp_path: Path) -> list[Any]:
    program = Piped(reactor, protocol)
    if writes:
        program.do(f"io.write(b'x' * {writes})")
        program.idle()
    os.close(program.of)
    if protocol == "Recorder":
        program.until("io._writer is None")
    else:
        program.hears("write lost")
    program.do("io.write(b'dropped')")
    program.idle()
    if protocol != "HalfRaising":
        os.write(program.to, b"still read")
        program.until("it.received == 10")
    os.close(program.to)
    program.hears("lost" if protocol != "Half" else "read lost")
    program.idle()
    return program.end()


def produced(streaming: bool, reactor: str, tmp_path: Path) -> list[Any]:
    program = Piped(reactor, "Recorder")
    program.do(f"produce(3_000_000, {streaming})")
    program.idle()
    found: list[Any] = []
    reader = threading.Thread(daemon=True, target=lambda: found.extend(read_all(program.of)))
    reader.start()
    program.hears("lost")
    events = program.end()
    reader.join()
    os.close(program.to)
    assert found[0] == 3_000_000
    return [*events, found]


def producers_without_reader(reactor: str, tmp_path: Path) -> list[Any]:
    program = Piped(reactor, "Half")
    program.do("produce(3_000_000, True)")
    os.close(program.of)
    program.hears("told to stop")
    program.hears("write lost")
    program.do("produce(10, True)")
    os.close(program.to)
    program.hears("read lost")
    return program.end()


def paused(reactor: str, tmp_path: Path) -> list[Any]:
    program = Piped(reactor, "Recorder")
    program.do("io.pauseProducing()")
    os.write(program.to, b"waits")
    program.idle()
    program.do("it.received")
    program.do("io.resumeProducing()")
    program.until("it.received == 5")
    program.do("io.stopReading()")
    os.close(program.to)
    program.idle()
    program.do("it.lost")
    program.do("io.startReading()")
    program.hears("lost")
    return [*program.end(), read_all(program.of)]


def raising(protocol: str, reactor: str, tmp_path: Path) -> list[Any]:
    program = Piped(reactor, protocol)
    os.write(program.to, b"data")
    program.until("it.received == 4")
    program.idle()
    os.close(program.to)
    program.hears("lost")
    return [*program.end(), read_all(program.of)]


def a_socket(numbers: tuple[int, int], protocol: str, reactor: str, tmp_path: Path) -> list[Any]:
    near, far = socket.socketpair()
    program = Program(reactor, protocol, near.fileno(), near.fileno(), numbers)
    near.close()
    program.hears("made")
    far.settimeout(PATIENCE)
    far.sendall(b"there")
    back = b""
    while protocol.endswith("Echo") and len(back) < 5:
        back += far.recv(5)
    program.until("it.received == 5")
    program.do("io.write(b'x' * 1_000_000)")
    program.idle()
    received = 0
    while received < 1_000_000:
        received += len(far.recv(65536))
    far.sendall(b" and back")
    program.until("it.received == 14")
    while protocol.endswith("Echo") and len(back) < 14:
        back += far.recv(9)
    far.shutdown(socket.SHUT_WR)
    program.hears("read lost" if protocol.startswith("Half") else "lost")
    program.idle()
    program.do("io.write(b'after the end')")
    program.do("io.loseConnection()")
    program.idle()
    observed = program.end(back.decode())
    rest = b""
    while data := far.recv(65536):
        rest += data
    far.close()
    return [*observed, rest.decode()]


def one_number(reactor: str, tmp_path: Path) -> list[Any]:
    near, far = socket.socketpair()
    program = Program(reactor, "Recorder", near.fileno(), near.fileno(), (0, 0))
    near.close()
    program.hears("made")
    far.sendall(b"there")
    program.until("it.received == 5")
    # More than the socket takes, so that the writer waits, and the reader is displaced.
    program.do("io.write(b'x' * 10_000_000)")
    program.idle()
    far.sendall(b"unheard")
    program.idle()
    program.do("it.received")
    found = list(program.events)
    program.end()
    far.close()
    return found


def a_socket_whose_peer_goes(protocol: str, reactor: str, tmp_path: Path) -> list[Any]:
    near, far = socket.socketpair()
    program = Program(reactor, protocol, near.fileno(), near.fileno())
    near.close()
    program.hears("made")
    program.do("io.write(b'x' * 1_000_000)")
    program.idle()
    far.close()
    program.hears("read lost" if protocol.startswith("Half") else "lost")
    if protocol.startswith("Half"):
        program.hears("write lost")
    program.idle()
    return program.end()


def a_terminal(numbers: tuple[int, int], reactor: str, tmp_path: Path) -> list[Any]:
    master, slave = os.openpty()
    program = Program(reactor, "Half", slave, slave, numbers)
    os.close(slave)
    program.hears("made")
    os.write(master, b"a line\n")
    program.until("it.received == 7")
    program.do("io.write(b'and back')")
    screen = b""
    while not screen.endswith(b"and back"):
        screen += os.read(master, 100)
    program.do("io.write(b'x' * 200_000)")
    program.idle()
    count = 0
    while count < 200_000:
        count += len(os.read(master, 65536))
    os.write(master, b"\x04")
    program.hears("read lost")
    program.idle()
    program.do("io.loseConnection()")
    program.idle()
    program.do("flags(0)")
    found = program.end(screen.decode())
    os.close(master)
    return found


def a_terminal_that_hangs_up(protocol: str, reactor: str, tmp_path: Path) -> list[Any]:
    master, slave = os.openpty()
    program = Program(reactor, protocol, slave, slave)
    os.close(slave)
    program.hears("made")
    program.do("io.write(b'unread')")
    program.idle()
    os.close(master)
    program.hears("read lost" if protocol.startswith("Half") else "lost")
    program.do("io.write(b'dropped')")
    program.idle()
    return program.end()


def files(protocol: str, reactor: str, tmp_path: Path) -> list[Any]:
    source, copy = tmp_path / f"source-{reactor}", tmp_path / f"copy-{reactor}"
    source.write_bytes(DATA)
    with source.open("rb") as stdin, copy.open("wb") as stdout:
        program = Program(reactor, protocol, stdin.fileno(), stdout.fileno())
        program.hears("read lost" if protocol.startswith("Half") else "lost")
        program.idle()
        program.do("io.write(b' and more')")
        program.do("io.loseConnection()")
        program.idle()
        found = program.end()
    content = copy.read_bytes()
    if protocol.startswith("Half"):
        assert content == DATA + b" and more"
    return [*found, len(content), hashlib.sha256(content).hexdigest()]


def a_file_for_output(reactor: str, tmp_path: Path) -> list[Any]:
    copy = tmp_path / f"copy-{reactor}"
    stdin, to = os.pipe()
    with copy.open("wb") as stdout:
        program = Program(reactor, "HalfEcho", stdin, stdout.fileno())
    os.close(stdin)
    program.hears("made")
    write_all(to, DATA).join()
    program.hears("read lost")
    program.do("produce(100_000, True)")
    program.hears("lost")
    found = program.end()
    assert copy.read_bytes() == DATA + b"p" * 100_000
    return found


def dev_null(protocol: str, reactor: str, tmp_path: Path) -> list[Any]:
    with open(os.devnull, "r+b", buffering=0) as null:
        program = Program(reactor, protocol, null.fileno(), null.fileno())
    program.hears("read lost" if protocol.startswith("Half") else "lost")
    program.do("io.write(b'x' * 1000)")
    program.do("io.loseConnection()")
    program.idle()
    return program.end()


def closed(numbers: tuple[int, int], reactor: str, tmp_path: Path) -> list[Any]:
    with open(os.devnull, "r+b", buffering=0) as null:
        program = Program(reactor, "Half", null.fileno(), null.fileno(), numbers)
    program.hears("raises")
    program.idle()
    return program.end()


Case = Callable[[str, Path], list[Any]]

#: A number that no descriptor has.
NONE = 99

CASES: dict[str, Case] = {
    "pipes echo": pipes_echo,
    "input ends while output waits": input_ends_while_output_waits,
    "input ends while half closed output waits": input_ends_while_half_closed_output_waits,
    "output is half closed": output_is_half_closed,
    "paused": paused,
    "a push producer": functools.partial(produced, True),
    "a pull producer": functools.partial(produced, False),
    "producers without reader": producers_without_reader,
    "a file for output": a_file_for_output,
    "input is closed": functools.partial(closed, (NONE, 1)),
    "output is closed": functools.partial(closed, (0, NONE)),
    "a terminal": functools.partial(a_terminal, (0, 1)),
}
for protocol, sizes in (("Recorder", (0, LARGE)), ("Half", (0, LARGE)), ("HalfRaising", (10,))):
    for size in sizes:
        name = f"nobody reads {size} of {protocol}"
        CASES[name] = functools.partial(nobody_reads, protocol, size)
for protocol in ("Raising", "HalfRaising"):
    CASES[f"{protocol}"] = functools.partial(raising, protocol)
for protocol in ("Recorder", "Half"):
    for name, case in (
        ("a socket's peer goes", a_socket_whose_peer_goes),
        ("a terminal hangs up", a_terminal_that_hangs_up),
        ("/dev/null", dev_null),
    ):
        CASES[f"{name} under {protocol}"] = functools.partial(case, protocol)
for protocol in ("Echo", "HalfEcho"):
    CASES[f"files of {protocol}"] = functools.partial(files, protocol)
    CASES[f"a socket under {protocol}"] = functools.partial(a_socket, (0, 1), protocol)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("reactor", REACTORS)
def test_happens_as_on_twisteds_reactor(reactor: str, case: str, tmp_path: Path) -> None:
    with nothing_running():
        expected = CASES[case](BASELINES[reactor], tmp_path)
        assert len(expected) > 2, "a case without events shows nothing"
        assert CASES[case](reactor, tmp_path) == expected


@pytest.mark.parametrize("reactor", REACTORS)
def test_the_later_of_two_with_one_number_is_served(reactor: str, tmp_path: Path) -> None:
    with nothing_running():
        # Those of Twisted's reactors that know descriptors by their numbers.
        assert one_number(reactor, tmp_path) == one_number("epoll", tmp_path)
