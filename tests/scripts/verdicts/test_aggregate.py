"""What cells say together: over a release, over all releases, and for the whole fork."""

from dataclasses import replace

import pytest

from scripts.core.model import (
    Applies,
    Cell,
    Outcome,
    Result,
    Settings,
    State,
    TextPresence,
    Verdict,
    worst,
)
from scripts.verdicts.aggregate import (
    NO_COMMON_SETTINGS,
    NO_TEETH,
    CellReport,
    FeatureReport,
    Report,
    answer,
    cell_report,
    combine_cells,
    common_settings,
    has_teeth,
    mark_not_needed,
    mark_unproven,
    mark_without_common_settings,
)
from scripts.verdicts.decide import Facts
from scripts.verdicts.spans import good_since
from tests.support.sample_features import feature

PASS = Result(Outcome.PASSED)
FAIL = Result(Outcome.FAILED, "two is not one")
BARE = {
    Verdict.ABSORBED: PASS,
    Verdict.UNPROVEN: Result(Outcome.ERROR),
    Verdict.UNSUPPORTED: Result(Outcome.PASSED, control=False),
    Verdict.UNTESTED: None,
}
GOOD = frozenset({Verdict.ABSORBED})
N, A, U, C = Verdict.NEEDED, Verdict.ABSORBED, Verdict.UNTESTED, Verdict.CONFIGURABLE


def cell(verdict, environment="plain", release="1", **facts):
    """Return a patch on a cell that came to a verdict."""
    bare = BARE.get(verdict, FAIL)
    return CellReport(
        Cell(release, environment, None),
        Facts(bare=bare, **facts),
        verdict,
        f"{verdict} in {environment}",
    )


def release(number, **verdicts):
    """Return a patch on a release by the verdict of each environment."""
    cells = [cell(verdict, environment, number) for environment, verdict in verdicts.items()]
    return combine_cells(number, cells, Applies.UNTRIED, TextPresence.UNKNOWN)


def releases(*verdicts):
    """Return a patch on releases 1, 2, 3 ... of one environment."""
    return [release(str(number), plain=verdict) for number, verdict in enumerate(verdicts, 1)]


def report(name, verdict, state=State.ACTIVE, settings=None, at=()):
    """Return what was found of a patch."""
    return FeatureReport(feature(name, state), verdict, tuple(at), settings=settings)


# Over a release's cells


def test_worst_verdict_counts():
    order = [
        "regressed",
        "broken",
        "conflict",
        "unproven",
        "needed",
        "redundant",
        "configurable",
        "absorbed",
    ]
    verdicts = [Verdict(name) for name in order]
    for number, verdict in enumerate(verdicts):
        assert worst(verdicts[number:]) is verdict
        assert (
            release("1", **{other.name: other for other in reversed(verdicts[number:])}).verdict
            is verdict
        )


@pytest.mark.parametrize("nothing", [Verdict.UNTESTED, Verdict.UNSUPPORTED])
def test_cell_that_says_nothing_does_not_count_beside_one_that_does(nothing):
    assert release("1", old=nothing, new=Verdict.ABSORBED).verdict is Verdict.ABSORBED


def test_release_without_a_counting_cell():
    assert release("1", old=Verdict.UNTESTED).verdict is Verdict.UNTESTED
    assert (
        release("1", old=Verdict.UNTESTED, new=Verdict.UNSUPPORTED).verdict is Verdict.UNSUPPORTED
    )
    assert release("1").verdict is Verdict.UNTESTED


def test_difference_between_cells_is_shown():
    found = release("1", old=A, new=N, newer=N, none=U)
    assert found.difference == "needed on new, newer alone"
    assert found.detail == "needed in new"


def test_cells_that_agree_show_no_difference():
    assert release("1", old=N, new=N, none=U).difference == ""
    assert release("1", old=U, new=Verdict.UNSUPPORTED).difference == ""


def test_cell_is_judged_by_the_tests_that_its_bare_column_ran():
    bare = Result(Outcome.FAILED, tests=("a", "b"))
    facts = Facts(
        bare=bare,
        series=Result(Outcome.PASSED, tests=("a",)),
        without=Result(Outcome.FAILED, tests=("a", "b")),
    )
    found = cell_report(Cell("1", "plain", None), facts)
    words = "no usable result in the series column: it collected other tests than the bare column"
    assert (found.verdict, found.detail) == (Verdict.UNPROVEN, words)


# Since when


def test_absorbed_in_the_first_release_after_the_last_that_fails():
    assert good_since(releases(N, N, A, A), GOOD) == ("3", "")
    assert good_since(releases(N, A, N, A), GOOD) == ("4", "")


def test_never_absorbed():
    assert good_since(releases(N, N), GOOD) == (None, "")
    assert good_since(releases(A, N), GOOD) == (None, "")
    assert good_since([], GOOD) == (None, "")


def test_always_absorbed_has_no_release_that_absorbed_it():
    assert good_since(releases(A, A), GOOD) == (None, "")


def test_release_that_was_not_tested_does_not_count():
    assert good_since(releases(N, U, A), GOOD)[0] == "3"
    assert good_since(releases(N, A, U), GOOD)[0] == "2"
    assert good_since(releases(U, A, A), GOOD) == (None, "")


@pytest.mark.parametrize(
    "bad",
    [
        Verdict.UNPROVEN,
        Verdict.REDUNDANT,
        Verdict.CONFLICT,
        Verdict.BROKEN,
        Verdict.CONFIGURABLE,
        Verdict.NOT_NEEDED,
    ],
)
def test_release_that_is_anything_else_is_not_absorbed(bad):
    assert good_since(releases(N, A, bad, A), GOOD)[0] == "4"


def test_configurable_counts_as_good_where_asked_for():
    both = frozenset({A, C})
    assert good_since(releases(N, C, C, A), both) == ("2", "")
    assert good_since(releases(N, C, C, A), GOOD) == ("4", "")


def test_change_is_confirmed_in_an_environment_that_runs_both_releases():
    found = [release("1", old=N), release("2", old=A, new=A), release("3", new=A)]
    assert good_since(found, GOOD) == ("2", "")


def test_change_of_the_environment_is_not_taken_for_upstreams():
    found = [release("1", old=A, new=N), release("2", old=A)]
    assert good_since(found, GOOD) == (
        None,
        "the change between 1 and 2 is the environment's, not upstream's",
    )


def test_change_that_no_environment_confirms_says_so():
    found = [release("1", old=N), release("2", new=A)]
    assert good_since(found, GOOD) == (
        "2",
        "the change at 2 is not confirmed: no environment runs it and 1",
    )


def test_environment_that_says_nothing_confirms_nothing():
    found = [release("1", old=N, new=U), release("2", old=U, new=A)]
    assert (
        good_since(found, GOOD)[1]
        == "the change at 2 is not confirmed: no environment runs it and 1"
    )


def test_server_is_part_of_the_environment_that_confirms():
    def on(server, number, verdict):
        return CellReport(
            Cell(number, "plain", server), Facts(bare=BARE.get(verdict, FAIL)), verdict, ""
        )

    first = combine_cells("1", [on("old", "1", N)], Applies.UNTRIED, TextPresence.UNKNOWN)
    second = combine_cells("2", [on("new", "2", A)], Applies.UNTRIED, TextPresence.UNKNOWN)
    assert good_since([first, second], GOOD) == (
        "2",
        "the change at 2 is not confirmed: no environment runs it and 1",
    )


# Not needed


def verdicts(found):
    """Return the verdicts of releases, and of their cells."""
    return [at.verdict for at in found], [[one.verdict for one in at.cells] for at in found]


def test_release_older_than_the_first_that_fails_does_not_need_the_patch():
    expected = [Verdict.NOT_NEEDED, Verdict.NOT_NEEDED, N, A]
    assert verdicts(mark_not_needed(releases(A, A, N, A))) == (
        expected,
        [[verdict] for verdict in expected],
    )


def test_untested_release_stays_untested_before_the_first_that_fails():
    assert verdicts(mark_not_needed(releases(U, A, N)))[0] == [U, Verdict.NOT_NEEDED, N]


def test_absorbed_everywhere_stays_absorbed():
    assert verdicts(mark_not_needed(releases(A, A)))[0] == [A, A]


def test_only_cells_that_pass_are_not_needed():
    found = mark_not_needed([release("1", old=A, new=U), release("2", old=N)])
    assert verdicts(found) == ([Verdict.NOT_NEEDED, N], [[Verdict.NOT_NEEDED, U], [N]])


# Teeth


def test_probe_that_fails_on_some_bare_tree_has_teeth():
    assert has_teeth(releases(A, N, A))


@pytest.mark.parametrize("verdict", [A, U, Verdict.UNPROVEN, Verdict.UNSUPPORTED])
def test_probe_that_never_fails_has_no_teeth(verdict):
    assert not has_teeth(releases(A, verdict))


def test_failure_in_a_mode_that_decides_nothing_gives_no_teeth():
    quiet = replace(cell(N), is_gating=False)
    assert not has_teeth(
        [combine_cells("1", [cell(A), quiet], Applies.UNTRIED, TextPresence.UNKNOWN)]
    )


def test_failure_beside_a_broken_control_probe_gives_no_teeth():
    broken = Facts(bare=Result(Outcome.FAILED, control=False))
    at = CellReport(Cell("1", "plain", None), broken, Verdict.UNSUPPORTED, "")
    assert not has_teeth([combine_cells("1", [at], Applies.UNTRIED, TextPresence.UNKNOWN)])


def test_what_a_toothless_probe_seems_to_show_is_unproven():
    found = mark_unproven(
        [release("1", old=A, new=U), release("2", old=Verdict.BROKEN, new=Verdict.UNSUPPORTED)]
    )
    assert verdicts(found) == (
        [Verdict.UNPROVEN, Verdict.BROKEN],
        [[Verdict.UNPROVEN, U], [Verdict.BROKEN, Verdict.UNSUPPORTED]],
    )
    assert found[0].detail == NO_TEETH


# Settings


def configured(*results):
    """Return facts of a patch that some `Replaced-By` replaces."""
    return {"configured": results}


ASKED = feature("p", replaced_by=(Settings.of({"A": 1}), Settings.of({"B": 2})))


def together(*cells):
    """Return a patch on release 1, over these cells."""
    return combine_cells("1", cells, Applies.UNTRIED, TextPresence.UNKNOWN)


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ((PASS,), (PASS,), {"A": 1}),
        ((FAIL, PASS), (FAIL, PASS), {"B": 2}),
        ((PASS, PASS), (FAIL, PASS), {"B": 2}),
        ((PASS,), (FAIL, PASS), None),
        ((PASS, FAIL), (FAIL, PASS), None),
    ],
    ids=["first", "second", "second-in-both", "second-not-run", "none-in-both"],
)
def test_settings_are_those_that_were_seen_to_pass_in_every_cell(old, new, wanted):
    at = together(cell(C, "old", configured=old), cell(C, "new", configured=new))
    assert common_settings(at, ASKED) == (Settings.of(wanted) if wanted else None)


def test_settings_must_pass_also_where_bare_upstream_does():
    configurable = cell(C, "old", configured=(PASS,))
    assert common_settings(together(configurable, cell(A, "new")), ASKED) is None
    tried = cell(A, "new", configured=(PASS,))
    assert common_settings(together(configurable, tried), ASKED) == Settings.of({"A": 1})


def test_cells_that_do_not_count_have_no_say_in_the_settings():
    quiet = replace(cell(C, "quiet", configured=(FAIL, PASS)), is_gating=False)
    at = together(cell(C, "old", configured=(PASS,)), cell(U, "none"), quiet)
    assert common_settings(at, ASKED) == Settings.of({"A": 1})


def test_cells_without_common_settings_prove_nothing():
    apart = together(
        cell(C, "old", configured=(PASS,)), cell(C, "new", configured=(FAIL, PASS)), cell(A, "bare")
    )
    alike = together(cell(C, "old", configured=(PASS,)), cell(C, "new", configured=(PASS,)))
    found = mark_without_common_settings([apart, alike, release("2", old=N)], ASKED)
    assert verdicts(found) == (
        [Verdict.UNPROVEN, C, N],
        [[Verdict.UNPROVEN, Verdict.UNPROVEN, A], [C, C], [N]],
    )
    assert found[0].detail == NO_COMMON_SETTINGS


def test_no_settings_where_the_patch_is_not_configurable():
    asked = feature("p", replaced_by=(Settings.of({"A": 1}),))
    assert common_settings(release("1", old=N), asked) is None
    assert common_settings(None, asked) is None
    both = combine_cells(
        "1",
        [cell(C, "old", configured=(PASS,)), cell(N, "new")],
        Applies.UNTRIED,
        TextPresence.UNKNOWN,
    )
    assert common_settings(both, asked) is None


# The answer


def ask(*reports, profile=None, **words):
    """Return whether bare upstream is enough, and the sentence."""
    found = answer("tally", "2.0", reports, Settings.of(profile or {}), **words)
    return found.bare_is_enough, found.text


def test_bare_upstream_is_enough_without_patches():
    assert ask() == (True, "Yes: bare tally 2.0 is enough.")


def test_bare_upstream_is_enough_where_everything_is_absorbed():
    assert ask(report("a", A), report("b", Verdict.NOT_NEEDED)) == (
        True,
        "Yes: bare tally 2.0 is enough.",
    )


def test_bare_upstream_is_enough_with_settings():
    found = report("a", C, settings=Settings.of({"FOLD": True}))
    expected = (True, "Yes: bare tally 2.0 is enough with FOLD=True; LONG=9.")
    assert ask(found, report("b", A), profile={"LONG": 9}) == expected


@pytest.mark.parametrize(
    "verdict", [N, Verdict.REDUNDANT, Verdict.BROKEN, Verdict.CONFLICT, Verdict.UNPROVEN]
)
def test_patch_stands_in_the_way(verdict):
    found = ask(report("a", A), report("b", verdict))
    assert found == (False, "No: bare tally 2.0 is not enough; 1 feature stands in the way: b.")


def test_patches_stand_in_the_way_and_others_are_untested():
    found = answer("tally", "2.0", [report("a", N), report("b", U), report("c", N)], Settings())
    assert (found.bare_is_enough, found.in_the_way) == (False, ("a", "c"))
    assert (
        found.text
        == "No: bare tally 2.0 is not enough; 2 features stand in the way: a, c. Untested here: b."
    )


@pytest.mark.parametrize("verdict", [U, Verdict.UNSUPPORTED])
def test_untested_patch_leaves_the_answer_open(verdict):
    words = "Not known: bare tally 2.0 does all that was tried, but b could not be tested here."
    assert ask(report("a", A), report("b", verdict)) == (False, words)


def test_nothing_run_is_no_answer():
    expected = (False, "Not known: nothing could be run on tally 2.0 here.")
    assert ask(report("a", Verdict.UNSUPPORTED), report("b", U, State.RETIRED)) == expected


@pytest.mark.parametrize(
    ("verdict", "enough"),
    [(Verdict.REGRESSED, False), (Verdict.BROKEN, False), (A, True), (C, True), (U, True)],
)
def test_retired_patch_stands_in_the_way_only_where_it_failed(verdict, enough):
    assert ask(report("a", A), report("b", verdict, State.RETIRED))[0] is enough


# What follows for the exit code


def whole(*reports, warnings=()):
    """Return a report on a fork."""
    return Report(
        "tally", "2", ("1", "2"), reports, answer("tally", "2", reports, Settings()), (), warnings
    )


@pytest.mark.parametrize("verdict", list(Verdict))
def test_somebody_must_look_at_faults_alone(verdict):
    faults = {Verdict.REGRESSED, Verdict.BROKEN, Verdict.CONFLICT, Verdict.UNPROVEN}
    assert whole(report("a", A), report("b", verdict)).needs_attention is (verdict in faults)


def test_somebody_must_look_at_a_warning():
    assert whole(report("a", A), warnings=("edited",)).needs_attention


@pytest.mark.parametrize("verdict", list(Verdict))
def test_live_patch_can_be_dropped_where_upstream_settings_or_another_patch_do_it(verdict):
    found = verdict in {A, C, Verdict.NOT_NEEDED, Verdict.REDUNDANT}
    assert whole(report("a", verdict)).can_drop_or_refresh is found
    assert not whole(report("a", verdict, State.RETIRED)).can_drop_or_refresh


@pytest.mark.parametrize(
    ("applies", "moved"),
    [
        (Applies.CLEAN, False),
        (Applies.NO_HUNKS, False),
        (Applies.OFFSET, True),
        (Applies.THREE_WAY, True),
    ],
)
def test_patch_that_moved_wants_a_refresh(applies, moved):
    at = combine_cells("2", [cell(N)], applies, TextPresence.ABSENT)
    assert whole(report("a", N, at=[at])).can_drop_or_refresh is moved


def test_summary_counts_patches_by_verdict_worst_first():
    found = whole(
        report("a", A), report("b", N), report("c", A), report("d", Verdict.BROKEN)
    ).summary
    assert list(found.items()) == [("broken", 1), ("needed", 1), ("absorbed", 2)]


def test_somebody_must_look_at_a_fault_on_any_release_on_which_the_series_was_tried():
    def on(number, verdict, *, tried):
        at = cell(verdict, release=number, try_series=tried)
        return combine_cells(number, [at], Applies.UNTRIED, TextPresence.UNKNOWN)

    assert whole(
        report("a", N, at=[on("1", Verdict.CONFLICT, tried=True), on("2", N, tried=True)])
    ).needs_attention
    assert not whole(
        report("a", N, at=[on("1", Verdict.UNPROVEN, tried=False), on("2", N, tried=True)])
    ).needs_attention
