"""What `status` prints of a report that was made up: JSON to the key, and a table for a person in a hurry."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from scripts.core.model import (
    Applies,
    Cell,
    Feature,
    Outcome,
    Patch,
    Result,
    Settings,
    State,
    TextPresence,
)
from scripts.report.terminal import as_json, print_report, print_why
from scripts.verdicts.aggregate import FeatureReport, Report, answer, cell_report, combine_cells
from scripts.verdicts.decide import Facts

PASS = Result(Outcome.PASSED)
FAIL = Result(Outcome.FAILED, "test_sum: two is not one")
OFF = Result(Outcome.PASSED, "failed: test_hit: no hit", control=False)
FOLD = (Settings.of({"FOLD": True}), Settings.of({"FOLD": "all", "LONG": 9}))

NEEDED = Facts(bare=FAIL, applies=Applies.OFFSET, series=PASS, without=FAIL)
UNTRIED = Facts(bare=FAIL, try_series=False)
ABSORBED = Facts(bare=PASS)
CONFIGURABLE = Facts(bare=FAIL, alternatives=2, configured=(OFF, PASS))
BROKEN = Facts(bare=FAIL, series=OFF)
UNSUPPORTED = Facts(bare=OFF)
UNTESTED = Facts(try_series=False)

SENTENCE = (
    "Somebody must look at 1 feature on 2: five (broken); 2 features can go on 2: two (absorbed in 2), three (configurable since 2); "
    "1 patch can be refreshed on 2, where upstream has moved the lines: one."
)
"""What the full report comes to."""


def feature(name, *facts, state=State.ACTIVE, **found):
    """Return what was found of a feature on releases 1, 2 ... of one environment with a server."""
    releases = []
    for number, known in enumerate(facts, 1):
        cell = cell_report(Cell(str(number), "plain", "redis6"), known)
        releases.append(combine_cells(str(number), [cell], known.applies, TextPresence.ABSENT))
    patch = Patch(Path("x.patch"), state, name, f"Do {name}", "1", "")
    known = Feature(name, patch, patch.path, f"Do {name}", f"Why {name}.", replaced_by=FOLD)
    return FeatureReport(known, releases[-1].verdict, tuple(releases), **found)


def report(*items, **found):
    """Return a report on a fork that stands on release 2."""
    patches = tuple(item.feature.patch for item in items)
    return Report(
        "tally",
        "2",
        ("1", "2"),
        items,
        answer("tally", "2", items, Settings()),
        ("one",),
        patches=patches,
        **found,
    )


@pytest.fixture
def full():
    """Give a report with a patch of each kind."""
    return report(
        feature("one", UNTRIED, NEEDED),
        feature("two", UNTRIED, ABSORBED, absorbed_in="2"),
        feature("three", UNTRIED, CONFIGURABLE, configurable_since="2", settings=FOLD[1]),
        feature("four", UNTESTED, UNTESTED),
        feature("five", ABSORBED, BROKEN, state=State.RETIRED),
    )


def printed(show, *words):
    """Return the lines that something prints to a pipe."""
    console = Console(file=io.StringIO(), width=160)
    show(*words, console)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


# JSON


def test_json_has_the_documented_keys_in_their_order(full):
    found = as_json(full)
    assert list(found) == [
        "schema",
        "upstream",
        "answer",
        "patches",
        "features",
        "smallest_series",
        "summary",
    ]
    assert found["schema"] == 2
    assert found["upstream"] == {"name": "tally", "locked": "2", "releases": ["1", "2"]}
    assert found["answer"] == {
        "release": "2",
        "bare_is_enough": False,
        "settings": {"FOLD": "all", "LONG": 9},
        "in_the_way": ["one", "five"],
        "text": "No: bare tally 2 is not enough; 2 features stand in the way: one, five. Untested here: four.",
    }
    assert found["smallest_series"] == ["one"]
    assert found["summary"] == {
        "broken": 1,
        "needed": 1,
        "configurable": 1,
        "absorbed": 1,
        "untested": 1,
    }


def test_json_of_a_patch(full):
    found = as_json(full)["features"][2]
    assert found == {
        "id": "three",
        "patch": "three",
        "title": "Do three",
        "state": "active",
        "verdict": "configurable",
        "absorbed_in": None,
        "configurable_since": "2",
        "settings": {"FOLD": "all", "LONG": 9},
        "releases": {
            "1": {
                "verdict": "needed",
                "applies": "untried",
                "text": "absent",
                "cells": {
                    "1@plain@redis6": {
                        "bare": "failed",
                        "configured": None,
                        "series": None,
                        "without": None,
                        "verdict": "needed",
                        "detail": "bare upstream fails: test_sum: two is not one (series untried)",
                    }
                },
            },
            "2": {
                "verdict": "configurable",
                "applies": "untried",
                "text": "absent",
                "cells": {
                    "2@plain@redis6": {
                        "bare": "failed",
                        "configured": "passed",
                        "series": None,
                        "without": None,
                        "verdict": "configurable",
                        "detail": "bare upstream passes with settings",
                    }
                },
            },
        },
    }


def test_json_calls_a_column_that_breaks_the_control_probe_failed(full):
    cell = as_json(full)["features"][4]["releases"]["2"]["cells"]["2@plain@redis6"]
    assert (cell["bare"], cell["series"], cell["verdict"]) == ("failed", "failed", "broken")


def test_json_is_json(full):
    assert json.loads(json.dumps(as_json(full))) == as_json(full)


def sent(name, found):
    """Return a report with a patch that was sent to upstream."""
    address = ("Forwarded", f"https://example.org/{name}")
    patches = tuple(
        replace(patch, trailers=(address,)) if patch.id == name else patch
        for patch in found.patches
    )
    return replace(found, patches=patches)


def test_json_of_a_patch_says_where_it_was_sent_and_what_took_it(full):
    assert [patch["forwarded"] for patch in as_json(full)["patches"]] == [None] * 5
    assert [patch["forwarded"] for patch in as_json(sent("two", full))["patches"][:2]] == [
        None,
        {"address": "https://example.org/two", "taken_in": "2"},
    ]
    assert as_json(sent("one", full))["patches"][0]["forwarded"]["taken_in"] is None


# The table


@pytest.mark.parametrize(("name", "words"), [("one", "not taken yet"), ("two", "taken in 2")])
def test_line_says_whether_upstream_has_taken_a_patch(full, name, words):
    lines = printed(print_report, sent(name, full))
    assert f"forwarded: {name} (https://example.org/{name}): {words}" in lines
    assert not any(line.startswith("forwarded") for line in printed(print_report, full))


def test_table_says_the_answer_then_a_row_a_patch(full):
    lines = printed(print_report, full)
    assert lines[:4] == [
        SENTENCE,
        "next: nox -s status -- --patch five --why",
        "",
        "No: bare tally 2 is not enough; 2 features stand in the way.",
    ]
    start = lines.index("active features")
    assert [line.split() for line in lines[start - 1 : start + 7]] == [
        ["on", "2", "1", "…", "2"],
        ["active", "features"],
        ["one", "needed", "N", "N"],
        ["two", "absorbed", "in", "2", "N", "a"],
        ["three", "configurable", "since", "2", "N", "c"],
        ["four", "untested", ".", "."],
        ["retired", "features"],
        ["five", "broken", "a", "B"],
    ]
    assert "B broken   N needed   c configurable   a absorbed   . untested" in lines
    assert "three: FOLD='all'; LONG=9" in lines
    assert "smallest series: 1 of the 4 live patches are enough, without two, three, four" in lines


def test_fault_is_named_with_its_reason_and_the_next_command(full):
    lines = printed(print_report, full)
    reason = "five is broken: fails with the series applied: the control probe does not pass: failed: test_hit: no hit"
    assert lines[lines.index(reason) + 1] == "  evidence: nox -s status -- --patch five --why"


def test_notes_warnings_and_skipped_cells_are_shown(full):
    skipped = {
        "1@new": "Python 3.99 is not here",
        "2@new": "Python 3.99 is not here",
        "2@old": "no server",
    }
    noted = feature("six", NEEDED, NEEDED, notes=("needed on 2@plain@redis6 alone",))
    lines = printed(
        print_report, report(noted, warnings=("upstream/src/ was edited",), skipped=skipped)
    )
    assert "six: needed on 2@plain@redis6 alone" in lines
    assert lines[:2] == ["Somebody must look: upstream/src/ was edited", "next: nox -s vendor"]
    assert "not tried here: 1@new, 2@new: Python 3.99 is not here" in lines
    assert "not tried here: 2@old: no server" in lines


def test_unsupported_cells_are_named_once_whichever_patch_was_tried_there():
    lines = printed(
        print_report,
        report(
            feature("four", UNTESTED, UNTESTED),
            *(feature(name, UNSUPPORTED, NEEDED) for name in "ab"),
        ),
    )
    words = "the control probe does not pass on the bare release: failed: test_hit: no hit"
    assert [line for line in lines if line.startswith("unsupported: ")] == [
        f"unsupported: 1@plain@redis6: {words}"
    ]


def test_words_of_a_probe_are_no_markup():
    strange = Facts(bare=Result(Outcome.FAILED, "[bold]assert [1] == [/red]"), try_series=False)
    lines = printed(print_why, report(feature("a", strange)))
    assert any("[bold]assert [1] == [/red]" in line for line in lines)


# The evidence


def test_why_shows_each_column_with_its_settings_and_words(full):
    lines = printed(print_why, full)
    start = lines.index("three Do three")
    assert lines[start + 1 : start + 11] == [
        "  Why three.",
        "  2: configurable",
        "    text: absent",
        "    bare: failed test_sum: two is not one",
        "    bare with FOLD=True: the control probe does not pass failed: test_hit: no hit",
        "    bare with FOLD='all'; LONG=9: passed",
        "    cells: 2@plain@redis6",
        "  1: needed",
        "    series untried; text: absent",
        "    bare: failed as on 2, bare",
    ]
    start = lines.index("one Do one")
    assert lines[start + 2 : start + 7] == [
        "  2: needed",
        "    applies: offset; text: absent",
        "    bare: failed test_sum: two is not one",
        "    series: passed",
        "    series without it: failed as on 2, bare",
    ]


def test_releases_that_show_the_same_share_their_evidence():
    found = feature("one", UNTRIED, UNTRIED, UNTRIED, UNTRIED, NEEDED)
    lines = printed(print_why, report(found))
    assert [line for line in lines if line.endswith(": needed")] == [
        "  5: needed",
        "  4 … 1 (4 releases): needed",
    ]
    assert "    cells: 4@plain@redis6, 3@plain@redis6, 2@plain@redis6, 1@plain@redis6" in lines
    assert len([line for line in lines if "test_sum: two is not one" in line]) == 1


def test_narrow_console_cuts_no_release_off():
    found = report(feature("a-name-that-is-long", *[UNTRIED] * 9, NEEDED))
    console = Console(file=io.StringIO(), width=40)
    print_report(found, console)
    lines = console.file.getvalue().splitlines()
    start = next(
        number for number, line in enumerate(lines) if line.startswith("  a-name-that-is-long")
    )
    letters = lines[start].split()[2:] + [
        letter for line in lines[start + 1 : start + 3] for letter in line.split()
    ]
    assert [letter for letter in letters if letter == "N"] == ["N"] * 10
