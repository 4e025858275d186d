"""How a Twisted program chooses ropewalk's reactors."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import BASELINES, BIN, MODULES, REACTORS, environment_of


def python(program: str, reactor: str = "ropewalk") -> subprocess.CompletedProcess[str]:
    """Run a program in an interpreter of its own that has the named reactor."""
    return subprocess.run(
        [sys.executable, "-c", program],
        env=environment_of(reactor),
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_twist_offers_the_reactors() -> None:
    done = subprocess.run(
        [str(BIN / "twist"), "--help"], capture_output=True, text=True, timeout=30
    )
    for name in ("ropewalk", *REACTORS):
        assert f'"{name}"' in done.stdout


@pytest.mark.parametrize("command", ["twistd", "trial"])
def test_help_lists_the_reactors(command: str) -> None:
    done = subprocess.run(
        [str(BIN / command), "--help-reactors"],
        env=environment_of("ropewalk-kqueue"),
        capture_output=True,
        text=True,
        timeout=30,
    )
    lines = (done.stdout + done.stderr).splitlines()
    # A reactor whose module cannot be imported is marked with a "!" before its name.
    names = {line.split()[0] for line in lines if line.strip()}
    assert {"ropewalk", *REACTORS} <= names, lines


@pytest.mark.parametrize("name", ["ropewalk", *REACTORS])
def test_trial_runs_on_the_named_reactor(name: str, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "from twisted.trial.unittest import TestCase\n"
        "class It(TestCase):\n"
        "    def test_it(self):\n"
        "        from twisted.internet import reactor\n"
        f"        self.assertEqual(type(reactor).__module__, {module_of(name)!r})\n"
    )
    done = subprocess.run(
        [str(BIN / "trial"), f"--reactor={name}", "test_it"],
        cwd=tmp_path,
        env=with_path(environment_of(name), tmp_path),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stdout
    assert "PASSED (successes=1)" in done.stdout


@pytest.mark.parametrize("name", ["ropewalk", *REACTORS])
def test_twistd_runs_on_the_named_reactor(name: str, tmp_path: Path) -> None:
    (tmp_path / "it.tac").write_text(
        "from twisted.application.service import Application\n"
        "from twisted.internet import reactor\n"
        "application = Application('it')\n"
        "reactor.callWhenRunning(print, 'RUNS ON', type(reactor).__module__)\n"
        "reactor.callWhenRunning(reactor.stop)\n"
    )
    done = subprocess.run(
        [str(BIN / "twistd"), f"--reactor={name}", "--nodaemon", "--pidfile=", "--python=it.tac"],
        cwd=tmp_path,
        env=environment_of(name),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"RUNS ON {module_of(name)}" in done.stdout


def module_of(name: str) -> str:
    """The module of the reactor that a --reactor name stands for."""
    return f"ropewalk.{MODULES[BASELINES.get(name, 'epoll')]}"


def with_path(environment: dict[str, str], directory: Path) -> dict[str, str]:
    """The environment with one more directory to import from."""
    path = [environment.get("PYTHONPATH"), str(directory)]
    return {**environment, "PYTHONPATH": os.pathsep.join(filter(None, path))}


@pytest.mark.parametrize("module", ["", ".default", *(f".{module}" for module in MODULES.values())])
def test_a_second_install_is_refused(module: str) -> None:
    program = f"""
import sys
import ropewalk{module} as chosen
assert "twisted.internet.reactor" not in sys.modules
chosen.install()
from twisted.internet import error, reactor
assert type(reactor).__module__.startswith("ropewalk.")
try:
    chosen.install()
except error.ReactorAlreadyInstalledError as refusal:
    print(refusal)
"""
    done = python(program, "kqueue" if module == ".kqreactor" else "ropewalk")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "reactor already installed\n"


def test_another_reactor_is_not_replaced() -> None:
    program = """
from twisted.internet import error, reactor
import ropewalk
try:
    ropewalk.install()
except error.ReactorAlreadyInstalledError:
    print(type(reactor).__module__)
"""
    done = python(program)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "twisted.internet.epollreactor\n"
