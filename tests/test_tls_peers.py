"""Twisted's servers and clients over TLS, with pyOpenSSL, and real peers: curl, openssl, wrk."""

from __future__ import annotations

import hashlib
import json
import os
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support import ROOT, environment_of

PROGRAMS = ROOT / "tests" / "programs"


@dataclass(frozen=True)
class Credentials:
    """Files of an authority and of what it signed."""

    directory: Path

    def __getattr__(self, name: str) -> str:
        return str(self.directory / f"{name}.pem")


def openssl(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["openssl", *arguments], input=given, capture_output=True, text=True, timeout=60
    )


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    made = Credentials(tmp_path_factory.mktemp("credentials"))
    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    files = {
        "authority": ("-subj", "/CN=authority"),
        "server": ("-subj", "/CN=server", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        "client": ("-subj", "/CN=alice"),
    }
    for name, subject in files.items():
        signer: tuple[str, ...] = ()
        if name != "authority":
            signer = ("-CA", made.authority, "-CAkey", made.authority_key)
        key = str(made.directory / f"{name}_key.pem")
        certificate = str(made.directory / f"{name}.pem")
        done = openssl(*new, "-days", "7", "-keyout", key, "-out", certificate, *subject, *signer)
        assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A directory with five megabytes of noise in the file `large`, and their hash. The file
    `response` is all that a server says which serves them."""
    directory = tmp_path_factory.mktemp("content")
    noise = os.urandom(5_000_000)
    (directory / "large").write_bytes(noise)
    head = b"HTTP/1.0 200 OK\r\nContent-Length: 5000000\r\n\r\n"
    (directory / "response").write_bytes(head + noise)
    (directory / "small").write_bytes(b"x" * 1000)
    return directory, hashlib.sha256(noise).hexdigest()


class Servers:
    """Twisted's servers on one reactor, while they run; then what they told."""

    def __init__(self, ports: dict[str, int]) -> None:
        self.ports = ports
        self.told: dict[str, Any] = {}

    def url(self, path: str) -> str:
        return f"https://localhost:{self.ports['web']}/{path}"

    def place(self, kind: str) -> str:
        return f"127.0.0.1:{self.ports[kind]}"


@contextmanager
def servers(reactor: str, directory: Path, credentials: Credentials) -> Iterator[Servers]:
    files = (credentials.server, credentials.server_key, credentials.authority)
    command = [sys.executable, str(PROGRAMS / "tls_servers.py"), reactor, str(directory), *files]
    with subprocess.Popen(
        command,
        env=environment_of(reactor),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            running = Servers(json.loads(process.stdout.readline()))
            yield running
            process.stdin.close()
            running.told = json.loads(process.stdout.readline())
            assert process.wait(timeout=20) == 0
        finally:
            process.kill()


def curl(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["curl", "--silent", "--show-error", "--fail", *arguments], capture_output=True, timeout=60
    )


def test_curl_speaks_http_1_and_2(
    reactor_name: str, content: tuple[Path, str], credentials: Credentials
) -> None:
    directory, expected = content
    with servers(reactor_name, directory, credentials) as running:
        for option, version in (("--http1.1", b"HTTP/1.1"), ("--http2", b"HTTP/2")):
            trust = ("--cacert", credentials.authority, option)
            which = curl(*trust, running.url("which"), running.url("which"))
            assert (which.stdout, which.stderr) == (version * 2, b"")
            # Several in parallel share a connection with HTTP/2.
            urls = [word for _ in range(3) for word in (running.url("files/large"), "-o", "-")]
            large = curl(*trust, *urls)
            assert large.returncode == 0, large.stderr
            length = len(large.stdout) // 3
            for start in range(0, len(large.stdout), length):
                body = large.stdout[start : start + length]
                assert hashlib.sha256(body).hexdigest() == expected
        assert curl("--cacert", credentials.client, running.url("which")).returncode == 60
    assert running.told["native"] == {"web": True}


def test_wrk_holds_50_connections_over_tls(
    reactor_name: str, content: tuple[Path, str], credentials: Credentials
) -> None:
    with servers(reactor_name, content[0], credentials) as running:
        done = subprocess.run(
            ["wrk", "-c50", "-t1", "-d1s", running.url("files/small")],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    assert "Socket errors" not in done.stdout, done.stdout
    assert "Non-2xx" not in done.stdout, done.stdout
    requests = re.search(r"(\d+) requests in", done.stdout)
    assert requests is not None and int(requests[1]) >= 50, done.stdout


@pytest.mark.parametrize("version", ["1_2", "1_3"])
def test_openssl_resumes_a_session(
    version: str,
    reactor_name: str,
    content: tuple[Path, str],
    credentials: Credentials,
    tmp_path: Path,
) -> None:
    session = str(tmp_path / "session")
    with servers(reactor_name, content[0], credentials) as running:
        client = (
            *("s_client", "-connect", running.place("web"), f"-tls{version}", "-ign_eof"),
            *("-CAfile", credentials.authority, "-verify_return_error", "-alpn", "http/1.1"),
        )
        request = "GET /which HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        first = openssl(*client, "-sess_out", session, given=request)
        second = openssl(*client, "-sess_in", session, given=request)
    for done, word in ((first, "New"), (second, "Reused")):
        assert done.returncode == 0, done.stderr
        assert f"{word}, TLSv" in done.stdout
        assert "ALPN protocol: http/1.1" in done.stdout
        assert "\nHTTP/1.1 200 OK" in done.stdout


@contextmanager
def s_client(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    command = ["openssl", "s_client", "-quiet", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as client:
        try:
            yield client
        finally:
            client.kill()


def test_a_client_shows_its_certificate_or_is_refused(
    reactor_name: str, content: tuple[Path, str], credentials: Credentials
) -> None:
    with servers(reactor_name, content[0], credentials) as running:
        place = ("-connect", running.place("echo"), "-CAfile", credentials.authority)
        shown = ("-cert", credentials.client, "-key", credentials.client_key)
        with s_client(*place, *shown) as client:
            assert client.stdin is not None and client.stdout is not None
            for _ in range(2):
                client.stdin.write(b"hello\n")
                client.stdin.flush()
                assert client.stdout.readline() == b"alice said hello\n"
        with s_client(*place) as client:
            assert client.stdin is not None and client.stdout is not None
            client.stdin.write(b"hello\n")
            client.stdin.flush()
            assert client.stdout.read() == b""
    assert running.told["native"] == {"echo": True}


def test_curl_sends_mail_by_starttls(
    reactor_name: str, content: tuple[Path, str], credentials: Credentials, tmp_path: Path
) -> None:
    mail = tmp_path / "mail"
    lines = ["Subject: ropes", "", *(f"strand {number} {'.' * 60}" for number in range(3000))]
    mail.write_text("".join(f"{line}\r\n" for line in lines))
    with servers(reactor_name, content[0], credentials) as running:
        sent = curl(
            *("--ssl-reqd", "--cacert", credentials.authority, "--upload-file", str(mail)),
            *("--mail-from", "a@example.com", "--mail-rcpt", "b@example.com"),
            f"smtp://localhost:{running.ports['mail']}",
        )
        assert (sent.returncode, sent.stderr) == (0, b"")
    (received,) = running.told["mails"]
    assert received[-len(lines) :] == lines
    assert running.told["native"] == {"mail": True}


@contextmanager
def s_server(directory: Path, credentials: Credentials, *options: str) -> Iterator[int]:
    """OpenSSL's server for the responses in the directory; its port."""
    command = [
        *("openssl", "s_server", "-accept", "127.0.0.1:0", "-HTTP", *options),
        *("-cert", credentials.server, "-key", credentials.server_key),
    ]
    with subprocess.Popen(
        command, cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        try:
            assert server.stdout is not None
            said = b""
            while not (found := re.search(rb"ACCEPT 127\.0\.0\.1:(\d+)\n", said)):
                assert select.select([server.stdout], [], [], 20)[0], said
                said += os.read(server.stdout.fileno(), 1000)
            yield int(found[1])
        finally:
            server.kill()


@pytest.mark.parametrize("version", ["1_2", "1_3"])
def test_twisteds_client_fetches_from_openssls_server(
    version: str, reactor_name: str, content: tuple[Path, str], credentials: Credentials
) -> None:
    directory, expected = content
    with s_server(directory, credentials, f"-tls{version}") as port:
        urls = [f"https://localhost:{port}/response", f"https://127.0.0.1:{port}/response"]
        command = [str(PROGRAMS / "tls_fetch.py"), reactor_name]
        fetched = [
            subprocess.run(
                [sys.executable, "-Wignore", *command, authority, *urls],
                env=environment_of(reactor_name),
                capture_output=True,
                text=True,
                timeout=60,
            )
            for authority in (credentials.authority, credentials.client)
        ]
    assert [done.stderr for done in fetched] == ["", ""]
    trusting, doubting = (
        [json.loads(line) for line in done.stdout.splitlines()] for done in fetched
    )
    assert trusting == [expected, expected]
    assert doubting == ["Error", "Error"]
