"""Measures ropewalk beside other servers and prints Markdown tables; see bench/README.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
from itertools import groupby
from pathlib import Path

from harness import children
from harness.build import build
from harness.process import ChildError
from harness.servers import DEFAULT, NAMES, Server, make
from harness.tables import Absences, Report, Samples
from harness.workloads import WORKLOADS as SERVED
from harness.workloads import NotApplicable, Settings, Workload

WORKLOADS = [*SERVED, *children.WORKLOADS]


def names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def parse() -> argparse.Namespace:
    known = [workload.name for workload in WORKLOADS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: does it work at all")
    parser.add_argument("--only", type=names, metavar="W,…", help=f"workloads of: {known}")
    parser.add_argument(
        "--servers",
        type=names,
        metavar="S,…",
        help=f"in place of each workload's usual ones, servers of: {NAMES}",
    )
    parser.add_argument("--rounds", type=int, default=None, help="3, with --quick 1")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round's figures too")
    arguments = parser.parse_args()
    for given, allowed in ((arguments.only or [], known), (arguments.servers or [], NAMES)):
        for name in given:
            if name not in allowed:
                parser.error(f"{name!r} is not one of {', '.join(allowed)}")
    if arguments.rounds is not None and arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    return arguments


def measure(
    servers: list[Server], workloads: list[Workload], settings: Settings, rounds: int
) -> tuple[Samples, Absences, bool]:
    """Every workload on every server, in alternating rounds: what disturbs one disturbs all.

    The last answer is whether one failed that is there.
    """
    samples: Samples = {}
    failed = False
    absences: Absences = {
        (workload.name, server.name): server.missing
        for workload in workloads
        for server in servers
        if server.missing is not None
    }
    for workload in workloads:
        for number in range(rounds):
            for server in servers:
                key = (workload.name, server.name)
                if key in absences:
                    continue
                print(f"{workload.name} {number + 1}/{rounds} {server.name}", file=sys.stderr)
                try:
                    figures = workload.run(server, settings)
                    samples.setdefault(key, []).append(figures)
                except NotApplicable as error:
                    absences[key] = str(error)
                except ChildError as error:
                    # A server that fails once has no figure: the others' rounds must stay equal.
                    samples.pop(key, None)
                    absences[key] = str(error)
                    failed = True
    return samples, absences, failed


def machine() -> str:
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    model = models[0] if models else platform.machine()
    python = platform.python_version()
    return f"{model}, {os.cpu_count()} CPUs, Linux {platform.release()}, Python {python}"


def by_servers(workload: Workload) -> tuple[str, ...]:
    """Workloads that are for the same servers share tables; those for the usual ones come first."""
    return workload.servers


def main() -> int:
    arguments = parse()
    if not sys.platform.startswith("linux"):
        sys.exit("the benchmarks read /proc and use epoll: they run on Linux only")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    builds = build()
    reason = builds.reason("load")
    if reason is not None:
        sys.exit(f"the load client: {reason}")
    # Room for the busy ones, the listener and what Python has open.
    room = hard - 200 if hard > 0 else 10_000
    settings = Settings(
        builds.paths["load"],
        seconds=0.3 if arguments.quick else 2.0,
        megabytes=100 if arguments.quick else 2000,
        idle=min(room, 1000 if arguments.quick else 9000),
        certificate=builds.paths.get("certificate", ""),
        no_certificate=builds.reason("certificate"),
        curve=(0, 100, 1000) if arguments.quick else (0, 1000, min(room, 10_000)),
        spawned=300 if arguments.quick else 3000,
        children=children.room(200 if arguments.quick else 2000, hard),
        files=min(room, 5000),
    )
    rounds = arguments.rounds or (1 if arguments.quick else 3)
    workloads = [w for w in WORKLOADS if arguments.only is None or w.name in arguments.only]
    print(
        f"{machine()}; {rounds} rounds, medians; {settings.idle} idle connections, "
        f"{settings.children} live children\n"
    )
    samples: Samples = {}
    failed = False
    for usual, group in groupby(sorted(workloads, key=by_servers), by_servers):
        chosen = list(group)
        servers = [make(name, builds) for name in arguments.servers or usual or DEFAULT]
        measured, absences, trouble = measure(servers, chosen, settings, rounds)
        print(Report(servers, measured, absences, settings.curve).render(chosen), flush=True)
        samples |= measured
        failed |= trouble
    if arguments.json is not None:
        rows = [
            {"workload": workload, "server": server, "rounds": figures}
            for (workload, server), figures in samples.items()
        ]
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
