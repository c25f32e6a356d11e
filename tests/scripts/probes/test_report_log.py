"""What the rounds of a probe file come to together."""

import pytest

from scripts.core.model import Outcome
from scripts.probes.fork_server_pool import ProcessExit
from scripts.probes.report_log import FileResult, join_rounds

FILE = "tests/probes/test_order.py"
PASSED, FAILED = {"call": "passed"}, {"call": "failed"}
SKIPPED = {"setup": "skipped"}
LEFT_OUT = {"setup": "left out"}
COLD, LEAKS, FAILS_AND_LEAKS = (
    {"setup": "failed"},
    {"call": "passed", "teardown": "failed"},
    {"call": "failed", "teardown": "failed"},
)


def log(tests, *, cut=False):
    """Return the log of a round: the outcome of each phase of each test."""
    entries = [
        {
            "$report_type": "TestReport",
            "nodeid": f"{FILE}::{name}",
            "when": when,
            "outcome": "skipped" if outcome == "left out" else outcome,
            "longrepr": f"E {when} {outcome}",
            "user_properties": [["left_out", True]] if outcome == "left out" else [],
        }
        for name, phases in tests.items()
        for when, outcome in phases.items()
    ]
    return entries + [{"$report_type": "SessionFinish"}] * (not cut)


def found(*logs, **words):
    """Join rounds; return the outcomes by test, what was left out, and the result."""
    result = join_rounds(FILE, list(logs), ProcessExit(0, False, ""), **words)
    short = {name.rpartition("::")[2]: outcome for name, (outcome, _) in result.tests.items()}
    return short, [name.rpartition("::")[2] for name in result.left_out], result


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        (PASSED, PASSED, Outcome.PASSED),
        (PASSED, FAILED, Outcome.FLAKY),
        (FAILED, FAILED, Outcome.FAILED),
        (FAILED, PASSED, Outcome.FLAKY),
        (SKIPPED, SKIPPED, Outcome.SKIPPED),
        (COLD, COLD, Outcome.ERROR),
        (LEAKS, LEAKS, Outcome.ERROR),
        (PASSED, LEAKS, Outcome.FLAKY),
    ],
)
def test_two_rounds_of_a_test(first, second, outcome):
    assert found(log({"a": first}), log({"a": second}))[0] == {"a": outcome}


def test_what_follows_a_failure_is_left_out():
    tests, left_out, result = found(
        log({"a": PASSED, "b": FAILED, "c": LEFT_OUT}), log({"b": FAILED})
    )
    assert (tests, left_out, result.rounds) == (
        {"a": Outcome.PASSED, "b": Outcome.FAILED},
        ["c"],
        2,
    )


def test_failure_whose_cleanup_errs_decides_its_file_too():
    tests, left_out, _ = found(
        log({"a": PASSED, "b": FAILS_AND_LEAKS, "c": LEFT_OUT}), log({"b": FAILS_AND_LEAKS})
    )
    assert (tests, left_out) == ({"a": Outcome.PASSED, "b": Outcome.ERROR}, ["c"])


def test_failure_in_the_second_round_is_flaky_and_takes_no_other_with_it():
    tests, left_out, _ = found(log({"a": PASSED, "b": PASSED}), log({"b": FAILED, "a": LEFT_OUT}))
    assert (tests, left_out) == ({"a": Outcome.PASSED, "b": Outcome.FLAKY}, [])


@pytest.mark.parametrize("first", [{"a": PASSED, "b": PASSED}, {"a": COLD, "b": PASSED}])
def test_test_without_a_second_report_is_flaky_where_nothing_failed(first):
    tests, _, result = found(log(first), log({"a": first["a"]}))
    assert tests["b"] is Outcome.FLAKY
    assert result.tests[f"{FILE}::b"][1].startswith("passed, then missing: no report")


def test_complete_file_has_a_second_report_of_every_test():
    assert (
        found(log({"a": FAILED, "b": PASSED}), log({"a": FAILED}), stops=False)[0]["b"]
        is Outcome.FLAKY
    )


def test_process_that_was_cut_in_its_second_round_proves_nothing():
    assert (
        found(log({"a": PASSED, "b": FAILED}), log({"b": FAILED}, cut=True))[0]["a"]
        is Outcome.FLAKY
    )


def test_one_round_is_believed_where_one_was_asked_for():
    result = found(log({"a": PASSED}))[2]
    assert result == FileResult({f"{FILE}::a": (Outcome.PASSED, "")}, rounds=1)


def test_process_without_a_round_is_a_problem():
    assert (
        join_rounds(FILE, [[], []], ProcessExit(7, False, "E OSError: cold\n")).problem
        == "the process ended with 7: OSError: cold"
    )
    assert (
        join_rounds(FILE, [[], []], ProcessExit(-9, True, "")).problem
        == "the process ran into its timeout: it printed nothing"
    )
