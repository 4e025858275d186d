"""Which poller a program gets that asks for none."""

from __future__ import annotations

import os
import select
import subprocess
import sys

import pytest

from support import MODULES

PROGRAM = """
from twisted.logger import LogLevel, globalLogPublisher

said = []
globalLogPublisher.addObserver(said.append)

import ropewalk

ropewalk.install()

from twisted.internet import reactor

said = [event for event in said if event["log_namespace"].startswith("ropewalk")]
assert all(event["log_level"] is LogLevel.debug for event in said)
print(type(reactor).__module__, reactor.poller, *(event["poller"] for event in said))
"""

#: Has the system answer ENOSYS to one system call from now on.
REFUSE = """
import ctypes, platform, struct

NUMBERS = {"x86_64": {"epoll_create1": 291}, "aarch64": {"epoll_create1": 20}}
number = NUMBERS[platform.machine()]["%s"]
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ENOSYS = 0x7FFF0000, 0x00050000 | 38
code = [(LOAD, 0, 0, 0), (JUMP_IF_EQUAL, 0, 1, number)]
code += [(RETURN, 0, 0, ENOSYS), (RETURN, 0, 0, ALLOW)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
program = struct.pack("HxxxxxxP", 4, ctypes.addressof(code))
libc = ctypes.CDLL(None, use_errno=True)
NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2
assert libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
assert libc.prctl(SECCOMP, FILTER, program) == 0, ctypes.get_errno()
"""


def run(program: str, poller: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program that installs the default reactor."""
    environment = {name: value for name, value in os.environ.items() if name != "ROPEWALK_POLLER"}
    if poller is not None:
        environment["ROPEWALK_POLLER"] = poller
    return subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
    )


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="this system has no epoll(7)")
def test_it_is_the_best_of_the_platform() -> None:
    done = run(PROGRAM)
    assert done.stdout == "ropewalk.epollreactor epoll epoll\n", done.stderr


@pytest.mark.parametrize("poller", ["epoll", "poll", "select"])
def test_the_environment_chooses(poller: str) -> None:
    done = run(PROGRAM, poller)
    assert done.stdout == f"ropewalk.{MODULES[poller]} {poller} {poller}\n", done.stderr


def test_an_unknown_name_is_an_error_with_the_known_ones() -> None:
    done = run(PROGRAM, "devpoll")
    assert done.returncode == 1
    error = done.stderr.splitlines()[-1]
    assert error.startswith('ValueError: ROPEWALK_POLLER="devpoll"'), error
    for known in ("epoll", "poll", "select"):
        assert known in error


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="this system has no epoll(7)")
def test_the_next_is_taken_when_the_system_refuses_one() -> None:
    done = run(REFUSE % "epoll_create1" + PROGRAM)
    assert done.stdout == "ropewalk.pollreactor poll poll\n", done.stderr


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="this system has no epoll(7)")
def test_the_named_one_has_no_successor() -> None:
    done = run(REFUSE % "epoll_create1" + PROGRAM, "epoll")
    assert done.returncode == 1
    assert "ROPEWALK_POLLER=epoll" in done.stderr.splitlines()[-1], done.stderr


def test_classes_of_the_choice_can_be_imported_from_it() -> None:
    program = """
from ropewalk.default import EPollReactor, PollReactor, SelectReactor
import ropewalk.default
assert EPollReactor.__module__ == "ropewalk.epollreactor"
assert not hasattr(ropewalk.default, "IOCPReactor")
print("imported")
"""
    done = run(program)
    assert done.stdout == "imported\n", done.stderr


@pytest.mark.skipif(hasattr(select, "kqueue"), reason="this system has kqueue(2)")
def test_the_kqueue_reactor_says_what_it_needs() -> None:
    done = run("import ropewalk.kqreactor")
    error = done.stderr.splitlines()[-1]
    assert error.startswith("ImportError: ropewalk.kqreactor needs kqueue(2)"), done.stderr
