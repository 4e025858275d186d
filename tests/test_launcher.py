"""``python -m ropewalk`` runs a program as Python would, on ropewalk's reactor."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PROGRAM = """
import sys
from twisted.internet import reactor

print(type(reactor).__module__, __name__, sys.argv[1:], sys.path[0])
reactor.callWhenRunning(reactor.stop)
reactor.run()
"""


def launch(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ropewalk", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "programs").mkdir()
    path = tmp_path / "programs" / "app.py"
    path.write_text(PROGRAM)
    return path


def said(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_a_script_runs_with_its_arguments_and_its_directory(program: Path, tmp_path: Path) -> None:
    done = launch("programs/app.py", "--reactor", "x", cwd=tmp_path)
    expected = f"__main__ ['--reactor', 'x'] {program.parent.resolve()}"
    assert said(done).partition(" ")[2] == expected
    assert said(done).startswith("ropewalk.")


def test_a_module_runs(program: Path) -> None:
    done = launch("-m", "app", "x", cwd=program.parent)
    assert said(done).partition(" ")[2] == f"__main__ ['x'] {program.parent.resolve()}"


def test_code_runs(tmp_path: Path) -> None:
    done = launch("-c", PROGRAM, "x", cwd=tmp_path)
    assert said(done).partition(" ")[2] == f"__main__ ['x'] {tmp_path.resolve()}"


def test_a_zip_file_runs(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        archive.writestr("__main__.py", PROGRAM)
    done = launch("app.zip", cwd=tmp_path)
    assert said(done).partition(" ")[2] == "__main__ [] app.zip"


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["--reactor=epoll"], "epoll"),
        (["--reactor", "poll"], "poll"),
        (["--reactor=ropewalk-select"], "select"),
        (["--reactor", "asyncio"], "asyncio"),
    ],
)
def test_the_reactor_is_the_one_that_was_asked_for(
    arguments: list[str], name: str, program: Path
) -> None:
    done = launch(*arguments, "app.py", cwd=program.parent)
    assert said(done).startswith(f"ropewalk.{name}reactor ")


def test_a_program_that_exits_gives_its_status(tmp_path: Path) -> None:
    assert launch("-c", "raise SystemExit(7)", cwd=tmp_path).returncode == 7


def test_a_command_of_twisted_runs(tmp_path: Path) -> None:
    done = launch("-m", "twisted", "--version", cwd=tmp_path)
    assert "26.10" in said(done)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "no program to run"),
        (["--reactor", "nope", "app.py"], "--reactor wants one of default, epoll, kqueue"),
        (["--reactor"], "not ''"),
        (["--frobnicate", "app.py"], "unknown option --frobnicate"),
        (["-m"], "-m wants an argument"),
        (["gone.py"], "can't open file 'gone.py'"),
        (["--reactor", "kqueue", "-c", ""], "cannot install the kqueue reactor"),
    ],
)
def test_bad_usage_is_told(arguments: list[str], reason: str, tmp_path: Path) -> None:
    done = launch(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert reason in done.stderr.splitlines()[-1]
    assert done.stdout == ""


def test_help_names_the_reactors(tmp_path: Path) -> None:
    assert "default, epoll, kqueue, poll, select, asyncio" in said(launch("-h", cwd=tmp_path))
