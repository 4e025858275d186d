"""The workloads of child processes: here the server is a parent and makes its own load.

CPU time is the parent's alone. What its children spend is theirs, from their birth on.
"""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.process import CLIENT_CPU, SERVER_CPU, Child, ChildError
from harness.servers import PROCESSES, Server, python_environment
from harness.workloads import Figures, NotApplicable, Settings, Workload

# Descriptors of one child in the parent: three pipes and what tells of its end.
PER_CHILD = 4
# What a child is born with, and its parent: little, and the same everywhere.
ENVIRONMENT = ("PATH", "HOME", "LANG", "PYTHONPATH")
# Megabytes that a large parent has written to, and what else the machine then needs.
LARGE = 1000
SPARE = 500


def room(wanted: int, files: int) -> int:
    """How many of the ``wanted`` children may live at once, with so many descriptors allowed."""
    allowed = [wanted]
    if files > 0:
        allowed.append((files - 200) // PER_CHILD)
    processes = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    if processes > 0:
        # Others of this user's, and threads, count as well.
        allowed.append(processes // 2)
    allowed.append(int(Path("/proc/sys/kernel/pid_max").read_text()) // 2)
    return min(allowed)


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise NotApplicable(f"{name} is not installed")
    return path


def _parent(server: Server, *arguments: object) -> Child:
    """A parent that has settled: it has made children before and waits for its go."""
    if server.children is None:
        raise NotApplicable("it makes no children here")
    variables = python_environment()
    environment = {name: variables[name] for name in ENVIRONMENT if name in variables}
    command = server.children([str(argument) for argument in arguments])
    child = Child(command, SERVER_CPU, environment)
    try:
        if child.line() != "ready":
            raise ChildError(f"{server.name} did not get ready")
    except BaseException:
        child.__exit__()
        raise
    return child


def _drive(parent: Child) -> Figures:
    before = parent.cpu_ns()
    parent.go_on()
    figures = parent.json()
    return figures | {"cpu_ns": parent.cpu_ns() - before}


def _spawn(
    share: int = 1, megabytes: int = 0, files: int = 0, directory: str = ""
) -> Callable[..., Figures]:
    """From spawn to exit, ten at once: the ``share``-th part of the usual number of children."""

    def run(server: Server, settings: Settings) -> Figures:
        if megabytes and _available_megabytes() < megabytes + SPARE:
            raise NotApplicable(f"less than {megabytes + SPARE} MB of memory are free")
        numbers = [settings.spawned // share, 10, megabytes, min(files, settings.files)]
        with _parent(server, "spawn", *numbers, directory, _program("true")) as parent:
            figures = _drive(parent)
        return {
            "cpu_us": figures["cpu_ns"] / 1000 / figures["operations"],
            "per_second": figures["operations"] / figures["seconds"],
        }

    return run


def _available_megabytes() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1000
    return 0


def _exits(live: Callable[[Settings], int]) -> Callable[..., Figures]:
    """Children that wait are told to end, one by one, beside others that wait on."""

    def run(server: Server, settings: Settings) -> Figures:
        count = live(settings)
        with _waiting(server, count, max(count // 4, min(count, 100))) as parent:
            figures = _drive(parent)
            _finish(parent)
        return {"cpu_us": figures["cpu_ns"] / 1000 / figures["operations"]}

    return run


def _waiting(server: Server, live: int, ending: int) -> Child:
    """A parent of so many children, of which a part will be told to end."""
    return _parent(server, "exits", live, ending, _program("cat"))


def _finish(parent: Child) -> None:
    """Has it end its other children and wait for them, so that no zombie is left to anybody."""
    parent.go_on()
    if parent.line() != "done":
        raise ChildError("the other children did not end")


def _exit_calls(server: Server, settings: Settings) -> Figures:
    """System calls of the parent for one exit. Counted, not timed.

    The counting begins when all children live: ``strace -f`` would count what new ones do, too.
    """
    with TemporaryDirectory() as directory:
        table = Path(directory) / "calls"
        with _waiting(server, settings.children, min(settings.children, 100)) as parent:
            with _counted(parent.pid, table):
                figures = _drive(parent)
            _finish(parent)
        return {"calls_each": _total(table.read_text()) / figures["operations"]}


@contextmanager
def _counted(pid: int, table: Path) -> Iterator[None]:
    """Has strace write to ``table`` what all threads of a process call meanwhile."""
    command = [_program("strace"), "-f", "-c", "-o", str(table), "-p", str(pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        said = tracer.stderr.readline().strip()
        if "attached" not in said:
            raise NotApplicable(said)
        try:
            yield
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.communicate()


def _total(table: str) -> int:
    """The sum of the column "calls" of what ``strace -c`` prints."""
    rows = [line.split() for line in table.splitlines()]
    return next(int(row[3]) for row in rows if row[-1:] == ["total"])


def _pipe(mode: str, child: str) -> Callable[..., Figures]:
    """Much data one way, between the parent and a child on the other CPU."""

    def run(server: Server, settings: Settings) -> Figures:
        size = settings.megabytes // 2 * 1_000_000
        pinned = [_program("taskset"), "-c", str(CLIENT_CPU), settings.load, child]
        with _parent(server, mode, size, *pinned) as parent:
            figures = _drive(parent)
        if figures["bytes"] != size:
            raise ChildError(f"{figures['bytes']:.0f} bytes came, not {size}")
        return {
            "cpu_ms_per_gb": figures["cpu_ns"] / 1e6 / (size / 1e9),
            "gb_per_second": size / 1e9 / figures["seconds"],
        }

    return run


def _workload(name: str, title: str, run: Callable[..., Figures]) -> Workload:
    return Workload(name, title, "children", run, tuple(PROCESSES))


WORKLOADS = [
    _workload("spawn", "spawn to exit, 10 at once", _spawn()),
    _workload("spawn-files", "the same, 5,000 open files", _spawn(10, files=5000)),
    _workload("spawn-large", "the same, 1 GB of memory", _spawn(10, megabytes=LARGE)),
    _workload(
        "spawn-directory",
        "the same, 1 GB, working directory given",
        _spawn(10, megabytes=LARGE, directory="/"),
    ),
    _workload(
        "exits-few",
        "one exit, 100 live children",
        _exits(lambda settings: min(100, settings.children)),
    ),
    _workload("exits", "one exit, all live children", _exits(lambda settings: settings.children)),
    _workload("exit-calls", "", _exit_calls),
    _workload("pipe-in", "one way, to the parent", _pipe("read", "pour")),
    _workload("pipe-out", "one way, from the parent", _pipe("write", "drink")),
]
