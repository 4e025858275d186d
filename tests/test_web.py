"""A real program, Twisted's web server, with real clients."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support import BASELINES, BIN, environment_of

SIZE = 200 * 1024 * 1024


@contextmanager
def web_server(reactor: str, directory: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`twist web` on the named reactor: the process and its URL."""
    log = directory.parent / f"{directory.name}.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [
                str(BIN / "twist"),
                f"--reactor={reactor}",
                *("web", "--listen=tcp:0:interface=127.0.0.1", f"--path={directory}"),
            ],
            cwd=directory,
            env=environment_of(reactor),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 20
        while not (found := re.search(r"Site starting on (\d+)", log.read_text())):
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield server, f"http://127.0.0.1:{found[1]}/"
    finally:
        server.kill()
        server.wait()


def test_curl_fetches_a_large_file(reactor_name: str, tmp_path: Path) -> None:
    file = tmp_path / "large"
    with file.open("wb") as out:
        # Holes with islands of noise: 200 MB on no disk, in which no two pieces are alike.
        for offset in range(0, SIZE, SIZE // 50):
            out.seek(offset + offset // 7 % 4096)
            out.write(os.urandom(100_000))
        out.truncate(SIZE)
    expected = hashlib.sha256()
    with file.open("rb") as source:
        while data := source.read(1 << 20):
            expected.update(data)

    with web_server(reactor_name, tmp_path) as (_, url):
        curl = subprocess.Popen(
            ["curl", "--silent", "--show-error", "--fail", f"{url}large"], stdout=subprocess.PIPE
        )
        assert curl.stdout is not None
        found = hashlib.sha256()
        while data := curl.stdout.read(1 << 20):
            found.update(data)
        curl.stdout.close()
        assert curl.wait(timeout=30) == 0
    assert found.hexdigest() == expected.hexdigest()


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_wrk_holds_200_connections(reactor_name: str, tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"x" * 1000)
    with web_server(reactor_name, tmp_path) as (_, url):
        done = subprocess.run(
            ["wrk", "--connections=200", "--threads=1", "--duration=2s", f"{url}small"],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    assert "Socket errors" not in done.stdout, done.stdout
    assert "Non-2xx" not in done.stdout, done.stdout
    requests = re.search(r"(\d+) requests in", done.stdout)
    assert requests is not None and int(requests[1]) >= 200, done.stdout


def stopped_by(number: signal.Signals, reactor: str, directory: Path) -> int:
    """The exit status of the server after a signal, while a client is connected."""
    with web_server(reactor, directory) as (server, url):
        subprocess.run(["curl", "--silent", "--fail", url], stdout=subprocess.DEVNULL, check=True)
        server.send_signal(number)
        return server.wait(timeout=20)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_as_on_twisteds_reactor(
    number: signal.Signals, reactor_name: str, tmp_path: Path
) -> None:
    expected = stopped_by(number, BASELINES[reactor_name], tmp_path)
    assert stopped_by(number, reactor_name, tmp_path) == expected
