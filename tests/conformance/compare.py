"""Compares the results of two reactors test by test."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from suite import Outcome, Results

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MISSING = Outcome("missing", "the test did not run")


@dataclass(frozen=True)
class Difference:
    """A test that ended differently."""

    test: str
    baseline: Outcome
    ropewalk: Outcome

    def __str__(self) -> str:
        lines = [f"{self.test}: {self.baseline.kind} -> {self.ropewalk.kind}"]
        for name, outcome in (("baseline", self.baseline), ("ropewalk", self.ropewalk)):
            for number, line in enumerate(outcome.text.splitlines()[:6]):
                lines.append(f"      {name if number == 0 else '':8} {line[:200]}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Expected:
    """An entry of expected_differences.toml."""

    test: str
    reactors: frozenset[str]
    baseline: str
    ropewalk: str
    reason: str

    def matches(self, difference: Difference) -> bool:
        """Whether this entry allows the difference."""
        return (self.test, self.baseline, self.ropewalk) == (
            difference.test,
            difference.baseline.kind,
            difference.ropewalk.kind,
        )


@dataclass
class Verdict:
    """What a comparison found."""

    unexpected: list[Difference]
    expected: list[tuple[Difference, Expected]]
    unsteady: list[Difference]
    no_longer: list[Expected]
    complaints: list[str]

    @property
    def passed(self) -> bool:
        """Whether nothing but expected differences was found."""
        return not (self.unexpected or self.no_longer or self.complaints)


def load_expected(path: Path, reactor: str) -> list[Expected]:
    """The entries for one reactor. A malformed entry is an error."""
    entries = []
    for row in tomllib.loads(path.read_text()).get("difference", []):
        entry = Expected(
            row["test"],
            frozenset(row["reactors"]),
            row["baseline"],
            row["ropewalk"],
            row["reason"],
        )
        if not entry.reason.strip() or entry.baseline == entry.ropewalk:
            raise ValueError(f"{path}: {entry.test}: a difference and its reason are needed")
        if reactor in entry.reactors:
            entries.append(entry)
    return entries


def flaky_tests(first: Results, second: Results) -> set[str]:
    """Tests that do not end alike in two runs of the baseline."""
    return {difference.test for difference in differences(first, second)}


def differences(baseline: Results, other: Results) -> list[Difference]:
    """Every test with another outcome, a test that ran on one side only included."""
    found = []
    for test in sorted(baseline.outcomes.keys() | other.outcomes.keys()):
        before = baseline.outcomes.get(test, MISSING)
        after = other.outcomes.get(test, MISSING)
        if before.kind != after.kind:
            found.append(Difference(test, before, after))
    return found


def judge(
    baseline: Results,
    ropewalk: Results,
    flaky: set[str],
    expected: list[Expected],
    minimum_passed: int,
    whole: bool,
) -> Verdict:
    """Sort every difference into expected, unsteady on the baseline too, and unexpected.

    `whole` says that all tests were run, so that an expected difference must have occurred.
    """
    verdict = Verdict([], [], [], [], [])
    used = set()
    for difference in differences(baseline, ropewalk):
        entry = next((entry for entry in expected if entry.matches(difference)), None)
        if entry is not None:
            used.add(entry)
            verdict.expected.append((difference, entry))
        elif difference.test in flaky:
            verdict.unsteady.append(difference)
        else:
            verdict.unexpected.append(difference)
    ran = baseline.outcomes.keys() | ropewalk.outcomes.keys()
    # A run of chosen modules says nothing about entries for the others.
    verdict.no_longer = [
        entry
        for entry in expected
        if entry not in used and entry.test not in flaky and (whole or entry.test in ran)
    ]
    verdict.complaints = [
        f"{name}: {results.counts()['passed']} tests passed, fewer than {minimum_passed}: "
        "that says nothing"
        for name, results in (("baseline", baseline), ("ropewalk", ropewalk))
        if results.counts()["passed"] < minimum_passed
    ]
    return verdict
