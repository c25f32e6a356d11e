"""The truth table of verdicts, row by row: what is asked, in which order, and what it comes to."""

import itertools

import pytest

from scripts.core.model import Applies, Cell, Outcome, Result, Verdict
from scripts.verdicts.decide import (
    Column,
    Facts,
    agree_on_settings,
    decide,
    next_column,
    reject_other_tests,
)

PASS = Result(Outcome.PASSED)
FAIL = Result(Outcome.FAILED, "two is not one")
ERROR = Result(Outcome.ERROR, "a fixture raised")
SKIP = Result(Outcome.SKIPPED, "not today")
NOTHING = Result(Outcome.MISSING, "nothing collected from probe.py")
UNBUILT = Result(
    Outcome.MISSING, "cannot be built: without it other no longer applies (an undeclared Depends?)"
)
FLAKY = Result(Outcome.FLAKY, "passed, then failed")
NO_CONTROL = Result(Outcome.PASSED, "failed: no hit", control=False)
FAILED_NO_CONTROL = Result(Outcome.FAILED, "failed: no hit", control=False)
EVERY_RESULT = (PASS, FAIL, ERROR, SKIP, NOTHING, FLAKY, NO_CONTROL, FAILED_NO_CONTROL)

BARE, CONFIGURED, SERIES, WITHOUT, PROFILE = Column


def play(facts, **answers):
    """Answer whatever is asked, and return verdict, words and the columns asked; an unexpected question fails."""
    left = {
        Column(name): list(given) if isinstance(given, tuple) else [given]
        for name, given in answers.items()
    }
    asked = []
    while (column := next_column(facts)) is not None:
        asked.append(column)
        assert left.get(column), f"{column} was asked after {asked[:-1]}"
        facts = facts.with_result(column, left[column].pop(0))
    assert not any(left.values()), f"never asked: {left}"
    return *decide(facts), asked


# The table's rows


def test_absorbed_where_bare_passes():
    assert play(Facts(alternatives=2), bare=PASS) == (
        Verdict.ABSORBED,
        "bare upstream passes",
        [BARE],
    )


def test_configurable_where_bare_passes_with_settings():
    asked = [BARE, CONFIGURED]
    expected = (Verdict.CONFIGURABLE, "bare upstream passes with settings", asked)
    assert play(Facts(alternatives=2), bare=FAIL, configured=PASS) == expected


def test_configurable_by_the_second_alternative():
    facts = (
        Facts(alternatives=2)
        .with_result(BARE, FAIL)
        .with_result(CONFIGURED, FAIL)
        .with_result(CONFIGURED, PASS)
    )
    assert (decide(facts)[0], facts.passing_alternative) == (Verdict.CONFIGURABLE, 1)


def test_configurable_by_the_second_alternative_although_the_first_is_an_error():
    verdict, _, asked = play(Facts(alternatives=2), bare=FAIL, configured=(ERROR, PASS))
    assert (verdict, asked) == (Verdict.CONFIGURABLE, [BARE, CONFIGURED, CONFIGURED])


def test_needed_where_only_the_series_with_the_patch_passes():
    expected = (Verdict.NEEDED, "bare upstream fails: two is not one", [BARE, SERIES, WITHOUT])
    assert play(Facts(), bare=FAIL, series=PASS, without=FAIL) == expected


def test_needed_where_no_alternative_helps():
    asked = [BARE, CONFIGURED, CONFIGURED, SERIES, WITHOUT]
    found = play(
        Facts(alternatives=2), bare=FAIL, configured=(FAIL, FAIL), series=PASS, without=FAIL
    )
    assert found == (Verdict.NEEDED, "bare upstream fails: two is not one", asked)


def test_redundant_where_the_series_passes_without_it():
    expected = (
        Verdict.REDUNDANT,
        "the series passes without its patch: another patch covers it",
        [BARE, SERIES, WITHOUT],
    )
    assert play(Facts(), bare=FAIL, series=PASS, without=PASS) == expected


def test_broken_where_it_fails_with_the_series():
    found = play(Facts(), bare=FAIL, series=FAIL)
    assert found == (
        Verdict.BROKEN,
        "fails with the series applied: two is not one",
        [BARE, SERIES],
    )


def test_conflict_where_it_does_not_apply():
    facts = Facts(applies=Applies.CONFLICT, applies_detail="api.py: line 3 (hunks @@ -1,2 +1,2 @@)")
    assert play(facts, bare=FAIL) == (
        Verdict.CONFLICT,
        "api.py: line 3 (hunks @@ -1,2 +1,2 @@)",
        [BARE],
    )


def test_absorbed_and_configurable_win_over_a_conflict():
    facts = Facts(alternatives=1, applies=Applies.CONFLICT, applies_detail="api.py: line 3")
    assert play(facts, bare=PASS)[0] is Verdict.ABSORBED
    assert play(facts, bare=FAIL, configured=PASS)[0] is Verdict.CONFIGURABLE


@pytest.mark.parametrize(
    "applies", [Applies.CLEAN, Applies.OFFSET, Applies.THREE_WAY, Applies.NO_HUNKS]
)
def test_how_it_applies_does_not_change_the_verdict(applies):
    assert play(Facts(applies=applies), bare=FAIL, series=PASS, without=FAIL)[0] is Verdict.NEEDED


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (ERROR, "an error in the {} column: a fixture raised"),
        (SKIP, "a skip in the {} column: not today"),
        (NOTHING, "no usable result in the {} column: nothing collected from probe.py"),
        (
            UNBUILT,
            "no usable result in the {} column: cannot be built: without it other no longer applies (an undeclared Depends?)",
        ),
        (FLAKY, "flaky: two runs of the {} column differ: passed, then failed"),
    ],
    ids=["error", "skip", "nothing-collected", "not-built", "flaky"],
)
@pytest.mark.parametrize(
    ("column", "before"),
    [
        (BARE, {}),
        (CONFIGURED, {"bare": FAIL}),
        (SERIES, {"bare": FAIL, "configured": FAIL}),
        (WITHOUT, {"bare": FAIL, "configured": FAIL, "series": PASS}),
    ],
    ids=str,
)
def test_unproven_names_the_column_that_says_nothing(column, before, result, words):
    found = play(Facts(alternatives=1), **before, **{column.value: result})
    assert found == (Verdict.UNPROVEN, words.format(column.value), [*map(Column, before), column])


# The control probe


UNSUPPORTED = "the control probe does not pass on the bare release: failed: no hit"
OTHERS = {
    "retired": Facts(alternatives=1, retired=True, try_profile=True),
    "other release": Facts(try_series=False),
    "quiet mode": Facts(try_without=False),
    "conflict": Facts(applies=Applies.CONFLICT),
}


@pytest.mark.parametrize("result", [NO_CONTROL, FAILED_NO_CONTROL])
@pytest.mark.parametrize("facts", OTHERS.values(), ids=OTHERS)
def test_unsupported_where_the_control_probe_does_not_pass_on_bare(result, facts):
    assert play(facts, bare=result) == (Verdict.UNSUPPORTED, UNSUPPORTED, [BARE])


@pytest.mark.parametrize(
    ("series", "words"),
    [
        (PASS, "; the series passes here"),
        (FAIL, "; with the series: failed: two is not one"),
        (SKIP, "; with the series: skipped: not today"),
        (NO_CONTROL, "; with the series: passed: the control probe does not pass: failed: no hit"),
    ],
)
def test_unsupported_says_what_the_series_does_there(series, words):
    assert play(Facts(alternatives=1), bare=NO_CONTROL, series=series) == (
        Verdict.UNSUPPORTED,
        UNSUPPORTED + words,
        [BARE, SERIES],
    )


def test_settings_that_break_the_control_probe_replace_nothing():
    verdict, words, asked = play(
        Facts(alternatives=1), bare=FAIL, configured=NO_CONTROL, series=PASS, without=FAIL
    )
    assert (verdict, asked) == (Verdict.NEEDED, [BARE, CONFIGURED, SERIES, WITHOUT])
    assert words == (
        "bare upstream fails: two is not one; "
        "under a Replaced-By the control probe does not pass, so it replaces nothing: failed: no hit"
    )


def test_broken_where_the_series_breaks_the_control_probe():
    found = play(Facts(), bare=FAIL, series=NO_CONTROL)
    expected = "fails with the series applied: the control probe does not pass: failed: no hit"
    assert found == (Verdict.BROKEN, expected, [BARE, SERIES])


def test_needed_where_the_control_probe_fails_without_the_patch():
    assert play(Facts(), bare=FAIL, series=PASS, without=NO_CONTROL)[0] is Verdict.NEEDED


# A release on which the series is not tried


def test_needed_says_that_the_series_is_untried():
    found = play(Facts(try_series=False), bare=FAIL)
    assert found == (Verdict.NEEDED, "bare upstream fails: two is not one (series untried)", [BARE])


def test_a_conflict_is_not_asked_for_where_the_series_is_untried():
    facts = Facts(try_series=False, applies=Applies.CONFLICT, applies_detail="api.py: line 3")
    assert play(facts, bare=FAIL)[0] is Verdict.NEEDED


def test_settings_are_tried_where_the_series_is_not():
    assert (
        play(Facts(alternatives=1, try_series=False), bare=FAIL, configured=PASS)[0]
        is Verdict.CONFIGURABLE
    )


def test_untested_where_no_cell_meets_its_needs():
    assert decide(Facts(try_series=False)) == (
        Verdict.UNTESTED,
        "no cell here meets its requirements",
    )


# Retired patches: `try_series` on their base, `try_profile` on the locked release


def test_retired_on_its_base_works_as_it_did():
    found = play(Facts(retired=True), bare=FAIL, series=PASS)
    words = "bare upstream fails: two is not one (its patch passes here, on its base)"
    assert found == (Verdict.NEEDED, words, [BARE, SERIES])


def test_retired_is_broken_where_it_fails_on_its_base():
    found = play(Facts(retired=True), bare=FAIL, series=FAIL)
    assert found == (Verdict.BROKEN, "fails on its base: two is not one", [BARE, SERIES])


def test_retired_is_broken_where_it_fails_on_its_base_although_bare_passes():
    assert play(Facts(retired=True), bare=PASS, series=FAIL)[0] is Verdict.BROKEN


def test_retired_is_broken_where_it_breaks_the_control_probe_of_its_base():
    found = play(Facts(retired=True), bare=FAIL, series=NO_CONTROL)
    assert found == (
        Verdict.BROKEN,
        "fails on its base: the control probe does not pass: failed: no hit",
        [BARE, SERIES],
    )


def test_retired_is_broken_where_it_does_not_apply_on_its_base():
    facts = Facts(retired=True, applies=Applies.CONFLICT, applies_detail="api.py: line 3")
    assert play(facts, bare=FAIL) == (
        Verdict.BROKEN,
        "does not apply on its base: api.py: line 3",
        [BARE],
    )


def test_retired_regressed_where_bare_under_the_profile_fails():
    facts = Facts(retired=True, try_series=False, try_profile=True)
    words = "bare upstream under the profile no longer has the feature: two is not one"
    assert play(facts, bare=FAIL, profile=FAIL) == (Verdict.REGRESSED, words, [BARE, PROFILE])


def test_retired_regressed_where_the_profile_breaks_the_control_probe():
    facts = Facts(retired=True, try_series=False, try_profile=True)
    assert play(facts, bare=PASS, profile=NO_CONTROL)[0] is Verdict.REGRESSED


def test_retired_configurable_where_bare_under_the_profile_passes():
    facts = Facts(retired=True, try_series=False, try_profile=True)
    expected = (Verdict.CONFIGURABLE, "bare upstream passes under the profile", [BARE, PROFILE])
    assert play(facts, bare=FAIL, profile=PASS) == expected


def test_retired_absorbed_where_bare_passes():
    facts = Facts(retired=True, try_series=False, try_profile=True)
    assert play(facts, bare=PASS, profile=PASS) == (
        Verdict.ABSORBED,
        "bare upstream passes",
        [BARE, PROFILE],
    )


@pytest.mark.parametrize("result", [ERROR, SKIP, NOTHING, FLAKY])
def test_retired_unproven_where_a_column_says_nothing(result):
    locked = Facts(retired=True, try_series=False, try_profile=True)
    assert play(locked, bare=PASS, profile=result)[0] is Verdict.UNPROVEN
    assert play(Facts(retired=True), bare=FAIL, series=result)[0] is Verdict.UNPROVEN


def test_retired_needed_where_neither_base_nor_locked_release_is_meant():
    facts = Facts(retired=True, try_series=False)
    assert play(facts, bare=FAIL)[0] is Verdict.NEEDED


# A passing column must have run the tests of the bare one


@pytest.mark.parametrize("column", [CONFIGURED, SERIES, WITHOUT, PROFILE], ids=str)
def test_a_column_that_ran_other_tests_says_nothing(column):
    facts = (
        Facts(alternatives=1)
        .with_result(BARE, Result(Outcome.FAILED, tests=("a", "b")))
        .with_result(column, Result(Outcome.PASSED, tests=("a",)))
    )
    checked = reject_other_tests(facts)
    result = checked.configured[0] if column is CONFIGURED else getattr(checked, column.value)
    assert result == Result(
        Outcome.MISSING, "it collected other tests than the bare column", tests=("a",)
    )


def test_columns_that_ran_the_same_tests_stay():
    facts = (
        Facts()
        .with_result(BARE, Result(Outcome.FAILED, tests=("a",)))
        .with_result(SERIES, Result(Outcome.PASSED, tests=("a",)))
    )
    assert reject_other_tests(facts) == facts


# Whatever the facts


EVERY_START = [
    Facts(
        alternatives=alternatives,
        try_series=series,
        try_profile=profile,
        retired=retired,
        applies=applies,
        applies_detail="api.py: line 3",
    )
    for alternatives, series, profile, retired, applies in itertools.product(
        (0, 1, 2), (True, False), (True, False), (True, False), (Applies.CLEAN, Applies.CONFLICT)
    )
    if retired or not profile
]


def named(facts):
    """Name a start in a test's id."""
    words = [
        "retired" if facts.retired else "live",
        f"{facts.alternatives}-settings",
        facts.applies,
    ]
    return "-".join(
        [*words, *(name for name in ("try_series", "try_profile") if getattr(facts, name))]
    )


def every_end(facts):
    """List the facts at every end that answers can lead to; a question without end would not return."""
    column = next_column(facts)
    if column is None:
        return [facts]
    return [end for result in EVERY_RESULT for end in every_end(facts.with_result(column, result))]


@pytest.mark.parametrize("start", EVERY_START, ids=named)
def test_every_way_ends_in_a_verdict_with_words(start):
    for end in every_end(start):
        verdict, words = decide(end)
        assert isinstance(verdict, Verdict)
        assert words
        assert verdict is not Verdict.UNTESTED, end
        assert "was not run" not in words, end


@pytest.mark.parametrize("start", EVERY_START, ids=named)
def test_no_column_is_asked_for_that_cannot_change_the_verdict(start):
    """Where bare upstream does not run, the words change: they say what the series does."""

    def check(facts):
        column = next_column(facts)
        if column is None:
            verdict, words = decide(facts)
            return {words if verdict is Verdict.UNSUPPORTED else verdict}
        found = set().union(*(check(facts.with_result(column, result)) for result in EVERY_RESULT))
        assert len(found) > 1, f"{column} cannot change {found}: {facts}"
        return found

    check(start)


@pytest.mark.parametrize("start", EVERY_START, ids=named)
def test_no_verdict_is_better_than_its_evidence(start):
    for end in every_end(start):
        verdict, _ = decide(end)
        if verdict is Verdict.ABSORBED:
            assert end.bare.passed
        if verdict is Verdict.CONFIGURABLE:
            assert end.passing_alternative is not None or (end.retired and end.profile.passed)
        if verdict is Verdict.REDUNDANT:
            assert end.series.passed
            assert end.without.passed
        if verdict is Verdict.NEEDED:
            assert end.bare.is_conclusive
            assert not end.bare.passed


# Settings over the cells of a release


def play_together(outcomes, alternatives=2, quiet=()):
    """Run what is asked in several cells, which answer by column; return each cell's verdict, words and columns."""
    facts = {
        ("feature", Cell("1", name, None)): Facts(alternatives=alternatives) for name in outcomes
    }
    asked = {key: [] for key in facts}

    def answer(key, column):
        given = outcomes[key[1].environment][column.value]
        return given[asked[key].count(CONFIGURED)] if column is CONFIGURED else given

    while True:
        facts = agree_on_settings(facts, lambda cell: cell.environment not in quiet)
        columns = {key: column for key, known in facts.items() if (column := next_column(known))}
        if not columns:
            return {
                key[1].environment: (*decide(known), asked[key]) for key, known in facts.items()
            }
        for key, column in columns.items():
            facts[key] = facts[key].with_result(column, answer(key, column))
            asked[key].append(column)


def test_settings_that_fail_in_one_cell_count_in_none():
    found = play_together(
        {
            "old": {"bare": FAIL, "configured": (PASS, PASS)},
            "new": {"bare": FAIL, "configured": (FAIL, PASS)},
        }
    )
    configurable = (Verdict.CONFIGURABLE, "bare upstream passes with settings")
    assert found == {name: (*configurable, [BARE, CONFIGURED, CONFIGURED]) for name in found}


def test_settings_that_pass_in_one_cell_each_replace_nothing():
    found = play_together(
        {
            "old": {"bare": FAIL, "configured": (PASS, FAIL), "series": PASS, "without": FAIL},
            "new": {"bare": FAIL, "configured": (FAIL, PASS)},
        }
    )
    assert found["old"] == (
        Verdict.NEEDED,
        (
            "bare upstream fails: two is not one; "
            "a Replaced-By passes here, but fails in another cell, so it replaces nothing"
        ),
        [BARE, CONFIGURED, CONFIGURED, SERIES, WITHOUT],
    )
    assert found["new"][0] is Verdict.CONFIGURABLE, "the worst verdict counts for the release"


def test_settings_are_tried_where_bare_upstream_passes_if_another_cell_needs_them():
    found = play_together(
        {
            "old": {"bare": FAIL, "configured": (PASS, PASS)},
            "new": {"bare": PASS, "configured": (FAIL, PASS)},
        }
    )
    assert found["old"][2] == [BARE, CONFIGURED, CONFIGURED]
    assert found["new"] == (
        Verdict.ABSORBED,
        "bare upstream passes",
        [BARE, CONFIGURED, CONFIGURED],
    )


def test_settings_are_not_tried_for_what_is_needed_or_absorbed_anyway():
    found = play_together(
        {
            "old": {"bare": FAIL, "configured": (FAIL, FAIL), "series": PASS, "without": FAIL},
            "new": {"bare": PASS},
            "newer": {"bare": FAIL, "configured": (PASS,)},
        }
    )
    assert [(verdict, len(asked)) for verdict, _, asked in found.values()] == [
        (Verdict.NEEDED, 5),
        (Verdict.ABSORBED, 1),
        (Verdict.CONFIGURABLE, 2),
    ]
    assert play_together({"old": {"bare": PASS}, "new": {"bare": PASS}})["old"][2] == [BARE]


def test_cell_that_does_not_count_rejects_no_settings():
    found = play_together(
        {
            "old": {"bare": FAIL, "configured": (PASS,)},
            "quiet": {"bare": FAIL, "configured": (FAIL, PASS)},
        },
        quiet=("quiet",),
    )
    assert found["old"][2] == [BARE, CONFIGURED]
