"""What a report comes to: one sentence that is an answer, and the next command; a case a row."""

from dataclasses import replace

import pytest

from scripts.core.model import Outcome, Result, State, Verdict
from scripts.report.advice import Advice, advise
from scripts.verdicts.aggregate import NO_TEETH, OptionalChecks, mark_unproven
from scripts.verdicts.decide import UNDECLARED, Facts
from tests.scripts.report.test_terminal import (
    ABSORBED,
    BROKEN,
    CONFIGURABLE,
    FAIL,
    FOLD,
    PASS,
    UNTESTED,
    UNTRIED,
    feature,
    report,
)

NEEDED = Facts(bare=FAIL, series=PASS, without=FAIL)
REDUNDANT = Facts(bare=FAIL, series=PASS, without=PASS)


def live(name, facts=NEEDED, **found):
    return feature(name, UNTRIED, facts, **found)


def old(name, facts=ABSORBED):
    return feature(name, facts, facts, state=State.RETIRED, absorbed_in="1")


@pytest.mark.parametrize(
    ("patches", "expected"),
    [
        (
            [live("a"), live("b"), old("x"), old("y")],
            Advice("Nothing to do: all features are needed on 2; 2 are retired.", "nox -s watch"),
        ),
        (
            [live("a"), old("x")],
            Advice("Nothing to do: all features are needed on 2; 1 is retired.", "nox -s watch"),
        ),
        ([live("a")], Advice("Nothing to do: all features are needed on 2.", "nox -s watch")),
        ([old("x")], Advice("Nothing to do: no feature is live; 1 is retired.", "nox -s watch")),
        (
            [
                live("a"),
                live("b", ABSORBED, absorbed_in="2"),
                live("c", CONFIGURABLE, configurable_since="2", settings=FOLD[1]),
            ],
            Advice(
                "2 features can go on 2: b (absorbed in 2), c (configurable since 2).",
                "nox -s rebase -- 2 --dry-run",
            ),
        ),
        (
            [live("a"), live("b", REDUNDANT)],
            Advice("1 feature can go on 2: b (redundant).", "nox -s status -- --patch b --why"),
        ),
        (
            [live("a", BROKEN), live("b", ABSORBED), live("c", BROKEN)],
            Advice(
                "Somebody must look at 2 features on 2: a (broken), c (broken); 1 feature can go on 2: b (absorbed).",
                "nox -s status -- --patch a --patch c --why",
            ),
        ),
        (
            [live("a"), live("b", UNTESTED), old("x")],
            Advice(
                "Nothing to do that is known: 1 of 2 features are needed on 2; not tried here: b; 1 is retired.",
                "nox -s matrix -- --list",
            ),
        ),
        (
            [live("b", UNTESTED)],
            Advice("Not known: nothing could be run on 2 here.", "nox -s matrix -- --list"),
        ),
    ],
    ids=[
        "needed",
        "one-retired",
        "none-retired",
        "none-live",
        "can-go",
        "redundant",
        "faults",
        "untested",
        "nothing-run",
    ],
)
def test_report_comes_to_a_sentence_and_a_command(patches, expected):
    assert advise(report(*patches)) == expected


def test_many_faults_are_asked_about_together():
    found = advise(report(*(live(name, BROKEN) for name in "abcd")))
    assert found == Advice(
        "Somebody must look at 4 features on 2: a (broken), b (broken), c (broken), d (broken).",
        "nox -s status -- --why",
    )


def test_fault_on_another_release_says_where():
    found = feature("a", NEEDED, NEEDED)
    other = replace(found, releases=(feature("a", BROKEN).releases[0], found.releases[1]))
    text = "Somebody must look at 1 feature on 2: a (broken on 1)."
    asked = replace(report(other), cli_options=("--upstream 1", "--upstream 2"))
    assert advise(asked) == Advice(
        text, "nox -s status -- --upstream 1 --upstream 2 --patch a --why"
    )


def test_upstreams_own_tests_are_somebodys_to_look_at():
    found = replace(
        report(live("a")),
        optional_checks=OptionalChecks(suite_failures=("one", "two")),
        verb="matrix",
    )
    text = (
        "Somebody must look at upstream's own tests: 2 fail with the series that pass without it."
    )
    assert advise(found) == Advice(text, "nox -s matrix -- --suite")


def test_new_release_is_the_next_thing_to_do():
    command = "nox -s rebase -- 3 --dry-run"
    unseen = replace(report(live("a")), newer="3")
    assert advise(unseen) == Advice(
        "3 is released, which is not tried yet; the fork stands on 2.", command
    )
    pinned = replace(
        report(feature("a", UNTRIED, NEEDED, UNTRIED), feature("b", UNTRIED, NEEDED, ABSORBED)),
        newer="3",
    )
    here = replace(
        pinned,
        features=tuple(replace(item, verdict=item.releases[1].verdict) for item in pinned.features),
    )
    assert advise(here) == Advice(
        "3 is released, where 1 feature can go: b; the fork stands on 2.", command
    )
    none = replace(here, features=here.features[:1])
    assert advise(none) == Advice(
        "3 is released, where no feature can go; the fork stands on 2.", command
    )


def test_chosen_patch_gets_its_verdict():
    def of(item):
        return advise(replace(report(item), has_all_features=False))

    why = "nox -s status -- --patch a --why"
    assert of(live("a")) == Advice(
        "a is needed on 2: without it the series fails: test_sum: two is not one", why
    )
    assert of(live("a", ABSORBED, absorbed_in="2")) == Advice(
        "a can go on 2: absorbed in 2.", "nox -s rebase -- 2 --dry-run"
    )
    assert of(old("a")) == Advice("a stays retired on 2: absorbed in 1.", why)
    assert of(live("a", UNTESTED)) == Advice(
        "a is untested on 2: no cell here meets its requirements", why
    )
    assert of(live("a", BROKEN)).text.startswith(
        "a is broken on 2: fails with the series applied: "
    )


def test_evidence_that_is_shown_already_is_followed_by_a_cell_to_run():
    shown = advise(replace(report(live("a")), has_all_features=False), why=True)
    assert shown.command == "nox -s cell -- 2@plain@redis6"


def test_cell_that_is_shown_already_is_followed_by_its_probes_alone():
    at = "2@plain@redis6"
    shown = replace(report(live("a", BROKEN)), verb="cell", cli_options=(f"--cells {at}",))
    assert advise(shown, why=True).command == f"nox -s probe -- a --cell {at}"


def test_probes_that_fail_nowhere_are_to_be_written():
    item = live("a", ABSORBED)
    file = "tests/probes/test_a.py"
    toothless = replace(
        item,
        feature=replace(item.feature, probes=(f"{file}::test_a",)),
        releases=tuple(mark_unproven(item.releases)),
        verdict=Verdict.UNPROVEN,
    )
    for found in (report(toothless), replace(report(toothless), has_all_features=False)):
        advice = advise(found, why=True)
        assert advice.text.endswith(f": {NO_TEETH}") or "a (unproven)" in advice.text
        assert (advice.before, advice.command) == (
            f"assert in {file} what upstream lacks",
            "nox -s probe -- a",
        )
    both = advise(report(toothless, live("b", BROKEN)))
    assert (both.before, both.command) == ("", "nox -s status -- --patch a --patch b --why")


def test_series_that_cannot_be_built_without_a_patch_leads_to_lint():
    words = f"cannot be built: without it b {UNDECLARED}"
    facts = Facts(bare=FAIL, series=PASS, without=Result(Outcome.MISSING, words))
    assert advise(report(live("a", facts)), why=True).command == "nox -s lint"


def test_way_to_an_interpreter_is_the_next_command():
    skipped = {"2@new": "Python 3.99 is not here; get it with `uv python install 3.99`"}
    assert (
        advise(report(live("a"), live("b", UNTESTED), skipped=skipped)).command
        == "uv python install 3.99"
    )


def test_rebase_under_way_and_edits_come_first():
    assert advise(replace(report(live("a")), under_way="a rebase to 3 is under way")) == Advice(
        "A rebase to 3 is under way.", "nox -s rebase -- --continue"
    )
    edited = report(live("a"), warnings=("upstream/src/ was edited; nox -s vendor -- --restore",))
    assert advise(edited).command == "nox -s vendor -- --restore"


def test_nothing_can_stand_on_what_is_not_released():
    found = report(feature("a", UNTRIED, ABSORBED))
    there = replace(
        found,
        answer=replace(found.answer, release="2+git.main.abc"),
        cli_options=("--upstream git:x@main",),
    )
    there = replace(
        there, features=(replace(there.features[0], verdict=there.features[0].releases[1].verdict),)
    )
    assert advise(there).command == "nox -s status -- --upstream git:x@main --patch a --why"
