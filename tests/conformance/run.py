"""Runs Twisted's own tests on ropewalk's reactors and on Twisted's, and compares test by test.

    python tests/conformance/run.py [--quick] [--fresh] [--module NAME]... [--reactor NAME]...

Part one runs, for each ropewalk reactor, the tests that Twisted makes once per reactor class, those
for that reactor class, and those for the installed reactor. Part two runs all of Twisted's tests on
the reactor that `--reactor=ropewalk` installs. `--quick` leaves out part two, and of part one the
tests for the installed reactor. A test that ends in another way than on Twisted's reactor of the
same kind (passed, failed, errored, skipped, ...) is printed, and fails the command unless
expected_differences.toml has its reason. So does an entry of that file that no longer occurs.
Twisted's reactors run twice, to find the tests that are not steady on them, and their results are
kept in build/conformance until `--fresh`.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from baselines import cached
from compare import Difference, Verdict, differences, flaky_tests, judge, load_expected
from reactors import CHOOSING, COUNTERPARTS, Counterpart, by_class, by_name
from suite import (
    BUILDER_MODULES,
    HERE,
    INSTALLED_MODULES,
    Results,
    SuiteError,
    TrialRun,
    end_all_runs,
)
from twisted.application.reactors import getReactorTypes

#: Fewer passed tests than this in a whole part mean that the tests did not really run: a reactor
#: class that Twisted's harness cannot use turns all of its tests into skips.
MINIMUM_PASSED = {"builders": 330, "modules": 560, "everything": 10_000}

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
    other: TrialRun
    whole: bool
    #: What `other` runs on, in a word.
    side: str = "ropewalk"
    #: What there is to print, for parts run side by side.
    lines: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        """Print a line at the end of the part."""
        self.lines.append(line)


def main() -> int:
    options = parse_arguments()
    # Ended from outside, it still ends the trials that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    begun = time.monotonic()
    failed = []
    try:
        # Part two has workers of its own.
        for found, workers in ((builder_parts(options), options.jobs), (whole_parts(options), 1)):
            with ThreadPoolExecutor(workers) as pool:
                try:
                    for title, passed in pool.map(lambda part: run_part(part, options), found):
                        if not passed:
                            failed.append(title)
                except BaseException:
                    end_all_runs()
                    raise
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    seconds = time.monotonic() - begun
    if failed:
        print(f"conformance: FAILED after {seconds:.0f} s: " + "; ".join(failed))
        return 1
    print(f"conformance: no unexpected difference, {seconds:.0f} s")
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the short part one only")
    parser.add_argument("--fresh", action="store_true", help="run Twisted's reactors anew")
    parser.add_argument(
        "--module", action="append", default=[], help="only these test modules or packages"
    )
    parser.add_argument(
        "--reactor",
        action="append",
        default=[],
        help="a dotted class name for part one, or a --reactor name for part two",
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side")
    parser.add_argument("--patience", type=float, default=TrialRun.patience, help="seconds")
    return parser.parse_args()


def builder_parts(options: argparse.Namespace) -> list[Part]:
    """Part one, by the options: the comparisons class by class."""
    chosen = COUNTERPARTS
    if options.reactor:
        chosen = [by_class(name) for name in options.reactor if "." in name]
    found = []
    for counterpart in chosen:
        every = [*BUILDER_MODULES, *counterpart.modules]
        if not options.quick:
            every += INSTALLED_MODULES
        modules = [name for name in every if selected(name, options.module)]
        if not modules:
            continue
        baseline = TrialRun(
            counterpart.installed,
            modules,
            counterpart.factory or counterpart.twisted,
            patience=options.patience,
            site=counterpart.site,
        )
        other = replace(
            baseline,
            installed=plugin_name(counterpart.ropewalk),
            builder_reactor=counterpart.factory or counterpart.ropewalk,
            substitutes=counterpart.substitutes,
        )
        if counterpart.calibration is not None:
            found += calibration_parts(counterpart, counterpart.calibration, options)
        title = f"{counterpart.ropewalk} with {counterpart.twisted}"
        kind = "builders" if options.quick else "modules"
        found.append(Part(title, kind, counterpart.ropewalk, baseline, other, modules == every))
    return found


def calibration_parts(
    counterpart: Counterpart, calibration: str, options: argparse.Namespace
) -> list[Part]:
    """Twisted's reactor on a stand-in, with Twisted's reactor on what this system has."""
    modules = [name for name in BUILDER_MODULES if selected(name, options.module)]
    if not modules:
        return []
    (steady,) = (c for c in COUNTERPARTS if c.twisted == calibration)
    baseline = TrialRun(steady.installed, modules, calibration, patience=options.patience)
    other = replace(
        baseline,
        installed=counterpart.installed,
        builder_reactor=counterpart.twisted,
        site=counterpart.site,
    )
    title = f"stand-in: {counterpart.twisted} with {calibration}"
    whole = modules == BUILDER_MODULES
    return [Part(title, "builders", counterpart.twisted, baseline, other, whole, "stand-in")]


def whole_parts(options: argparse.Namespace) -> list[Part]:
    """Part two, by the options: the comparisons of all tests."""
    names = [name for name in options.reactor if "." not in name]
    if not options.reactor:
        names = list(CHOOSING)
    found = []
    for name in [] if options.quick else names:
        everything = options.module or ["twisted"]
        counterpart = by_name(name)
        baseline = TrialRun(
            counterpart.installed,
            everything,
            None,
            options.jobs,
            patience=options.patience,
            site=counterpart.site,
        )
        other = replace(baseline, installed=name)
        title = f"{' '.join(everything)} with --reactor={name} and {counterpart.installed}"
        found.append(Part(title, "everything", name, baseline, other, not options.module))
    return found


def selected(module: str, wanted: list[str]) -> bool:
    """Whether the module is one of the wanted ones or inside one; all are if none is named."""
    return not wanted or any(f"{module}.".startswith(f"{name}.") for name in wanted)


def plugin_name(class_name: str) -> str:
    """The --reactor name under which the class's module is installed."""
    module = class_name.rpartition(".")[0]
    for installer in getReactorTypes():
        if getattr(installer, "moduleName", None) == module:
            return installer.shortName
    raise SystemExit(f"no --reactor name for {module}: is ropewalk installed?")


def run_part(part: Part, options: argparse.Namespace) -> tuple[str, bool]:
    """Compare, print what was found, and say whether it is well."""
    # In one piece each, for other parts print as well.
    print(f"-- {part.title}: running\n", end="", flush=True)
    passed = False
    try:
        verdict = compare_part(part, options)
        report(part, verdict)
        passed = verdict.passed
    except SuiteError as error:
        part.say(f"   {error}")
    print("\n".join([f"== {part.title}", *part.lines, ""]), end="", flush=True)
    return part.title, passed


def compare_part(part: Part, options: argparse.Namespace) -> Verdict:
    """Run both reactors and judge the differences."""
    first, second = (
        cached(part.baseline, f"{part.kind}-{number}", options.fresh) for number in (1, 2)
    )
    flaky = flaky_tests(first, second)
    other = part.other.run()
    print_counts(part, first, other)
    expected = load_expected(HERE / "expected_differences.toml", part.reactor)
    minimum = MINIMUM_PASSED[part.kind] if part.whole else 1
    verdict = judge(first, other, flaky, expected, minimum, part.kind != "builders" and part.whole)
    if 0 < len(verdict.unexpected) <= RETRIED_AT_MOST:
        retry(part, verdict)
    return verdict


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
        for side, run in (("baseline", part.baseline), (part.side, part.other)):
            alone = replace(run, names=[denormalise(run, name) for name in names], jobs=0)
            for test, outcome in alone.run().outcomes.items():
                ends.setdefault(test, {}).setdefault(side, []).append(outcome.kind)
    part.say(f"   run again alone, {RETRIES} times each in turns:")
    for difference in list(verdict.unexpected):
        again = ends.get(difference.test, {})
        before, after = again.get("baseline", []), again.get(part.side, [])
        part.say(f"   {difference.test}: baseline {before}, {part.side} {after}")
        if difference.ropewalk.kind in before:
            verdict.unexpected.remove(difference)
            verdict.unsteady.append(difference)


def denormalise(run: TrialRun, test: str) -> str:
    """The test's id on the reactor of `run`."""
    if run.builder_reactor is None:
        return test
    return test.replace("@REACTOR@", run.builder_reactor.rpartition(".")[2])


def print_counts(part: Part, baseline: Results, other: Results) -> None:
    """One line per side."""
    for name, results in (("baseline", baseline), (part.side, other)):
        counts = results.counts()
        text = ", ".join(f"{counts[kind]} {kind}" for kind in sorted(counts))
        part.say(f"   {name}: {len(results.outcomes)} tests: {text}; {results.seconds:.1f} s")
    same = len(baseline.outcomes.keys() | other.outcomes.keys())
    part.say(f"   alike: {same - len(differences(baseline, other))} of {same}")


def report(part: Part, verdict: Verdict) -> None:
    """Print every difference."""
    show(part, "UNEXPECTED", verdict.unexpected)
    show(part, "not steady on the baseline either", verdict.unsteady)
    for difference, entry in verdict.expected:
        part.say(f"   expected: {difference}\n      because  {entry.reason}")
    for entry in verdict.no_longer:
        part.say(f"   EXPECTED BUT GONE: {entry.test}: remove it from expected_differences.toml")
    for complaint in verdict.complaints:
        part.say(f"   {complaint}")


def show(part: Part, label: str, found: list[Difference]) -> None:
    """Print differences under a label."""
    for difference in found:
        part.say(f"   {label}: {difference}")


if __name__ == "__main__":
    sys.exit(main())
