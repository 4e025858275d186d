"""Runs Twisted's own tests on ropewalk's reactors and on Twisted's, and compares test by test.

    python tests/conformance/run.py [--quick] [--fresh] [--module NAME]... [--reactor NAME]...

Part one runs the tests that Twisted makes once per reactor class, for each ropewalk reactor. Part
two runs all of Twisted's tests on the installed reactor; `--quick` leaves it out. A test that ends
in another way than on Twisted's EPollReactor (passed, failed, errored, skipped, ...) is printed,
and fails the command unless expected_differences.toml has its reason. So does an entry of that
file that no longer occurs. Twisted's reactor runs twice, to find the tests that are not steady on
it, and its results are kept in build/conformance until `--fresh`.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import signal
import sys
import time
from dataclasses import dataclass, replace
from importlib.metadata import distributions
from pathlib import Path

import twisted
from compare import Difference, Verdict, differences, flaky_tests, judge, load_expected
from suite import BUILDER_MODULES, HERE, Results, SuiteError, TrialRun
from twisted.application.reactors import getReactorTypes

ROOT = HERE.parent.parent
CACHE = ROOT / "build" / "conformance"

BASELINE_CLASS = "twisted.internet.epollreactor.EPollReactor"
BASELINE_NAME = "epoll"
ROPEWALK_CLASSES = ["ropewalk.epollreactor.EPollReactor", "ropewalk.pollreactor.PollReactor"]
ROPEWALK_NAMES = ["ropewalk"]

#: Fewer passed tests than this in a whole part mean that the tests did not really run: a reactor
#: class that Twisted's harness cannot use turns all of its tests into skips.
MINIMUM_PASSED = {"builders": 330, "everything": 10_000}

#: Differences up to this number are run again alone, to say whether they are steady.
RETRIED_AT_MOST = 40
RETRIES = 3


@dataclass
class Part:
    """One comparison: a name for humans, the two runs, and whether they are complete."""

    title: str
    kind: str
    reactor: str
    baseline: TrialRun
    ropewalk: TrialRun
    whole: bool


def main() -> int:
    options = parse_arguments()
    # Ended from outside, it still ends the trial that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    begun = time.monotonic()
    failed = []
    for part in parts(options):
        print(f"== {part.title}", flush=True)
        try:
            verdict = compare_part(part, options)
        except SuiteError as error:
            print(f"   {error}")
            failed.append(part.title)
            continue
        report(verdict)
        if not verdict.passed:
            failed.append(part.title)
    seconds = time.monotonic() - begun
    if failed:
        print(f"conformance: FAILED after {seconds:.0f} s: " + "; ".join(failed))
        return 1
    print(f"conformance: no unexpected difference, {seconds:.0f} s")
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="part one only")
    parser.add_argument("--fresh", action="store_true", help="run Twisted's reactor anew")
    parser.add_argument(
        "--module", action="append", default=[], help="only these test modules or packages"
    )
    parser.add_argument(
        "--reactor",
        action="append",
        default=[],
        help="a dotted class name for part one, or a --reactor name for part two",
    )
    parser.add_argument("--jobs", type=int, default=2, help="workers of part two")
    parser.add_argument("--patience", type=float, default=TrialRun.patience, help="seconds")
    return parser.parse_args()


def parts(options: argparse.Namespace) -> list[Part]:
    """What to compare, by the options."""
    classes = [name for name in options.reactor if "." in name]
    names = [name for name in options.reactor if "." not in name]
    if not options.reactor:
        classes, names = ROPEWALK_CLASSES, ROPEWALK_NAMES
    if options.quick:
        names = []
    modules = BUILDER_MODULES
    if options.module:
        modules = [name for name in BUILDER_MODULES if selected(name, options.module)]
    found = []
    for class_name in classes if modules else []:
        baseline = TrialRun(BASELINE_NAME, modules, BASELINE_CLASS, patience=options.patience)
        other = replace(baseline, installed=plugin_name(class_name), builder_reactor=class_name)
        title = f"reactor-parametrised tests on {class_name}"
        whole = modules == BUILDER_MODULES
        found.append(Part(title, "builders", class_name, baseline, other, whole))
    for name in names:
        everything = options.module or ["twisted"]
        baseline = TrialRun(
            BASELINE_NAME, everything, None, options.jobs, patience=options.patience
        )
        title = f"{' '.join(everything)} with --reactor={name}"
        other = replace(baseline, installed=name)
        found.append(Part(title, "everything", name, baseline, other, not options.module))
    return found


def selected(module: str, wanted: list[str]) -> bool:
    """Whether the module is one of the wanted ones or inside one."""
    return any(f"{module}.".startswith(f"{name}.") for name in wanted)


def plugin_name(class_name: str) -> str:
    """The --reactor name under which the class's module is installed."""
    module = class_name.rpartition(".")[0]
    for installer in getReactorTypes():
        if getattr(installer, "moduleName", None) == module:
            return installer.shortName
    raise SystemExit(f"no --reactor name for {module}: is ropewalk installed?")


def compare_part(part: Part, options: argparse.Namespace) -> Verdict:
    """Run both reactors and judge the differences."""
    first, second = (
        cached(part.baseline, f"{part.kind}-{number}", options.fresh) for number in (1, 2)
    )
    flaky = flaky_tests(first, second)
    other = part.ropewalk.run()
    print_counts(first, other)
    expected = load_expected(HERE / "expected_differences.toml", part.reactor)
    minimum = MINIMUM_PASSED[part.kind] if part.whole else 1
    verdict = judge(first, other, flaky, expected, minimum, part.whole)
    if 0 < len(verdict.unexpected) <= RETRIED_AT_MOST:
        retry(part, verdict)
    return verdict


#: Baselines run or found by this process, by file: several parts share one.
_BASELINES: dict[Path, Results] = {}


def cached(run: TrialRun, label: str, fresh: bool) -> Results:
    """The baseline's results, from this process, from the cache, or newly run."""
    # Which tests skip themselves depends on the packages that are installed and on the way to run.
    packages = {f"{d.name}=={d.version}" for d in distributions() if d.name != "ropewalk"}
    ways = [(HERE / file).read_text() for file in ("suite.py", "launcher.py", "recorder.py")]
    key = " ".join([*run.names, *sorted(packages), *ways])
    names = hashlib.sha256(key.encode()).hexdigest()[:8]
    version = f"twisted-{twisted.__version__}-{sys.implementation.name}-{platform.python_version()}"
    path = CACHE / version / f"{run.installed}-{label}-{names}.json"
    if path not in _BASELINES:
        if fresh or not path.exists():
            print(f"   running the baseline ({label})", flush=True)
            results = run.run()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(results.to_json())
        _BASELINES[path] = Results.from_json(path.read_text())
    return _BASELINES[path]


def retry(part: Part, verdict: Verdict) -> None:
    """Run the differing tests alone on both reactors; the baseline's own failures are no finding.

    A difference that does not show again on ropewalk stays a finding: it happened.
    """
    names = [d.test for d in verdict.unexpected if d.baseline.kind != "missing"]
    if not names:
        return
    ends: dict[str, dict[str, list[str]]] = {}
    # In turns: what disturbs a test, say a port that is taken, comes and goes with the time.
    for _ in range(RETRIES):
        for side, run in (("baseline", part.baseline), ("ropewalk", part.ropewalk)):
            alone = replace(run, names=[denormalise(run, name) for name in names], jobs=0)
            for test, outcome in alone.run().outcomes.items():
                ends.setdefault(test, {}).setdefault(side, []).append(outcome.kind)
    print(f"   run again alone, {RETRIES} times each in turns:")
    for difference in list(verdict.unexpected):
        again = ends.get(difference.test, {})
        before, after = again.get("baseline", []), again.get("ropewalk", [])
        print(f"   {difference.test}: baseline {before}, ropewalk {after}")
        if difference.ropewalk.kind in before:
            verdict.unexpected.remove(difference)
            verdict.unsteady.append(difference)


def denormalise(run: TrialRun, test: str) -> str:
    """The test's id on the reactor of `run`."""
    if run.builder_reactor is None:
        return test
    return test.replace("@REACTOR@", run.builder_reactor.rpartition(".")[2])


def print_counts(baseline: Results, ropewalk: Results) -> None:
    """One line per side."""
    for name, results in (("baseline", baseline), ("ropewalk", ropewalk)):
        counts = results.counts()
        text = ", ".join(f"{counts[kind]} {kind}" for kind in sorted(counts))
        print(f"   {name}: {len(results.outcomes)} tests: {text}; {results.seconds:.1f} s")
    same = len(baseline.outcomes.keys() | ropewalk.outcomes.keys())
    print(f"   alike: {same - len(differences(baseline, ropewalk))} of {same}", flush=True)


def report(verdict: Verdict) -> None:
    """Print every difference."""
    show("UNEXPECTED", verdict.unexpected)
    show("not steady on the baseline either", verdict.unsteady)
    for difference, entry in verdict.expected:
        print(f"   expected: {difference}\n      because  {entry.reason}")
    for entry in verdict.no_longer:
        print(f"   EXPECTED BUT GONE: {entry.test}: remove it from expected_differences.toml")
    for complaint in verdict.complaints:
        print(f"   {complaint}")


def show(label: str, found: list[Difference]) -> None:
    """Print differences under a label."""
    for difference in found:
        print(f"   {label}: {difference}")


if __name__ == "__main__":
    sys.exit(main())
