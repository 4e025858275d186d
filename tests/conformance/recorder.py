"""A trial reporter that writes one JSON line per test, as soon as it is known."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.reporter import Reporter


class Record:
    """The file of one run: a line per start and per end of a test, and a last line at the end."""

    def __init__(self, path: Path) -> None:
        # Unbuffered: the process may be killed for a test that hangs.
        self._file = path.open("a", buffering=1)
        self._starts: dict[str, float] = {}

    def collected(self, count: int) -> None:
        """Trial found that many tests."""
        self._write(event="collected", count=count)

    def started(self, test: str) -> None:
        """A test began, unless that was recorded before."""
        if test not in self._starts:
            self._starts[test] = time.monotonic()
            self._write(event="start", test=test)

    def ended(self, test: str, outcomes: list[tuple[str, str]]) -> None:
        """A test ended with these outcomes, each a kind and a text."""
        begun = self._starts.pop(test, time.monotonic())
        seconds = round(time.monotonic() - begun, 3)
        self._write(event="end", test=test, seconds=seconds, outcomes=outcomes)

    def died(self, test: str, reason: str) -> None:
        """The process that ran the test ended, and the test with it."""
        self._write(event="died", test=test, reason=reason)

    def finished(self) -> None:
        """The run ended by itself."""
        self._write(event="finished")

    def _write(self, **fields: Any) -> None:
        self._file.write(json.dumps(fields) + "\n")


class RecordingReporter(Reporter):
    """Collects the outcomes of the test that runs and records them when it stops."""

    def __init__(self, record: Record, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._record = record
        self._outcomes: dict[str, list[tuple[str, str]]] = {}

    def startTest(self, test: Any) -> None:
        super().startTest(test)
        self._outcomes[test.id()] = []
        self._record.started(test.id())

    def stopTest(self, test: Any) -> None:
        super().stopTest(test)
        self._record.ended(test.id(), self._outcomes.pop(test.id(), []))

    def _outcome(self, test: Any, kind: str, detail: object) -> None:
        outcome = (kind, str(detail)[:_DETAIL_LIMIT])
        if test.id() in self._outcomes:
            self._outcomes[test.id()].append(outcome)
        else:
            # Outside any test: a module that cannot be imported, or a failed class fixture.
            self._record.ended(test.id(), [outcome])

    def addSuccess(self, test: Any) -> None:
        super().addSuccess(test)
        self._outcome(test, "passed", "")

    def addError(self, test: Any, error: Any) -> None:
        super().addError(test, error)
        self._outcome(test, "errored", _text(error))

    def addFailure(self, test: Any, fail: Any) -> None:
        super().addFailure(test, fail)
        self._outcome(test, "failed", _text(fail))

    def addSkip(self, test: Any, reason: Any) -> None:
        super().addSkip(test, reason)
        self._outcome(test, "skipped", reason)

    def addExpectedFailure(self, test: Any, error: Any, todo: Any = None) -> None:
        super().addExpectedFailure(test, error, todo)
        self._outcome(test, "todo", "")

    def addUnexpectedSuccess(self, test: Any, todo: Any = None) -> None:
        super().addUnexpectedSuccess(test, todo)
        self._outcome(test, "unexpected-success", "")

    def _printErrors(self) -> None:
        """Nothing: the record holds them."""

    def _printSummary(self) -> None:
        """Nothing: what is printed is the comparison."""


def recording_reporter(record: Record) -> Callable[..., RecordingReporter]:
    """A factory with the signature that trial's runners call."""

    def factory(stream: Any = None, *args: Any, **kwargs: Any) -> RecordingReporter:
        return RecordingReporter(record, io.StringIO(), *args, **kwargs)

    return factory


def _text(error: Any) -> str:
    if isinstance(error, tuple):
        return f"{error[0].__name__}: {error[1]}"
    return f"{getattr(error.type, '__name__', error.type)}: {error.getErrorMessage()}"


# Characters of an outcome's text; a failed comparison of megabytes says enough with its beginning.
_DETAIL_LIMIT = 2000
