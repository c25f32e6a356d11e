"""Each verdict of the table, from a patch and an upstream that deserve it."""

import pytest


def columns(cell):
    """Return a cell's columns in the order of the table."""
    return [cell[name] for name in ("bare", "configured", "series", "without")]


def test_needed_patch_in_an_orderly_fork(fork):
    done = fork.status()
    assert done.code == 0, done.stderr
    assert done.verdicts == {
        "trim-headings": "needed",
        "count-hits": "absorbed",
        "fold-names": "configurable",
    }
    assert columns(done.cell("trim-headings")) == ["failed", None, "passed", "failed"]
    assert done.features["trim-headings"]["releases"]["2.0"]["applies"] == "clean"
    assert done.features["count-hits"]["absorbed_in"] == "2.0"
    assert done.features["fold-names"]["configurable_since"] == "2.0"
    assert done.report["answer"] == {
        "release": "2.0",
        "bare_is_enough": False,
        "settings": {"FOLD": True},
        "in_the_way": ["trim-headings"],
        "text": "No: bare made-up-larder 2.0 is not enough; 1 feature stands in the way: trim-headings.",
    }


def test_report_has_the_keys_that_programs_read(fork):
    report = fork.status().report
    assert list(report) == [
        "schema",
        "upstream",
        "answer",
        "patches",
        "features",
        "smallest_series",
        "summary",
    ]
    assert report["patches"][0] == {
        "id": "trim-headings",
        "title": "Trim headings",
        "state": "active",
        "features": ["trim-headings"],
        "lines": 5,
        "applies": "clean",
        "forwarded": None,
    }
    assert report["upstream"] == {
        "name": "made-up-larder",
        "locked": "2.0",
        "releases": ["1.0", "1.1", "2.0"],
    }
    assert report["smallest_series"] == ["trim-headings"]
    assert report["summary"] == {"needed": 1, "configurable": 1, "absorbed": 1}
    feature = report["features"][0]
    assert {name: feature[name] for name in feature if name != "releases"} == {
        "id": "trim-headings",
        "patch": "trim-headings",
        "title": "Trim headings",
        "state": "active",
        "verdict": "needed",
        "absorbed_in": None,
        "configurable_since": None,
        "settings": None,
    }
    assert feature["releases"]["1.0"] == {
        "verdict": "needed",
        "applies": "untried",
        "text": "absent",
        "cells": {
            "1.0@plain": {
                "bare": "failed",
                "configured": None,
                "series": None,
                "without": None,
                "verdict": "needed",
                "detail": "bare upstream fails: test_trim_headings.py::test_heading_has_no_space_around_it: "
                "AssertionError: assert ' bread ' == 'Bread' (series untried)",
            }
        },
    }


def test_patch_that_upstream_absorbed(fork):
    fork.apply_situation("absorbed")
    done = fork.status("--check")
    assert (done.code, done.verdicts["hits"]) == (10, "absorbed")
    assert columns(done.cell("hits")) == ["passed", None, None, None]
    assert [at["verdict"] for at in done.features["hits"]["releases"].values()] == [
        "needed",
        "needed",
        "absorbed",
    ]
    assert (
        done.features["hits"]["absorbed_in"],
        done.features["hits"]["releases"]["2.0"]["text"],
    ) == ("2.0", "present")
    assert done.report["smallest_series"] == ["trim-headings"]
    assert fork.status().code == 0, "without --check a patch that can go is no reason to stop"


def test_patch_that_settings_replace(fork):
    fork.apply_situation("configurable")
    done = fork.status("--check")
    assert (done.code, done.verdicts["long-units"]) == (10, "configurable")
    assert columns(done.cell("long-units")) == ["failed", "passed", None, None]
    assert done.features["long-units"]["configurable_since"] == "2.0"
    assert done.features["long-units"]["settings"] == {"MILLILITRE": "millilitres"}
    assert done.report["answer"]["settings"] == {"FOLD": True, "MILLILITRE": "millilitres"}
    assert done.report["answer"]["in_the_way"] == ["trim-headings"]


def test_patch_that_another_one_covers(fork):
    fork.apply_situation("redundant")
    done = fork.status("--check")
    assert done.code == 10, done.stderr
    assert (done.verdicts["drop-tabs"], done.verdicts["trim-headings"]) == ("redundant", "needed")
    assert columns(done.cell("drop-tabs")) == ["failed", None, "passed", "passed"]
    assert done.report["smallest_series"] == ["trim-headings"]


def test_patch_whose_place_upstream_rewrote(fork):
    fork.apply_situation("conflict")
    done = fork.status()
    assert (done.code, done.verdicts["two-digits"]) == (20, "conflict")
    assert columns(done.cell("two-digits")) == ["failed", None, None, None]
    assert done.cell("two-digits")["detail"] == "larder/prices.py: line 3 (hunks @@ -2,2 +2,2 @@)"
    assert done.features["two-digits"]["releases"]["2.0"]["applies"] == "conflict"
    assert done.verdicts["trim-headings"] == "needed", "a conflict takes no other patch with it"


def test_patch_that_no_longer_has_an_effect(fork):
    fork.apply_situation("broken")
    done = fork.status()
    assert (done.code, done.verdicts["round-weights"]) == (20, "broken")
    assert columns(done.cell("round-weights")) == ["failed", None, "failed", None]
    words = "fails with the series applied: test_round_weights.py::test_weight_is_whole: AssertionError: assert '1.7 g' == '2 g'"
    assert done.cell("round-weights")["detail"] == words


def test_patch_that_no_cell_can_try(fork):
    fork.apply_situation("untested")
    done = fork.status()
    assert (done.code, done.verdicts["future-pytest"]) == (0, "untested")
    assert done.features["future-pytest"]["releases"]["2.0"]["cells"]["2.0@plain"] == {
        "bare": None,
        "configured": None,
        "series": None,
        "without": None,
        "verdict": "untested",
        "detail": "no cell here meets its requirements",
    }
    assert done.report["answer"]["text"].endswith(
        "in the way: trim-headings. Untested here: future-pytest."
    )


def test_switching_the_feature_off_replaces_nothing(fork):
    fork.apply_situation("cache_off")
    done = fork.status()
    assert (done.code, done.verdicts["no-nones"]) == (0, "needed")
    assert columns(done.cell("no-nones")) == ["failed", "failed", "passed", "failed"]
    assert done.cell("no-nones")["detail"] == (
        "bare upstream fails: test_no_nones.py::test_none_is_made_again: AssertionError: assert None == 1; "
        "under a Replaced-By the control probe does not pass, so it replaces nothing: "
        "failed: test_control.py::test_second_get_is_a_hit: AssertionError: no hit"
    )
    why = " ".join(fork.run("status", "--patch", "no-nones", "--why").stdout.split())
    assert (
        "test_second_get_is_a_hit: AssertionError: no hit; the feature's own probes: passed" in why
    )
    assert done.features["no-nones"]["releases"]["2.0"]["applies"] == "offset"


def test_undeclared_dependency_is_named(fork):
    fork.apply_situation("undeclared")
    done = fork.status()
    assert done.code == 20
    assert (done.verdicts["trim-headings"], done.verdicts["drop-stops"]) == ("unproven", "needed")
    assert done.cell("trim-headings")["detail"] == (
        "no usable result in the without column: "
        "cannot be built: without it drop-stops no longer applies (an undeclared Depends?)"
    )


def test_declared_dependency_is_left_out_with_what_it_needs(fork):
    fork.apply_situation("undeclared")
    fork.replace(
        "patches/0009-drop-stops.patch", "Drop-When:", "Depends: trim-headings\nDrop-When:"
    )
    done = fork.status()
    assert (done.code, done.verdicts["trim-headings"], done.verdicts["drop-stops"]) == (
        0,
        "needed",
        "needed",
    )


def test_reverse_mutation_gives_teeth_to_a_behaviour_that_every_release_has(fork):
    fork.apply_situation("mutation")
    done = fork.status()
    assert (done.code, done.verdicts["keep-order"]) == (0, "absorbed")


@pytest.mark.parametrize(
    ("old", "new"),
    [("reversed(words)", "list(words)"), ('-    line = " ".join', '-    line = "-".join')],
    ids=["harmless", "stale"],
)
def test_mutation_that_shows_nothing_gives_no_teeth(fork, old, new):
    fork.apply_situation("mutation")
    fork.replace("tests/mutations/keep-order.diff", old, new)
    done = fork.status()
    assert (done.code, done.verdicts["keep-order"]) == (20, "unproven")
    assert done.cell("keep-order")["detail"].startswith(
        "its probes pass on the bare tree of every release"
    )


def test_patch_that_applies_on_its_base_with_an_offset_alone(fork):
    fork.apply_situation("absorbed")
    fork.apply_situation("cache_off")
    done = fork.status()
    assert (done.code, done.verdicts["no-nones"]) == (20, "conflict")
    words = "does not apply exactly on its own base 1.1: Hunk #1 succeeded at 16 (offset 2 lines)."
    assert done.cell("no-nones")["detail"] == words


def test_all_at_once(fork):
    for situation in (
        "cache_off",
        "absorbed",
        "configurable",
        "redundant",
        "conflict",
        "broken",
        "untested",
    ):
        fork.apply_situation(situation)
    done = fork.status()
    assert done.code == 20
    assert done.report["summary"] == {
        "broken": 1,
        "conflict": 1,
        "needed": 2,
        "redundant": 1,
        "configurable": 2,
        "absorbed": 2,
        "untested": 1,
    }
    assert done.report["answer"]["in_the_way"] == [
        "trim-headings",
        "no-nones",
        "drop-tabs",
        "two-digits",
        "round-weights",
    ]
    assert done.report["smallest_series"] == [
        "trim-headings",
        "no-nones",
        "drop-tabs",
        "two-digits",
        "round-weights",
        "future-pytest",
    ], "nothing can be left out while probes fail with the whole series"
