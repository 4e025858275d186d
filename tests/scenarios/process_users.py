"""Children that are another user's. For root, in a mount namespace with groups of its own.

Argument: a file that is to stand for /etc/group.
"""

import os
import subprocess
import sys
import tempfile

from children import Quiet, ended, environment, plain, shell, spawn
from scenario import Scenario

NOBODY = 65534
UNKNOWN = 3_999_999
IDENTITY = (
    "grep -E '^(Uid|Gid|Groups)' /proc/self/status; id -u; id -g; umask; pwd; ls /proc/self/fd; "
    "cat /dev/null 2>&1; kill -0 $PPID; exit 4"
)


native = []


async def run(scenario, label, script=IDENTITY, **kw):
    """A child; its output and its end, or what it could not be made for."""
    child = Quiet(scenario, label)
    arguments = kw.pop("arguments", shell(script))
    kw.setdefault("env", environment())
    if spawn(scenario, label, *arguments, protocol=child, **kw) is None:
        return
    if type(child.transport).__module__ == "ropewalk.process":
        native.append(label)
    await ended(scenario, child)
    written = {number: plain(data) for number, data in child.written.items()}
    scenario.record(label, sorted(written.items()))
    # One that has failed in a terminal may be killed by the terminal's end before its own.
    if child.reason.value.exitCode == 4:
        scenario.record(label, child.reason)


async def identities(scenario, when):
    for uid, gid in (
        (NOBODY, None),
        (None, 1),
        (NOBODY, 1),
        (1, NOBODY),
        (1, 0),
        (0, 1),
        (0, None),
        (UNKNOWN, None),
        (UNKNOWN, UNKNOWN),
        (1, UNKNOWN),
        (-1, None),
        (1, -1),
        (2**32 - 1, None),
        (2**40, None),
        ("nobody", None),
        (1.0, None),
        (True, None),
    ):
        await run(scenario, f"{when}: {uid!r} {gid!r}", uid=uid, gid=gid)
    for usePTY in (True, 1):
        await run(scenario, f"{when}: terminal", "tty; " + IDENTITY, uid=1, gid=2, usePTY=usePTY)


async def around(scenario):
    """What else a child is given with its user."""
    with tempfile.TemporaryDirectory() as directory:
        scenario.name(directory, "DIRECTORY")
        # Of which the user cannot get there by itself.
        await run(scenario, "there", "pwd; ls", path=directory, uid=1)
        own = os.path.join(directory, "own")
        with open(own, "w") as script:
            script.write("#!/bin/sh\necho here\n")
        os.chmod(own, 0o700)
        await run(scenario, "not its own", arguments=(own, ["own"]), uid=1)
        os.chmod(directory, 0o755)
        os.chmod(own, 0o755)
        await run(scenario, "its own", arguments=(own, ["own"]), uid=1)
        for env in ({"PATH": directory}, {}, None):
            await run(scenario, f"searched {env}", arguments=("own", ["own"]), env=env, uid=1)
        await run(scenario, "no such place", path="/nonexistent", uid=1)
    await run(scenario, "mapped", childFDs={1: "r", 5: 1, 7: "w"}, uid=1)
    await run(scenario, "no program", arguments=("/nonexistent", ["x"]), uid=1, gid=1)
    child = Quiet(scenario, "data")
    spawn(scenario, "data", "cat", ["cat"], environment(), protocol=child, uid=1, gid=1)
    child.transport.write(b"x" * 300_000)
    child.transport.closeStdin()
    await ended(scenario, child)
    scenario.record("data", child.written == {1: b"x" * 300_000}, child.reason)
    child = Quiet(scenario, "killed")
    spawn(scenario, "killed", "cat", ["cat"], environment(), protocol=child, uid=1, gid=1)
    child.transport.signalProcess("KILL")
    await ended(scenario, child)
    scenario.record("killed", child.reason)


async def main(scenario):
    await identities(scenario, "root")
    await around(scenario)
    # Privileged by the real user alone, as a daemon that sheds its effective one.
    os.setegid(2)
    os.seteuid(1)
    await identities(scenario, "real")
    os.seteuid(0)
    os.setegid(0)
    # By the effective user alone, as a program with the set-user-id bit.
    os.setreuid(1, -1)
    await identities(scenario, "effective")
    os.setresuid(1, 1, 1)
    await identities(scenario, "none")
    scenario.figures["native"] = native


subprocess.run(["mount", "--bind", sys.argv[2], "/etc/group"], check=True)
scenario = Scenario()
scenario.run(main)
