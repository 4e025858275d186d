"""`ropewalk.ssl` with curl, wrk and OpenSSL's commands, through endpoint strings."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support import BIN, SCENARIOS, environment_of


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ca.pem, cert.pem and key.pem."""
    directory = tmp_path_factory.mktemp("keys")
    sys.path.insert(0, str(SCENARIOS))
    try:
        from ssl_peers import AUTHORITY, CERTIFICATE, KEY
    finally:
        sys.path.remove(str(SCENARIOS))
    for name, content in (("ca", AUTHORITY.pem), ("cert", CERTIFICATE), ("key", KEY)):
        (directory / f"{name}.pem").write_bytes(content)
    return directory


@contextmanager
def started(command: list[str], reactor: str, log: Path, ready: str) -> Iterator[str]:
    """A server, and what the group of `ready` matched in its output."""
    with log.open("w") as output:
        server = subprocess.Popen(
            command,
            env=environment_of(reactor),
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 20
        while not (found := re.search(ready, log.read_text())):
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield found[1]
    finally:
        server.kill()
        server.wait()


@contextmanager
def website(reactor: str, keys: Path, directory: Path) -> Iterator[str]:
    """`twist web` over TLS: the number of its port."""
    # That it speaks h2 and http/1.1 is the site's to say.
    where = "interface=127.0.0.1:protocols=own"
    listen = f"ropewalk-tls:0:certificate={keys}/cert.pem:privateKey={keys}/key.pem:{where}"
    content = directory / "site"
    content.mkdir()
    (content / "small").write_bytes(b"x" * 1000)
    command = [str(BIN / "twist"), f"--reactor={reactor}", "web", f"--listen={listen}"]
    command.append(f"--path={content}")
    log = directory / "web.log"
    with started(command, reactor, log, r"Site \(TLS\) starting on (\d+)") as port:
        yield port


@pytest.mark.parametrize(("version", "told"), [("--http1.1", "1.1"), ("--http2", "2")])
def test_curl_fetches_over_http(
    version: str, told: str, reactor_name: str, keys: Path, tmp_path: Path
) -> None:
    with website(reactor_name, keys, tmp_path) as port:
        command = ["curl", "--silent", "--show-error", version, "--cacert", f"{keys}/ca.pem"]
        write = ["--output", "/dev/null", "--write-out", "%{http_version} %{size_download}"]
        url = f"https://localhost:{port}/small"
        done = subprocess.run([*command, *write, url], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (0, f"{told} 1000"), done.stderr


def test_wrk_holds_100_connections(reactor_name: str, keys: Path, tmp_path: Path) -> None:
    with website(reactor_name, keys, tmp_path) as port:
        command = ["wrk", "--connections=100", "--threads=1", "--duration=2s"]
        url = f"https://127.0.0.1:{port}/small"
        done = subprocess.run([*command, url], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Socket errors" not in done.stdout, done.stdout
    assert "Non-2xx" not in done.stdout, done.stdout
    requests = re.search(r"(\d+) requests in", done.stdout)
    assert requests is not None and int(requests[1]) >= 100, done.stdout


def test_openssl_s_client_speaks_both_versions(
    reactor_name: str, keys: Path, tmp_path: Path
) -> None:
    with website(reactor_name, keys, tmp_path) as port:
        for version in ("-tls1_2", "-tls1_3"):
            command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", version, "-quiet"]
            verify = ["-CAfile", f"{keys}/ca.pem", "-verify_return_error", "-servername"]
            done = subprocess.run(
                [*command, *verify, "localhost", "-ign_eof"],
                input=b"GET /small HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                capture_output=True,
                timeout=30,
            )
            assert done.returncode == 0, done.stderr
            assert done.stdout.endswith(b"x" * 1000), done.stdout


CLIENT = """
import sys
from twisted.application.reactors import installReactor
reactor = installReactor(sys.argv[1])
from twisted.internet import endpoints, protocol


class Get(protocol.Protocol):
    received = b""

    def connectionMade(self):
        self.transport.write(b"GET / HTTP/1.0\\r\\n\\r\\n")

    def dataReceived(self, data):
        self.received += data

    def connectionLost(self, reason):
        print(self.received.split()[1].decode(), reason.type.__name__)
        reactor.stop()


endpoint = endpoints.clientFromString(reactor, sys.argv[2])
made = endpoint.connect(protocol.Factory.forProtocol(Get))
made.addErrback(lambda failure: (print(failure.type.__name__), reactor.stop()))
reactor.run()
"""


def test_a_client_reads_from_openssl_s_server(
    reactor_name: str, keys: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = free.getsockname()[1]
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{number}", "-www"]
    identity = ["-cert", f"{keys}/cert.pem", "-key", f"{keys}/key.pem"]
    with started([*command, *identity], reactor_name, tmp_path / "server.log", "(ACCEPT)"):
        by = f"endpoint=tcp\\:127.0.0.1\\:{number}"
        endpoint = f"ropewalk-tls:localhost:trustRoots={keys}/ca.pem:{by}"
        done = subprocess.run(
            [sys.executable, "-c", CLIENT, reactor_name, endpoint],
            env=environment_of(reactor_name),
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert (done.returncode, done.stdout) == (0, "200 ConnectionDone\n"), done.stderr


@pytest.mark.parametrize(
    ("endpoint", "error"),
    [
        ("ropewalk-tls:0:certificate=missing.pem", "FileNotFoundError"),
        ("ropewalk-tls:certificate=missing.pem", "either a port or an endpoint"),
        ("ropewalk-tls:0:certificate=cert.pem:privateKey=key.pem:minimumVersion=SSLv3", "SSLv3"),
        ("ropewalk-tls:0", "certificate"),
    ],
)
def test_a_wrong_endpoint_is_refused_with_the_reason(endpoint: str, error: str, keys: Path) -> None:
    program = "import sys; from twisted.internet import endpoints, reactor\n"
    program += "endpoints.serverFromString(reactor, sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", program, endpoint], cwd=keys, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert error in done.stderr.splitlines()[-1]
