"""What is said of a feature that was tried, from its results on the imported tree and on bare upstream."""

from pathlib import Path

import pytest

from scripts.core.model import Cell, Feature, Outcome, Patch, Result, State
from scripts.status.trial import ColumnTrial, FeatureTrial
from scripts.status.trial_text import is_proven, sentence

PATCH = Patch(Path(), State.ACTIVE, "trim", "", "1", "")
CELL = Cell("2", "plain", None)
P, F, E, S, M, X = (
    Result(outcome)
    for outcome in (
        Outcome.PASSED,
        Outcome.FAILED,
        Outcome.ERROR,
        Outcome.SKIPPED,
        Outcome.MISSING,
        Outcome.FLAKY,
    )
)
NO_CONTROL = Result(Outcome.PASSED, control=False)
FAILED_WITHOUT_CONTROL = Result(Outcome.FAILED, control=False)


def trial(own, bare, **record):
    feature = Feature("trim", PATCH, Path(), "", **record)
    return FeatureTrial(feature, CELL, ColumnTrial(own), ColumnTrial(bare) if bare else None)


@pytest.mark.parametrize(
    ("own", "bare", "proven", "words"),
    [
        (P, F, True, "passes on your tree, and fails on bare 2, as it must"),
        (P, None, True, "passes on your tree (bare 2 was not tried)"),
        (P, P, False, "passes on your tree, but it proves nothing: bare 2 passes it too"),
        (
            P,
            E,
            False,
            "passes on your tree, but ends with an error on bare 2 instead of a failed assertion",
        ),
        (
            P,
            S,
            False,
            "passes on your tree, but is skipped on bare 2 instead of a failed assertion",
        ),
        (
            P,
            X,
            False,
            "passes on your tree, but gives two results on bare 2 instead of a failed assertion",
        ),
        (
            P,
            FAILED_WITHOUT_CONTROL,
            False,
            "passes on your tree, but the control probe does not pass on bare 2, so nothing else counts",
        ),
        (F, F, False, "fails on your tree"),
        (F, P, False, "fails on your tree"),
        (F, None, False, "fails on your tree"),
        (E, F, False, "ends with an error on your tree"),
        (S, F, False, "is skipped on your tree"),
        (M, M, False, "has no test on your tree"),
        (X, F, False, "gives two results on your tree"),
        (
            NO_CONTROL,
            F,
            False,
            "the control probe does not pass on your tree, so nothing else counts",
        ),
    ],
)
def test_live_feature_passes_on_the_tree_and_fails_bare(own, bare, proven, words):
    found = trial(own, bare)
    assert (is_proven(found), sentence(found)) == (proven, words)


@pytest.mark.parametrize(
    ("own", "bare", "proven", "words"),
    [
        (P, P, True, "passes on your tree, and on bare 2, as it must: it is retired"),
        (P, F, False, "passes on your tree, but it is retired and fails on bare 2"),
        (P, None, True, "passes on your tree (bare 2 was not tried)"),
        (F, P, False, "fails on your tree"),
    ],
)
def test_retired_feature_passes_on_both(own, bare, proven, words):
    found = trial(own, bare, applied_upstream="2; as a setting; proven on plain")
    assert (is_proven(found), sentence(found)) == (proven, words)


def test_tree_from_before_a_retirement_is_the_likely_reason():
    found = trial(F, F, applied_upstream="3; as a setting; proven on plain")
    assert (
        sentence(found)
        == "fails on your tree; upstream has it since 3, and your tree is based on 2"
    )


def test_probe_with_a_mutation_can_fail_elsewhere():
    found = trial(P, P, mutation="tests/mutations/trim.patch")
    assert (is_proven(found), sentence(found)) == (
        False,
        "passes on your tree, but bare 2 passes it too: upstream has it",
    )
