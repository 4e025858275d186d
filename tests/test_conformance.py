"""The comparison with Twisted's reactor finds what it is there to find."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent / "conformance"
sys.path.insert(0, str(HERE))

from compare import Expected, flaky_tests, judge, load_expected  # noqa: E402
from reactors import COUNTERPARTS, Counterpart  # noqa: E402
from suite import Outcome, Results, TrialRun  # noqa: E402


def results(**kinds: str) -> Results:
    """Results from test=kind, with a hundred tests that pass beside them."""
    outcomes = {f"filler{n}": Outcome("passed") for n in range(100)}
    return Results(outcomes | {test: Outcome(kind) for test, kind in kinds.items()})


def entry(test: str, baseline: str, ropewalk: str) -> Expected:
    return Expected(test, frozenset({"any"}), baseline, ropewalk, "a reason")


@pytest.mark.parametrize(
    "kind", ["failed", "errored", "skipped", "hung", "todo", "unexpected-success"]
)
def test_any_other_end_than_the_baselines_is_found(kind: str) -> None:
    verdict = judge(results(a="passed"), results(a=kind), set(), [], 1, True)
    assert [difference.test for difference in verdict.unexpected] == ["a"]
    assert not verdict.passed


def test_a_test_that_did_not_run_is_found() -> None:
    assert not judge(results(a="passed"), results(), set(), [], 1, True).passed
    assert not judge(results(), results(a="passed"), set(), [], 1, True).passed


def test_equal_failures_are_no_difference() -> None:
    assert judge(results(a="failed"), results(a="failed"), set(), [], 1, True).passed


def test_an_expected_difference_passes_while_it_occurs() -> None:
    allowed = [entry("a", "passed", "skipped")]
    assert judge(results(a="passed"), results(a="skipped"), set(), allowed, 1, True).passed
    assert not judge(results(a="passed"), results(a="failed"), set(), allowed, 1, True).passed
    gone = judge(results(a="passed"), results(a="passed"), set(), allowed, 1, True)
    assert gone.no_longer == allowed and not gone.passed


def test_a_partial_run_says_nothing_about_entries_for_other_tests() -> None:
    allowed = [entry("elsewhere", "passed", "skipped")]
    assert judge(results(), results(), set(), allowed, 1, False).passed
    assert not judge(results(), results(), set(), allowed, 1, True).passed


def test_what_is_not_steady_on_the_baseline_is_printed_but_passes() -> None:
    flaky = flaky_tests(results(a="passed"), results(a="failed"))
    assert flaky == {"a"}
    verdict = judge(results(a="passed"), results(a="errored"), flaky, [], 1, True)
    assert [difference.test for difference in verdict.unsteady] == ["a"]
    assert verdict.passed


def test_a_run_that_skipped_everything_does_not_pass() -> None:
    skipped = Results({f"t{n}": Outcome("skipped") for n in range(300)})
    assert not judge(skipped, skipped, set(), [], 200, True).passed


def test_the_checked_in_list_is_well_formed() -> None:
    path = HERE / "expected_differences.toml"
    for counterpart in COUNTERPARTS:
        load_expected(path, counterpart.ropewalk)


@pytest.mark.parametrize("counterpart", COUNTERPARTS, ids=lambda c: c.installed)
def test_both_sides_of_a_comparison_have_one_class_name(counterpart: Counterpart) -> None:
    # Or the ids of the tests would differ.
    names = {name.rpartition(".")[2] for name in (counterpart.ropewalk, counterpart.twisted)}
    assert len(names) == 1


def test_a_test_module_imports_the_reactor_class_that_is_chosen() -> None:
    run = TrialRun(
        "epoll",
        ["sample_substituted"],
        path=(str(HERE / "samples"),),
        substitutes=(
            ("twisted.internet.epollreactor.EPollReactor", "ropewalk.epollreactor.EPollReactor"),
        ),
    )
    assert set(run.run().counts()) == {"passed"}
    unsubstituted = replace(run, substitutes=())
    assert set(unsubstituted.run().counts()) == {"failed"}


def test_kqueue_is_in_trials_process_and_in_all_its_children() -> None:
    run = TrialRun(
        "kqueue",
        ["sample_kqueue"],
        path=(str(HERE / "samples"),),
        site=(str(HERE / "kqueue_site"),),
    )
    assert run.run().counts() == {"passed": 2}


@pytest.mark.parametrize("jobs", [0, 2])
def test_a_hang_or_a_death_costs_the_other_tests_nothing(jobs: int) -> None:
    run = TrialRun(
        "epoll",
        ["sample_suite"],
        jobs=jobs,
        path=(str(HERE / "samples"),),
        patience=5,
    )
    found = {test.split(".", 1)[1]: o.kind for test, o in run.run().outcomes.items()}
    assert found == {
        "Dies.test_a_before": "passed",
        "Dies.test_b_dies": "errored",
        "Dies.test_c_after": "passed",
        "Ends.test_errs": "errored",
        "Ends.test_fails": "failed",
        "Ends.test_fails_and_is_unclean": "errored",
        "Ends.test_passes": "passed",
        "Ends.test_skips": "skipped",
        "Hangs.test_a_before": "passed",
        "Hangs.test_b_hangs": "hung",
        "Hangs.test_c_after": "passed",
    }
