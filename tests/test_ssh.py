"""OpenSSH's client and a server of Twisted's that runs commands and shells."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support import ROOT, environment_of


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("keys")
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
        subprocess.run(command, check=True, timeout=30)
    return directory


@contextmanager
def server(reactor: str, keys: Path) -> Iterator[tuple[list[str], list[str]]]:
    """The command of a client, and the modules of the transports of children, filled at the end."""
    program = str(ROOT / "tests" / "programs" / "ssh_server.py")
    classes: list[str] = []
    with subprocess.Popen(
        [sys.executable, program, reactor, str(keys / "host"), str(keys / "user.pub")],
        env=environment_of(reactor),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            port = process.stdout.readline().strip()
            options = [
                *("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"),
                *("LogLevel=ERROR", "IdentitiesOnly=yes"),
            ]
            client = ["ssh", "-F", "none", "-i", str(keys / "user"), "-p", port]
            client += [word for option in options for word in ("-o", option)]
            yield [*client, "alice@127.0.0.1"], classes
            process.stdin.close()
            classes += process.stdout.read().split()
            assert process.wait(timeout=20) == 0
        finally:
            process.kill()


def run(client: list[str], *command: str, given: bytes = b"") -> tuple[int, bytes, bytes]:
    done = subprocess.run([*client, *command], input=given, capture_output=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def test_ssh_runs_commands_with_their_input_errors_and_status(
    reactor_name: str, keys: Path
) -> None:
    noise = os.urandom(3_000_000)
    digest = hashlib.sha256(noise).hexdigest().encode()
    with server(reactor_name, keys) as (client, classes):
        assert run(client, "sha256sum; echo wrong >&2; exit 7", given=noise) == (
            7,
            digest + b"  -\n",
            b"wrong\n",
        )
        assert run(client, "kill -9 $$")[0] == 255
        back = run(client, "cat", given=noise)
        assert back == (0, noise, b"")
    assert classes == ["ropewalk.process"] * 3


def test_ssh_opens_a_shell_in_a_terminal(reactor_name: str, keys: Path) -> None:
    typed = b"tty; stty size; echo six times seven is $((6 * 7)); exit 3\n"
    with server(reactor_name, keys) as (client, classes):
        client.insert(1, "-tt")
        status, output, errors = run(client, given=typed)
    assert (status, errors) == (3, b""), output
    # The terminal echoes what is typed before the shell is there, or after its prompt.
    assert re.search(rb"^(\$ )*/dev/pts/\d+\r$", output, re.MULTILINE), output
    assert re.search(rb"^(\$ )*\d+ \d+\r$", output, re.MULTILINE), output
    assert re.search(rb"^(\$ )*six times seven is 42\r$", output, re.MULTILINE), output
    assert classes == ["ropewalk.process"]
