"""Builds what is compiled; a part that cannot be built is missing, with the reason."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent


class Builds:
    """Paths of the binaries, or why there are none."""

    def __init__(self) -> None:
        self.paths: dict[str, str] = {}
        self.reasons: dict[str, str] = {}

    def reason(self, name: str) -> str | None:
        return None if name in self.paths else self.reasons.get(name, "was not built")

    def cargo(self, package: str, binaries: list[str]) -> None:
        """Builds ``package`` of the bench workspace."""
        command = ["cargo", "build", "--release", "--message-format=json", "-p", package]
        if shutil.which("cargo") is None:
            self.reasons |= dict.fromkeys(binaries, "cargo is not installed")
            return
        print(f"building {package}", file=sys.stderr, flush=True)
        result = subprocess.run(command, cwd=BENCH, stdout=subprocess.PIPE, text=True)
        if result.returncode != 0:
            self.reasons |= dict.fromkeys(binaries, f"cargo build -p {package} failed")
            return
        for line in result.stdout.splitlines():
            message = json.loads(line)
            if message.get("executable") and message["target"]["name"] in binaries:
                self.paths[message["target"]["name"]] = message["executable"]

    def cc(self, name: str, source: Path) -> None:
        """Compiles one C file next to what cargo builds."""
        compiler = shutil.which("cc")
        if compiler is None:
            self.reasons[name] = "no C compiler (cc) is installed"
            return
        output = BENCH / "target" / name
        output.parent.mkdir(exist_ok=True)
        result = subprocess.run([compiler, "-O2", "-o", str(output), str(source)])
        if result.returncode == 0:
            self.paths[name] = str(output)
        else:
            self.reasons[name] = f"{source.name} does not compile"

    def certificate(self) -> None:
        """Makes a certificate for P-256 and its key, in one PEM file."""
        if shutil.which("openssl") is None:
            self.reasons["certificate"] = "openssl, which makes the certificate, is not installed"
            return
        output = BENCH / "target" / "certificate.pem"
        output.parent.mkdir(exist_ok=True)
        command = ["openssl", "req", "-x509", "-subj", "/CN=localhost", "-days", "30", "-nodes"]
        command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        command += ["-addext", "subjectAltName=DNS:localhost"]
        command += ["-keyout", str(output), "-out", str(output)]
        result = subprocess.run(command, stderr=subprocess.PIPE, text=True)
        if result.returncode == 0:
            self.paths["certificate"] = str(output)
        else:
            reason = (result.stderr.strip().splitlines() or ["no message"])[-1]
            self.reasons["certificate"] = f"openssl makes no certificate: {reason}"


def build() -> Builds:
    builds = Builds()
    builds.cargo("load", ["load"])
    builds.cargo("ropewalk-bench", ["server", "timers", "threads", "children"])
    builds.cargo("tokio-bench", ["tokio-children"])
    for name in ("raw_epoll", "raw_udp", "raw_children"):
        builds.cc(name, BENCH / "servers" / f"{name}.c")
    builds.certificate()
    return builds
