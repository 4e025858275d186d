"""Markdown tables of medians."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import median

from harness.servers import HOSTED, Server
from harness.workloads import Figures, Workload

# Per workload and server: the figures of each round.
Samples = dict[tuple[str, str], list[Figures]]
# Per workload and server: why there are none.
Absences = dict[tuple[str, str], str]

ABSENT = "–"  # noqa: RUF001

# Of the micro workloads: key of the figure, workload, title.
MICRO = [
    ("set_cancel_ns", "timers", "set a timer and cancel it, ns"),
    ("set_run_ns", "timers", "set a timer and have it run, ns"),
    ("round_trip_us", "threads", "call from a thread and answer, µs"),
    ("one_way_ns", "threads", "calls from a thread in a row, ns"),
]


class Report:
    def __init__(
        self, servers: list[Server], samples: Samples, absences: Absences, curve: tuple[int, ...]
    ):
        self.servers = servers
        self.samples = samples
        self.absences = absences
        self.curve = curve

    def value(self, workload: str, server: str, figure: str) -> float | None:
        """The median over the rounds."""
        values = [sample[figure] for sample in self.samples.get((workload, server), [])]
        return median(values) if values else None

    def ratio(self, workload: str, server: str, figure: str, to: str = "raw") -> float | None:
        """The median of the ratios to the raw loop, or another server, in the same round.

        Not the ratio of two medians: when the machine's speed drifts from round to round, these
        come from different rounds.
        """
        raw = self.samples.get((workload, to), [])
        own = self.samples.get((workload, server), [])
        ratios = [one[figure] / base[figure] for one, base in zip(own, raw, strict=False)]
        return median(ratios) if ratios else None

    def render(self, workloads: list[Workload]) -> str:
        parts = []
        for name, table in TABLES.items():
            chosen = [workload for workload in workloads if workload.table == name]
            if chosen:
                parts.append(table(self, chosen))
        return "\n".join([*parts, *filter(None, [self.spread()]), *self._notes(workloads)])

    def spread(self) -> str:
        """How far the rounds lie apart, for the reader to judge small differences by."""
        spreads = []
        for (workload, server), rounds in self.samples.items():
            costs = [figures["cpu_us"] for figures in rounds if "cpu_us" in figures]
            if len(costs) > 1:
                percent = (max(costs) - min(costs)) / median(costs) * 100
                spreads.append((percent, workload, server))
        if not spreads:
            return ""
        widest, workload, server = max(spreads)
        usual = median(percent for percent, _, _ in spreads)
        return (
            f"Spread of CPU cost between rounds: usually {usual:.0f} %, "
            f"at most {widest:.0f} % ({workload}, {server}).\n"
        )

    def _notes(self, workloads: list[Workload]) -> Iterable[str]:
        """Why a figure is missing, each reason once per server."""
        for server in self.servers:
            reasons: dict[str, list[str]] = {}
            for workload in workloads:
                reason = self.absences.get((workload.name, server.name))
                if reason is not None:
                    reasons.setdefault(reason, []).append(workload.name)
            for reason, names in reasons.items():
                yield f"- {ABSENT} {server.title} ({', '.join(names)}): {reason}"

    def grid(self, title: str, rows: list[tuple[str, Callable[[Server], str]]]) -> str:
        """One row per entry of ``rows``, one column per server."""
        lines = [
            "| " + " | ".join([title, *(server.title for server in self.servers)]) + " |",
            "|---|" + "---:|" * len(self.servers),
        ]
        for label, cell in rows:
            lines.append("| " + " | ".join([label, *map(cell, self.servers)]) + " |")
        return "\n".join([*lines, ""])

    def costs(
        self, title: str, figure: str, chosen: list[Workload], digits: int, to: str = "raw"
    ) -> str:
        """A figure with its ratio to the raw loop's, or another server's."""

        def row(workload: Workload) -> tuple[str, Callable[[Server], str]]:
            def cell(server: Server) -> str:
                value = self.value(workload.name, server.name, figure)
                if value is None:
                    return ABSENT
                ratio = self.ratio(workload.name, server.name, figure, to)
                if ratio is None or server.name == to:
                    return f"{value:.{digits}f}"
                return f"{value:.{digits}f} ({ratio:.2f}×)"  # noqa: RUF001

            return workload.title, cell

        return self.grid(title, [row(workload) for workload in chosen])

    def pairs(self, title: str, first: str, second: str, chosen: list[Workload]) -> str:
        def row(workload: Workload) -> tuple[str, Callable[[Server], str]]:
            def cell(server: Server) -> str:
                one = self.value(workload.name, server.name, first)
                two = self.value(workload.name, server.name, second)
                return ABSENT if one is None or two is None else f"{one:.0f} / {two:.0f}"

            return workload.title, cell

        return self.grid(title, [row(workload) for workload in chosen])

    def figures(self, title: str, rows: list[tuple[str, str, str, str]]) -> str:
        """Rows of label, workload, figure and format."""

        def row(workload: str, figure: str, form: str) -> Callable[[Server], str]:
            def cell(server: Server) -> str:
                value = self.value(workload, server.name, figure)
                return ABSENT if value is None else format(value, form)

            return cell

        return self.grid(title, [(label, row(*rest)) for label, *rest in rows])


def _operations(report: Report, chosen: list[Workload]) -> str:
    cost = report.costs("server CPU, µs per operation", "cpu_us", chosen, 1)
    return f"{cost}\n" + report.pairs("latency p50 / p99, µs", "p50_us", "p99_us", chosen)


def _bulk(report: Report, chosen: list[Workload]) -> str:
    return report.costs("server CPU, ms per GB", "cpu_ms_per_gb", chosen, 0)


def _idle(report: Report, _: list[Workload]) -> str:
    rows = [
        ("without, µs per echo", "idle", "alone_us", ".1f"),
        ("with, µs per echo", "idle", "beside_us", ".1f"),
        ("dearer by, %", "idle", "slower_percent", "+.0f"),
        ("memory per idle connection, KiB", "idle", "kib_per_idle", ".2f"),
    ]
    return report.figures("50 busy connections beside idle ones", rows)


def _curve(report: Report, _: list[Workload]) -> str:
    """One row per server: the other way round there would be too many columns."""
    titles = [f"{idle:,} idle" for idle in report.curve]
    lines = [
        "| " + " | ".join(["server CPU, µs per echo of 64 B, 50 busy", *titles]) + " |",
        "|---|" + "---:|" * len(titles),
    ]
    for server in report.servers:
        values = [
            report.value("pollers", server.name, f"step_{step}_us")
            for step in range(len(report.curve))
        ]
        cells = [ABSENT if value is None else f"{value:.1f}" for value in values]
        lines.append("| " + " | ".join([server.title, *cells]) + " |")
    return "\n".join([*lines, ""])


def _datagrams(report: Report, chosen: list[Workload]) -> str:
    timed = [workload for workload in chosen if workload.title]
    rows = [
        ("flood: datagrams received per second", "udp-flood", "per_second", ",.0f"),
        ("flood: lost, %", "udp-flood", "loss_percent", ".1f"),
        ("flood: system calls per datagram", "flood-calls", "calls_each", ".2f"),
        ("echo: system calls per datagram", "udp-calls", "calls_each", ".2f"),
    ]
    names = {workload.name for workload in chosen}
    rows = [row for row in rows if row[1] in names]
    parts = []
    if timed:
        parts.append(report.costs("server CPU, µs per operation", "cpu_us", timed, 2))
    if rows:
        parts.append(report.figures("datagrams", rows))
    return "\n".join(parts)


def _tls(report: Report, chosen: list[Workload]) -> str:
    bulk = [workload for workload in chosen if workload.name in ("tls-in", "tls-out")]
    timed = [workload for workload in chosen if workload.title and workload not in bulk]
    parts = []
    if timed:
        parts.append(
            report.costs("TLS: server CPU, µs per operation", "cpu_us", timed, 1, "twisted")
        )
    if bulk:
        parts.append(
            report.costs("TLS: server CPU, ms per GB", "cpu_ms_per_gb", bulk, 0, "twisted")
        )
    if len(timed) + len(bulk) < len(chosen):
        rows = [
            ("private", "tls-idle", "private_kib", ".1f"),
            ("resident", "tls-idle", "rss_kib", ".1f"),
        ]
        parts.append(report.figures("TLS: memory per idle connection, KiB", rows))
    return "\n".join([*parts, _tls_libraries(report)])


def _tls_libraries(report: Report) -> str:
    """The load client offers nothing else than what this names."""
    lines = ["All use TLS 1.3, TLS_AES_128_GCM_SHA256, X25519 and ECDSA with P-256.\n"]
    for server in report.servers:
        tls = server.tls()
        if server.missing is None and tls.missing is None:
            lines.append(f"- {server.title}: {tls.library}")
    return "\n".join([*lines, ""])


def _children(report: Report, chosen: list[Workload]) -> str:
    births = [workload for workload in chosen if workload.name.startswith("spawn")]
    exits = [workload for workload in chosen if workload.name in ("exits-few", "exits")]
    pipes = [workload for workload in chosen if workload.name.startswith("pipe")]
    parts = []
    if births:
        parts.append(report.costs("children: parent CPU, µs per child", "cpu_us", births, 0))
        parts.append(_rates(report, "children per second, all on one CPU", "per_second", births))
    if exits:
        parts.append(report.costs("children that wait: parent CPU, µs", "cpu_us", exits, 1))
    if any(workload.name == "exit-calls" for workload in chosen):
        rows = [("one exit, all live children", "exit-calls", "calls_each", ".1f")]
        parts.append(report.figures("system calls of the parent", rows))
    if pipes:
        parts.append(report.costs("pipes: parent CPU, ms per GB", "cpu_ms_per_gb", pipes, 0))
        parts.append(_rates(report, "GB per second", "gb_per_second", pipes))
    return "\n".join(parts)


def _rates(report: Report, title: str, figure: str, chosen: list[Workload]) -> str:
    form = ",.0f" if figure == "per_second" else ".1f"
    return report.figures(title, [(one.title, one.name, figure, form) for one in chosen])


def _hosted(report: Report, chosen: list[Workload]) -> str:
    return report.costs(
        "inside asyncio: server CPU, µs per operation", "cpu_us", chosen, 1, HOSTED[0]
    )


def _micro(report: Report, chosen: list[Workload]) -> str:
    names = {workload.name for workload in chosen}
    rows = [
        (title, workload, figure, ".1f" if figure.endswith("_us") else ".0f")
        for figure, workload, title in MICRO
        if workload in names
    ]
    return report.figures("process CPU per call", rows)


TABLES = {
    "operations": _operations,
    "bulk": _bulk,
    "idle": _idle,
    "micro": _micro,
    "curve": _curve,
    "hosted": _hosted,
    "datagrams": _datagrams,
    "tls": _tls,
    "children": _children,
}
