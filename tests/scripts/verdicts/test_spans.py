"""Since and until when upstream does what a patch does, and a verdict that goes back and forth."""

import pytest

from scripts.core.model import Applies, Cell, Outcome, Result, TextPresence, Verdict
from scripts.verdicts.aggregate import CellReport, combine_cells
from scripts.verdicts.decide import Facts
from scripts.verdicts.spans import REPLACEABLE, ended_span, flip_note, good_since, spans

LETTERS = {
    "N": Verdict.NEEDED,
    "a": Verdict.ABSORBED,
    "c": Verdict.CONFIGURABLE,
    "r": Verdict.REDUNDANT,
    ".": Verdict.UNTESTED,
}
LETTERS |= {"-": Verdict.NOT_NEEDED, "u": Verdict.UNSUPPORTED}


def reports(letters):
    """Return a report a letter, on releases 1, 2, 3 and so on."""
    found = []
    for number, letter in enumerate(letters, 1):
        facts = Facts(bare=Result(Outcome.PASSED))
        cell = CellReport(Cell(str(number), "plain", None), facts, LETTERS[letter], "")
        found.append(combine_cells(str(number), [cell], Applies.UNTRIED, TextPresence.UNKNOWN))
    return found


def around(span):
    return span.before, span.first, span.last, span.after


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        ("NNN", []),
        ("NcN", [("1", "2", "2", "3")]),
        ("ccNaa", [(None, "1", "2", "3"), ("3", "4", "5", None)]),
        ("N.c.cN", [("1", "3", "5", "6")]),
        ("--Na", [("3", "4", "4", None)]),
    ],
)
def test_releases_in_a_row_on_which_a_patch_is_not_needed(letters, expected):
    assert list(map(around, spans(reports(letters), REPLACEABLE))) == expected


@pytest.mark.parametrize(
    ("letters", "span"),
    [
        ("NccN", ("2", "3")),
        ("ccN", ("1", "2")),
        ("NccaN", ("2", "4")),
        ("Ncc", None),
        ("NaaN", None),
        ("NNN", None),
        ("NcNa", None),
    ],
)
def test_settings_that_did_for_a_while(letters, span):
    found = ended_span(reports(letters))
    assert (found and (found.first, found.last)) == span


def test_what_a_later_release_took_back_is_since_no_release():
    assert good_since(reports("NccN"), REPLACEABLE) == (None, "")
    assert good_since(reports("Ncca"), REPLACEABLE) == ("2", "")


@pytest.mark.parametrize("letters", ["NNN", "Naa", "--Naa", "NccN", "Ncca"])
def test_steady_letters_are_not_named(letters):
    assert flip_note(reports(letters)) == ""


def test_letters_that_flip_are_named():
    assert flip_note(reports("NaaNar")) == (
        "it flips between releases (needed in 1, absorbed in 2, needed in 4, absorbed in 5, redundant in 6): "
        "upstream took it back, or its probes depend on chance"
    )
