"""Runs of trial in child processes, and what they recorded."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

HERE = Path(__file__).resolve().parent

#: The modules whose tests are made once per reactor; see CONTRIBUTING.md.
BUILDER_MODULES = [
    f"twisted.internet.test.test_{name}"
    for name in (
        "core",
        "time",
        "fdset",
        "threads",
        "socket",
        "stdio",
        "udp",
        "unix",
        "tls",
        "newtls",
        "process",
        "tcp",
    )
]

#: Modules whose tests run on the installed reactor, the ones that a poller can make fail.
INSTALLED_MODULES = [
    f"twisted.test.test_{name}"
    for name in ("internet", "process", "ssl", "stdio", "tcp", "threads", "udp", "unix")
]

#: Modules whose tests share something outside their process, here a network device's name, so that
#: two of them cannot run at the same time.
UNSHAREABLE = ["twisted.pair"]

#: From harmless to grave. A test with several outcomes (a failure, then an unclean reactor) counts
#: as the gravest.
GRAVITY = ("passed", "todo", "skipped", "unexpected-success", "failed", "errored", "hung")


@dataclass(frozen=True)
class Outcome:
    """How a test ended: the gravest kind, and the texts of what was reported."""

    kind: str
    text: str = ""


@dataclass
class Results:
    """The outcome of every test of a run, by normalised test id."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    seconds: float = 0.0

    def counts(self) -> Counter[str]:
        """How many tests ended in each way."""
        return Counter(outcome.kind for outcome in self.outcomes.values())

    def to_json(self) -> str:
        rows = {test: [o.kind, o.text] for test, o in sorted(self.outcomes.items())}
        return json.dumps({"seconds": self.seconds, "outcomes": rows}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Results:
        data = json.loads(text)
        rows = {test: Outcome(*row) for test, row in data["outcomes"].items()}
        return cls(rows, data["seconds"])


@dataclass
class Attempt:
    """What one process of trial did before it ended or was ended."""

    #: The outcomes of each test that ended, by trial's id.
    ended: dict[str, list[list[str]]] = field(default_factory=dict)
    #: The tests that ran when the process ended.
    running: list[str] = field(default_factory=list)
    #: Whether all tests were run.
    complete: bool = False
    #: What is said of `running` if there are any, and why.
    kind: str = "errored"
    trouble: str = ""


class SuiteError(Exception):
    """Trial itself did not work; the message says how."""


@dataclass
class TrialRun:
    """One set of tests on one reactor."""

    #: The `--reactor` name of the installed reactor.
    installed: str
    #: Test modules, packages or single tests, as trial takes them.
    names: list[str]
    #: Dotted name of the one reactor for Twisted's builders, or None for Twisted's own list.
    builder_reactor: str | None = None
    #: Number of worker processes; 0 runs the tests in trial's own process.
    jobs: int = 0
    #: Modules and packages to leave out of `names`.
    without: tuple[str, ...] = ()
    #: Directories in which the names are looked for first.
    path: tuple[str, ...] = ()
    #: Objects to put in the place of others before any test module is imported: dotted names of
    #: the place and of the object.
    substitutes: tuple[tuple[str, str], ...] = ()
    #: Directories in the search path of all Python processes of the run.
    site: tuple[str, ...] = ()
    #: Seconds without any test starting or ending, after which the tests that run count as hung.
    #: Above trial's own 120 s, which end a test whose reactor still turns.
    patience: float = 150.0

    def run(self) -> Results:
        """Run every test; one that hangs or takes the process with it costs the others nothing."""
        begun = time.monotonic()
        results = Results()
        if self.jobs and self.names == ["twisted"]:
            alone = replace(self, names=UNSHAREABLE, jobs=0)
            results.outcomes |= alone.run().outcomes
            self = replace(self, without=tuple(UNSHAREABLE))
        done: set[str] = set()
        suspects: list[str] = []
        while True:
            attempt = self._attempt(done)
            for test, outcomes in attempt.ended.items():
                results.outcomes[self.normalise(test)] = worst(outcomes)
            if attempt.complete:
                break
            if not attempt.ended and not attempt.running:
                raise SuiteError(f"trial ran no test: {attempt.trouble}")
            done |= attempt.ended.keys() | set(attempt.running)
            suspects += attempt.running
            if len(attempt.running) == 1:
                test = self.normalise(suspects.pop())
                results.outcomes[test] = Outcome(attempt.kind, attempt.trouble)
        # Several ran when the process was ended; each alone shows which of them was at fault.
        for test in suspects:
            results.outcomes |= replace(self, names=[test], jobs=0).run().outcomes
        results.seconds = round(time.monotonic() - begun, 1)
        return results

    def normalise(self, test: str) -> str:
        """The id with the reactor's class name replaced, so that two reactors' ids compare."""
        if self.builder_reactor is None:
            return test
        class_name = self.builder_reactor.rpartition(".")[2]
        return test.replace(f"_{class_name}Tests", "_@REACTOR@Tests")

    def _attempt(self, done: set[str]) -> Attempt:
        """Run what is not done yet."""
        directory = Path(tempfile.mkdtemp(prefix="ropewalk-conformance-"))
        try:
            record = directory / "record.jsonl"
            record.touch()
            with (directory / "output").open("wb") as output:
                child = self._start(directory, record, sorted(done), output)
                status = wait_while_writing(child, record, self.patience)
            attempt = read_record(record)
            if status is None:
                attempt.kind = "hung"
                attempt.trouble = f"no test began or ended within {self.patience:.0f} s"
            elif not attempt.complete:
                attempt.kind = "errored"
                attempt.trouble = f"the process ended with status {status}\n{tail(directory)}"
            return attempt
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _start(self, directory: Path, record: Path, done: list[str], output) -> subprocess.Popen:
        arguments = [f"--reactor={self.installed}", f"--temp-directory={directory}/trial"]
        if self.jobs:
            arguments.append(f"--jobs={self.jobs}")
        plan = {
            "arguments": [*arguments, *self.names],
            "builder_reactor": self.builder_reactor,
            "exclude": done,
            "without": self.without,
            "path": self.path,
            "substitutes": self.substitutes,
            "record": str(record),
        }
        path = directory / "plan.json"
        path.write_text(json.dumps(plan))
        with _STARTING:
            if _ENDED.is_set():
                raise SuiteError("ended from outside")
            child = subprocess.Popen(
                [sys.executable, str(HERE / "launcher.py"), str(path)],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=clean_environment(self.site),
                start_new_session=True,
            )
            _RUNNING.add(child)
        return child


_STARTING = threading.Lock()
_RUNNING: set[subprocess.Popen] = set()
_ENDED = threading.Event()


def end_all_runs() -> None:
    """End every run of this process; no other one starts."""
    with _STARTING:
        _ENDED.set()
        for child in _RUNNING:
            end_session(child)


def end_session(child: subprocess.Popen) -> None:
    """Kill a process and what it started."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def clean_environment(site: tuple[str, ...] = ()) -> dict[str, str]:
    """The environment of a run: this one, without what changes the results of tests."""
    environment = dict(os.environ)
    # Some tests run Twisted's commands, and some need a locale that exists.
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    environment["LC_ALL"] = "C.UTF-8"
    for name in ("PYTHONPATH", "PYTHONWARNINGS", "PYTHONDEVMODE", "MAKEFLAGS", "MAKELEVEL"):
        environment.pop(name, None)
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    if site:
        environment["PYTHONPATH"] = os.pathsep.join(site)
    return environment


def wait_while_writing(child: subprocess.Popen, record: Path, patience: float) -> int | None:
    """Wait for the end of `child`: its status, or None when it hung and was killed."""
    size, changed = -1, time.monotonic()
    try:
        while True:
            try:
                return child.wait(timeout=1.0)
            except subprocess.TimeoutExpired:
                pass
            if record.stat().st_size != size:
                size, changed = record.stat().st_size, time.monotonic()
            elif time.monotonic() - changed > patience:
                return None
    finally:
        # The session holds trial, its workers, and what its tests left running.
        end_session(child)
        with _STARTING:
            _RUNNING.discard(child)
        child.wait()


def read_record(path: Path) -> Attempt:
    """What the record says that happened."""
    attempt = Attempt()
    running: dict[str, None] = {}
    finished, collected, ends = False, 0, 0
    for line in path.read_text().splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue  # the last line of a process that was killed
        test = row.get("test")
        if row["event"] == "start":
            running[test] = None
        elif row["event"] == "end":
            running.pop(test, None)
            attempt.ended.setdefault(test, []).extend(row["outcomes"])
            ends += 1  # several tests can have one id
        elif row["event"] == "died":
            attempt.ended.setdefault(test, []).append(["errored", row["reason"]])
        elif row["event"] == "collected":
            collected = row["count"]
        elif row["event"] == "finished":
            finished = True
    attempt.running = list(running)
    # Fewer: every worker died. More: a module that cannot be imported counts beside its tests.
    attempt.complete = finished and ends >= collected
    return attempt


def worst(outcomes: list[list[str]]) -> Outcome:
    """One outcome out of all that a test reported."""
    if not outcomes:
        return Outcome("errored", "the test reported no outcome")
    kind = max((kind for kind, _ in outcomes), key=GRAVITY.index)
    return Outcome(kind, "\n".join(text for _, text in outcomes if text))


def tail(directory: Path) -> str:
    """The last lines that trial printed."""
    text = (directory / "output").read_text(errors="replace")
    return "\n".join(text.splitlines()[-30:])
