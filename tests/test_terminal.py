"""Full-screen programs in a terminal within a terminal, both of them relayed by Twisted."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from support import REACTORS, ROOT, environment_of
from tmux import Pane, pane

RELAY = ROOT / "tests" / "programs" / "terminal_relay.py"

#: An editor without anybody's settings, whose last line but one tells its process and its size.
EDITOR = ["vim", "--clean", "-N", "-n", "-i", "NONE"]
EDITOR += ["--cmd", "set laststatus=2 statusline=%{getpid()}:%{&columns}x%{&lines}"]


@pytest.fixture(params=[*REACTORS, "ropewalk-asyncio", "epoll"])
def reactor(request: pytest.FixtureRequest) -> str:
    """Every reactor of ropewalk, and one of Twisted's, by which the tests themselves are judged."""
    return request.param


def relayed(
    directory: Path, reactor: str, command: list[str], *, relay: str = str(RELAY)
) -> AbstractContextManager[Pane]:
    """A pane with a program that is relayed."""
    return pane(directory, [sys.executable, relay, reactor, *command], environment_of(reactor))


def test_an_editor_is_used_through_a_relay(reactor: str, tmp_path: Path) -> None:
    with relayed(tmp_path, reactor, [*EDITOR, "file"]) as outer:
        outer.shows(r"^\d+:80x24$")
        outer.type("iropewalk, ünïcode", "Enter")
        outer.type("second line", "Escape")
        outer.shows(r"^ropewalk, ünïcode\nsecond line\n~$")
        outer.resize(61, 17)
        outer.shows(r"^\d+:61x17$")
        outer.type(":w", "Enter")
        outer.shows(r'^"file" \[New\] 2L, ')
        assert (tmp_path / "file").read_text() == "ropewalk, ünïcode\nsecond line\n"
        outer.resize(100, 40)
        outer.shows(r"^\d+:100x40$")
        outer.type(":cquit 5", "Enter")
        assert outer.end() == (5, True)
        # Lines are echoed and edited again.
        outer.type("a lane", "BSpace", "BSpace", "BSpace")
        outer.type("ine", "Enter")
        outer.shows(r"^a line\na line$")


def test_a_relay_that_is_terminated_leaves_the_terminal_as_it_was(
    reactor: str, tmp_path: Path
) -> None:
    with relayed(tmp_path, reactor, [*EDITOR, "file"]) as outer:
        editor = outer.shows(r"^(\d+):80x24$")[1]
        outer.type("inever saved")
        outer.shows("^never saved$")
        os.kill(int(outer.file("pid")), signal.SIGTERM)
        assert outer.end() == (0, True)
        outer.until(lambda: is_gone(editor), "the editor's end")
        assert not (tmp_path / "file").exists()


def is_gone(process: str) -> bool:
    """Whether the process has ended, be it waited for or not."""
    try:
        return ") Z " in Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_flood_through_a_relay_is_paged_and_interrupted(reactor: str, tmp_path: Path) -> None:
    with relayed(tmp_path, reactor, ["env", "PS1=inner> ", "sh"]) as outer:
        outer.shows(r"^inner>$")
        # What the relay cannot write yet waits in the terminal inside.
        outer.type("seq 300000", "Enter")
        outer.shows(r"^299999\n300000\ninner>$")
        outer.type("seq 1000 | less -X", "Enter")
        outer.shows("^23\n:$")
        outer.type("G")
        outer.shows(r"^1000\n\(END\)$")
        outer.type("q")
        outer.shows(r"^inner>$")
        outer.type("yes flood", "Enter")
        outer.shows(r"^flood\nflood\nflood$")
        outer.type("", "C-c")
        outer.shows(r"^inner>\n*\Z")
        outer.type("exit 3", "Enter")
        assert outer.end() == (3, True)


def test_twisteds_manhole_has_the_terminal_to_itself(reactor: str, tmp_path: Path) -> None:
    command = ["-m", "twisted.conch.stdio"]
    if reactor == "epoll":
        command = [sys.executable, *command]
    else:
        command = [sys.executable, "-m", "ropewalk", "--reactor", reactor[9:], *command]
    with pane(tmp_path, command, environment_of(reactor)) as outer:
        outer.shows("^>>> *$")
        outer.type("6 * 7", "Enter")
        outer.shows(r"^>>> 6 \* 7\n42\n>>> *$")
        outer.type("from twisted.internet import reactor; print(type(reactor).__module__)", "Enter")
        module = "twisted.internet.epollreactor" if reactor == "epoll" else "ropewalk."
        outer.shows(rf"^{module}\w*$")
        outer.type("", "C-d")
        assert outer.end() == (0, True)
