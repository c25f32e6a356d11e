"""Which forwarded patches upstream has taken: by what ran on bare upstream, never by a header."""

from dataclasses import replace
from pathlib import Path

import pytest

from scripts.core.model import Cell, Feature, Patch, Settings, State, Verdict
from scripts.verdicts.aggregate import CellReport, FeatureReport, ReleaseReport, Report, answer
from scripts.verdicts.decide import Facts
from scripts.verdicts.forwarded import ForwardedPatch, forwarded_patches

ADDRESS = "https://example.org/pull/1"
LETTERS = {
    "a": Verdict.ABSORBED,
    "N": Verdict.NEEDED,
    ".": Verdict.UNTESTED,
    "-": Verdict.NOT_NEEDED,
    "c": Verdict.CONFIGURABLE,
}


def report(features, address=ADDRESS, state=State.ACTIVE, named=None):
    """Return a report with one patch; `features` has a letter for each release, by feature."""
    patch = Patch(
        Path("x.patch"),
        state,
        "it",
        "Do it",
        "1",
        "",
        features=tuple(named or features),
        trailers=(("Forwarded", address), ("Applied-Upstream", "1; by itself")),
    )
    items = []
    for name, letters in features.items():
        at = [
            ReleaseReport(
                str(number),
                LETTERS[letter],
                (CellReport(Cell(str(number), "plain", None), Facts(), LETTERS[letter], ""),),
            )
            for number, letter in enumerate(letters, 1)
        ]
        items.append(
            FeatureReport(Feature(name, patch, patch.path, name), at[-1].verdict, tuple(at))
        )
    known = answer("tally", "3", items, Settings())
    return Report("tally", "3", ("1", "2", "3"), tuple(items), known, (), patches=(patch,))


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({"a": "NNN"}, None),
        ({"a": "NNa"}, "3"),
        ({"a": "Naa"}, "2"),
        ({"a": "Naa", "b": "NNa"}, "3"),
        ({"a": "Naa", "b": "NNN"}, None),
        ({"a": "Naa", "b": "NNc"}, None),
        ({"a": "NaN"}, None),
        ({"a": "-Na"}, "3"),
        ({"a": "Na."}, "2"),
        ({"a": "N.a"}, "3"),
        ({"a": "..."}, None),
        ({"a": "Naa", "b": "..a"}, "3"),
    ],
)
def test_patch_is_taken_from_the_release_on_that_has_all_of_its_features(features, expected):
    assert list(forwarded_patches(report(features))) == [ForwardedPatch("it", ADDRESS, expected)]


@pytest.mark.parametrize("address", ["no", "not-needed", ""])
def test_patch_without_an_address_is_not_forwarded(address):
    assert list(forwarded_patches(report({"a": "aaa"}, address))) == []


def test_retired_patch_is_not_listed():
    assert list(forwarded_patches(report({"a": "aaa"}, state=State.RETIRED))) == []


def test_report_on_some_of_its_features_cannot_say():
    found = report({"a": "aaa"}, named=("a", "b"))
    assert list(forwarded_patches(found)) == [ForwardedPatch("it", ADDRESS, None, is_known=False)]


def test_patch_that_is_its_features_record_is_known():
    found = report({"it": "Naa"})
    alone = replace(found.patches[0], features=())
    assert [item.taken_in for item in forwarded_patches(replace(found, patches=(alone,)))] == ["2"]
