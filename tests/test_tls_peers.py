"""TLS with a real program and a real client: Twisted's web server, and curl."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support import BIN, SCENARIOS, environment_of

SIZE = 20 * 1024 * 1024


@contextmanager
def secure_web_server(reactor: str, directory: Path, key: Path) -> Iterator[int]:
    """`twist web` over TLS on the named reactor: its port."""
    log = directory.parent / f"{directory.name}.log"
    listen = f"ssl:0:privateKey={key}:certKey={key}:interface=127.0.0.1"
    with log.open("w") as output:
        server = subprocess.Popen(
            [
                str(BIN / "twist"),
                f"--reactor={reactor}",
                *("web", f"--listen={listen}", f"--path={directory}"),
            ],
            cwd=directory,
            env=environment_of(reactor),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 20
        while not (found := re.search(r"Site \(TLS\) starting on (\d+)", log.read_text())):
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield int(found[1])
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A file with a certificate for localhost and its key."""
    program = "import tls_peers, sys; sys.stdout.buffer.write(tls_peers.pem('localhost'))"
    made = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(SCENARIOS)},
        capture_output=True,
        check=True,
    )
    file = tmp_path / "key.pem"
    file.write_bytes(made.stdout)
    return file


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl_fetches_a_large_file(
    reactor_name: str, version: str, key: Path, tmp_path: Path
) -> None:
    content = os.urandom(SIZE)
    public = tmp_path / "public"
    public.mkdir()
    (public / "large").write_bytes(content)
    with secure_web_server(reactor_name, public, key) as port:
        curl = subprocess.run(
            [
                *("curl", "--silent", "--show-error", "--fail", "--cacert", str(key)),
                *(f"--tlsv{version}", "--tls-max", version),
                *("--resolve", f"localhost:{port}:127.0.0.1"),
                # Twice over one connection.
                f"https://localhost:{port}/large",
                f"https://localhost:{port}/large",
            ],
            capture_output=True,
            timeout=60,
        )
    assert curl.returncode == 0, curl.stderr
    digest = hashlib.sha256(curl.stdout).hexdigest()
    assert digest == hashlib.sha256(content + content).hexdigest()
