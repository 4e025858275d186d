"""Runs trial in this process, records every test, and can choose the reactor classes under test.

    python launcher.py PLAN.json

The plan is made by `suite.py`; `TrialRun` there says what it holds. Twisted's tests stay
unmodified: the reactors of its reactor-parametrised tests are a class attribute, and those for one
reactor class import it by its name. Both must be set before the test modules are imported.
"""

from __future__ import annotations

import json
import sys
import unittest
from pathlib import Path

from recorder import Record, recording_reporter
from twisted.python.reflect import namedAny
from twisted.python.usage import UsageError
from twisted.scripts import trial
from twisted.trial._asyncrunner import _iterateTests
from twisted.trial._dist.distreporter import DistReporter
from twisted.trial._dist.disttrial import DistTrialRunner


def main(plan_path: str) -> None:
    """Run what the plan says."""
    plan = json.loads(Path(plan_path).read_text())
    sys.path[:0] = plan["path"]
    config = trial.Options()
    try:
        # This installs the reactor that `--reactor` names.
        config.parseOptions(plan["arguments"])
    except UsageError as error:
        raise SystemExit(f"trial: {error}") from error
    for place, replacement in plan["substitutes"]:
        substitute(place, replacement)
    if plan["builder_reactor"] is not None:
        from twisted.internet.test.reactormixins import ReactorBuilder

        ReactorBuilder._reactors = [plan["builder_reactor"]]

    record = Record(Path(plan["record"]))
    config["reporter"] = recording_reporter(record)
    trial._initialDebugSetup(config)
    if config["jobs"]:
        # The parent of workers runs no tests itself, and can have its own way of driving them.
        # It would hold a test's results back until the test has ended.
        DistTrialRunner._distReporterFactory = early_starts(record)
        DistTrialRunner._driveWorker = staticmethod(drive_worker(record))
    runner = trial._makeRunner(config)
    suite = without(trial._getSuite(config), set(plan["exclude"]), plan["without"])
    record.collected(suite.countTestCases())
    if suite.countTestCases():
        runner.run(suite)
    for place, replacement in plan["substitutes"]:
        if namedAny(place) is not namedAny(replacement):
            raise SystemExit(f"a test took {replacement} away from {place}")
    record.finished()


def substitute(place: str, replacement: str) -> None:
    """Put one object in the place of another, both given by their dotted names."""
    # First, for the replacement may inherit from what stands in its place.
    found = namedAny(replacement)
    module, _, name = place.rpartition(".")
    setattr(namedAny(module), name, found)


def without(suite: unittest.TestSuite, tests: set[str], packages: list[str]) -> unittest.TestSuite:
    """The suite without the tests of the given ids, and without those of the given packages."""
    if not tests and not packages:
        return suite
    prefixes = tuple(f"{package}." for package in packages)
    kept = [
        case
        for case in _iterateTests(suite)
        if case.id() not in tests and not case.id().startswith(prefixes)
    ]
    return type(suite)(kept)


def early_starts(record) -> type[DistReporter]:
    """A reporter for the parent of workers that records a start when it happens."""

    class EarlyStarts(DistReporter):
        def startTest(self, test) -> None:
            record.started(test.id())
            super().startTest(test)

    return EarlyStarts


def drive_worker(record):
    """How the parent gives tests to one worker, until there are none or the worker has died.

    Trial's own goes on giving tests to a dead worker, which fails every one of them.
    """

    async def drive(result, cases, worker) -> None:
        for case in cases:
            try:
                await worker.run(case, result)
            except Exception as error:
                record.died(case.id(), f"{type(error).__name__}: {error}")
                return

    return drive


if __name__ == "__main__":
    # Tests look at sys.argv and at the search path: both as `trial` itself would have them.
    plan_argument = sys.argv[1]
    sys.argv = ["trial"]
    del sys.path[0]
    main(plan_argument)
