"""Children as they can be described, and descriptions that are none."""

import os
import tempfile

from children import Quiet, ended, environment, plain, shell, spawn
from scenario import Scenario

LIST = "for f in /proc/self/fd/*; do [ -e $f ] && echo ${f##*/}; done"


async def texts(scenario):
    """Executables, arguments, environments and directories."""
    os.environ["ROPEWALK_TEST"] = "inherited"
    say = "echo $0 $1 [$ROPEWALK_TEST] $(pwd)"
    cases = {
        "text": ("/bin/sh", ["sh", "-c", say, "a b"], {"ROPEWALK_TEST": "given"}),
        "bytes": (b"/bin/sh", [b"sh", b"-c", say.encode(), b"\xff"], {b"ROPEWALK_TEST": b"\xfe"}),
        "tuple": ("/bin/sh", ("sh", "-c", say), {}),
        "inherited": ("sh", ["sh", "-c", say], None),
        "searched": ("sh", ["other name", "-c", say], {}),
        "not there": ("/nonexistent", ["x"], {}),
        "not found": ("nonexistent-program", ["x"], {}),
        "no program": ("/etc/passwd", ["x"], {}),
        "a directory": ("/tmp", ["x"], {}),
        "no arguments": ("/bin/sh", [], {}),
        "an iterator": ("/bin/sh", iter(["sh", "-c", say]), {}),
        "a number": ("/bin/sh", ["sh", 1], {}),
        "zero byte": ("/bin/sh", ["sh", "-c", "a\0b"], {}),
        "surrogate": ("/bin/sh", ["sh", "-c", "\ud800"], {}),
        "name with =": ("/bin/sh", ["sh", "-c", say], {"A=B": "c"}),
        "no mapping": ("/bin/sh", ["sh", "-c", say], ["A=B"]),
        "no executable": (None, ["sh"], {}),
    }
    with tempfile.TemporaryDirectory() as directory:
        scenario.name(directory, "DIRECTORY")
        scenario.name(os.getcwd(), "HERE")
        with open(os.path.join(directory, "unknown-format"), "w") as script:
            script.write("echo a shell would run this\n")
        os.chmod(script.name, 0o755)
        cases["format"] = (script.name, ["x"], {})
        for path in (None, directory):
            for label, (executable, args, env) in cases.items():
                label = f"{label} in {path!r}"
                await ended(scenario, spawn(scenario, label, executable, args, env, path))
        for path in (".", "", directory.encode(), "/nonexistent", "a\0b", 5):
            label = f"path {path!r}"
            await ended(scenario, spawn(scenario, label, *cases["text"], path))


async def descriptors(scenario):
    """What the child has open."""
    with tempfile.TemporaryFile() as file, open(os.devnull) as null:
        # Numbers that no reactor has its own descriptors at.
        number, zero = os.dup2(file.fileno(), 50), os.dup2(null.fileno(), 51)
        cases = {
            "default": None,
            "none": {},
            "swapped": {0: 1, 1: "r", 2: 0},
            "one for two": {1: "r", 2: number, 7: number},
            "far": {1: "r", 200: "w", number: "r"},
            "in place": {1: "r", number: number, zero: zero},
            "closed": {0: 987},
            "below zero": {-1: "r"},
            "not a kind": {0: "x"},
            "not a number": {"0": "r"},
            "truth": {0: True},
        }
        for label, child_fds in cases.items():
            child = spawn(scenario, label, *shell(LIST), {}, childFDs=child_fds)
            await ended(scenario, child)
        os.close(number)
        os.close(zero)
    scenario.attempt(
        "both", scenario.reactor.spawnProcess, None, *shell(":"), usePTY=True, childFDs={}
    )
    spawn(scenario, "no protocol", *shell(":"), {}, protocol=False)
    spawn(scenario, "no protocol for a pipe", *shell(":"), {}, protocol=False, childFDs={0: "r"})
    quiet = scenario.reactor.spawnProcess(None, *shell("exit 5"), {}, childFDs={})
    await scenario.until(lambda: quiet.pid is None)
    scenario.record("without a protocol", quiet.status)


async def terminals(scenario):
    """Terminals of the child's own, and given ones."""
    say = "tty; test -t 0 && test -t 1 && test -t 2 && echo three; ps -o sid= -p $$ | grep -c $$"
    child = spawn(scenario, "terminal", *shell(say), environment(), usePTY=True)
    await ended(scenario, child)
    child = spawn(scenario, "there", *shell("pwd"), environment(), "/", usePTY=1)
    await ended(scenario, child)
    with tempfile.TemporaryDirectory() as directory:
        os.symlink("/bin/echo", os.path.join(directory, "only-here"))
        for label, variables in (("searched", {"PATH": directory}), ("not found", {})):
            child = Quiet(scenario, label)
            arguments = "only-here", ["only-here", "found"], variables
            spawn(scenario, label, *arguments, protocol=child, usePTY=True)
            await ended(scenario, child)
            scenario.record(label, child.written[1] == b"found\r\n")
    await missing(scenario, "missing", True)
    for label in ("given", "given and missing"):
        master, slave = os.openpty()
        given = (master, slave, os.ttyname(slave))
        if label == "given":
            child = spawn(scenario, label, *shell("tty"), environment(), usePTY=given)
            await ended(scenario, child)
        else:
            await missing(scenario, label, given)
        scenario.attempt("slave", os.fstat, slave)


async def missing(scenario, label, terminal):
    """A program that is not there, in a terminal."""
    # It is killed if the terminal is closed before it has exited: so its end is nobody's promise.
    child = Quiet(scenario, label)
    spawn(scenario, label, "/nonexistent", ["x"], {}, protocol=child, usePTY=terminal)
    await ended(scenario, child)
    scenario.record(label, plain(child.written[1]))


async def main(scenario):
    await texts(scenario)
    await descriptors(scenario)
    await terminals(scenario)


scenario = Scenario()
scenario.run(main)
