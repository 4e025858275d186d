"""The servers, and how each is started."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache

from harness.build import BENCH, Builds

SCRIPTS = BENCH / "servers"
RUST = "ropewalk, Rust"


@dataclass(frozen=True)
class Tls:
    """The library that does a server's TLS, or why there is none."""

    library: str = ""
    missing: str | None = None


@dataclass(frozen=True)
class Server:
    """``serve`` makes the command of a mode; ``micro`` that of a micro workload, ``children`` that
    of a parent of processes. It need not have all of them.

    ``tls`` is asked only by workloads of TLS.
    """

    name: str
    title: str
    serve: Callable[[str], list[str]] | None
    micro: Callable[[str], list[str]] | None = None
    missing: str | None = None
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    tls: Callable[[], Tls] = lambda: Tls(missing="it has no TLS")
    children: Callable[[list[str]], list[str]] | None = None


DEFAULT = ["raw", "rust", "ropewalk", "twisted", "asyncio", "uvloop"]
POLLERS = ["rust", "rust-kqueue", "rust-poll", "rust-select"] + [
    f"{library}{poller}"
    for library in ("ropewalk", "twisted")
    for poller in ("", "-poll", "-select")
]
HOSTED = ["ropewalk", "ropewalk-asyncio", "ropewalk-uvloop", "asyncio", "twisted-uvloop"]
DATAGRAMS = ["raw", "rust", "ropewalk", "twisted", "asyncio", "uvloop"]
TLS = ["rust", "ropewalk", "ropewalk-ssl", "twisted", "uvloop", "plain-asyncio"]
PROCESSES = ["raw", "rust", "ropewalk", "twisted", "uvloop", "tokio"]
NAMES = list(dict.fromkeys([*DEFAULT, *POLLERS, *HOSTED, *TLS, *PROCESSES]))

# Programs that print the version of a TLS library.
SSL = "import ssl; print(ssl.OPENSSL_VERSION)"
PYOPENSSL = """
from OpenSSL import SSL, version
print(SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode(), "through pyOpenSSL", version.__version__)
"""


def import_error(module: str, environment: dict[str, str]) -> str | None:
    """Why ``module`` cannot be imported, or None."""
    result = subprocess.run(
        [sys.executable, "-c", f"import {module}"],
        # A directory of the caller's may look like a package.
        cwd=SCRIPTS,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    return result.stderr.strip().splitlines()[-1] if result.returncode else None


@cache
def python_environment() -> dict[str, str]:
    """This environment, with the checkout's ropewalk if none is installed."""
    environment = dict(os.environ)
    if import_error("ropewalk.default", environment) is not None:
        paths = [str(BENCH.parent / "python"), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment


@cache
def _python_tls(program: str) -> Tls:
    """What ``program`` prints, or how it fails."""
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=SCRIPTS,
        env=python_environment(),
        capture_output=True,
        text=True,
    )
    if result.returncode:
        return Tls(missing=result.stderr.strip().splitlines()[-1])
    return Tls(result.stdout.strip())


def _twisted(name: str, title: str, reactor: str, module: str) -> Server:
    environment = python_environment()

    def script(file: str, *arguments: str) -> list[str]:
        return [sys.executable, str(SCRIPTS / file), reactor, *arguments]

    return Server(
        name,
        title,
        lambda mode: script("echo_twisted.py", "0", mode),
        lambda micro: script(f"{micro}_twisted.py"),
        import_error(module, environment),
        environment,
        lambda: _python_tls(PYOPENSSL),
        lambda arguments: script("children_twisted.py", *arguments),
    )


def _asyncio(name: str, title: str, loop: str, module: str) -> Server:
    environment = python_environment()

    def script(file: str, *arguments: str) -> list[str]:
        return [sys.executable, str(SCRIPTS / file), *arguments, loop]

    return Server(
        name,
        title,
        lambda mode: script("echo_uvloop.py", "0", mode),
        lambda micro: script("micro_uvloop.py", micro),
        import_error(module, environment),
        environment,
        lambda: _python_tls(SSL),
        lambda arguments: [
            sys.executable,
            str(SCRIPTS / "children_uvloop.py"),
            loop,
            *arguments,
        ],
    )


def _rust(name: str, title: str, poller: str, builds: Builds) -> Server:
    def binary(file: str, *arguments: str) -> list[str]:
        return [builds.paths[file], poller, *arguments]

    return Server(
        name,
        title,
        lambda mode: binary("server", "0", mode),
        lambda micro: binary(micro),
        builds.reason("server"),
        tls=lambda: Tls("rustls with aws-lc"),
        children=lambda arguments: binary("children", *arguments),
    )


def _tokio(name: str, builds: Builds) -> Server:
    return Server(
        name,
        "tokio",
        None,
        missing=builds.reason("tokio-children"),
        children=lambda arguments: [builds.paths["tokio-children"], *arguments],
    )


def _raw(name: str, builds: Builds) -> Server:
    def binary(mode: str) -> list[str]:
        program = "raw_udp" if mode.startswith("udp") else "raw_epoll"
        return [builds.paths[program], "0", mode]

    programs = ("raw_epoll", "raw_udp", "raw_children")
    missing = next(filter(None, map(builds.reason, programs)), None)
    return Server(
        name,
        "raw epoll in C",
        binary,
        missing=missing,
        children=lambda arguments: [builds.paths["raw_children"], *arguments],
    )


def make(name: str, builds: Builds) -> Server:
    """The server called ``name``, one of NAMES."""
    match name:
        case "raw":
            return _raw(name, builds)
        case "rust" | "rust-kqueue" | "rust-poll" | "rust-select":
            poller = name.partition("-")[2] or "epoll"
            return _rust(name, f"ropewalk, Rust, {poller}" if "-" in name else RUST, poller, builds)
        case "ropewalk":
            return _twisted(name, "ropewalk, Twisted", "ropewalk", "ropewalk.default")
        case "ropewalk-ssl":
            server = _twisted(name, "ropewalk.ssl, Twisted", "ropewalk", "ropewalk.default")
            environment = {**server.environment, "BENCH_TLS": "ropewalk.ssl"}
            return replace(server, environment=environment, tls=lambda: Tls("rustls with aws-lc"))
        case "ropewalk-poll" | "ropewalk-select" | "ropewalk-asyncio":
            kind = name.partition("-")[2]
            return _twisted(name, f"ropewalk, {kind}", name, f"ropewalk.{kind}reactor")
        case "ropewalk-uvloop":
            return _twisted(name, "ropewalk on uvloop", "ropewalk-asyncio@uvloop", "uvloop")
        case "twisted" | "twisted-poll" | "twisted-select":
            kind = name.partition("-")[2] or "epoll"
            return _twisted(name, f"Twisted {kind}", kind, f"twisted.internet.{kind}reactor")
        case "asyncio":
            return _twisted(name, "Twisted asyncio", "asyncio", "twisted.internet.asyncioreactor")
        case "twisted-uvloop":
            return _twisted(name, "Twisted on uvloop", "asyncio@uvloop", "uvloop")
        case "uvloop":
            return _asyncio(name, "uvloop", "uvloop", "uvloop")
        case "tokio":
            return _tokio(name, builds)
        case "plain-asyncio":
            return _asyncio(name, "asyncio", "asyncio", "asyncio")
    raise ValueError(f"no server is called {name!r}")
