"""What docs/patches.md says of a trailer, whether it is required, is what the code requires."""

import re
from pathlib import Path

import pytest

from scripts.core.model import Patch, State
from scripts.editing.commit_message import message_problems
from scripts.series import feature_record, patch_fields
from scripts.series.patch_fields import wrong_fields
from tests.support.harness import PROJECT

ROW = re.compile(r"^\| `([A-Z][A-Za-z-]*):` \| ([^|]+) \| .+ \|$", re.MULTILINE)
RECORD, PATCH = (
    dict(ROW.findall(text))
    for text in (PROJECT / "docs/patches.md").read_text().split("\n| trailer | required |")[1:]
)
COMPLETE = {
    "Id": "fold-names",
    "Base": "7.2",
    "Origin": "vendor",
    "Forwarded": "no",
    "Last-Update": "2026-11-30",
    "Features": "fold-names",
    "Applied-Upstream": "7.3; by itself",
}


def without(name, complete):
    return tuple(item for item in complete.items() if item[0] != name)


def requirement(name):
    """Return in the words of the page what asks for a trailer of a patch that lacks it alone."""
    trailers = without(name, COMPLETE)
    live = [text for text in problems(trailers, State.ACTIVE) if f"`{name}:`" in text]
    written = [pair for pair in trailers if pair[0] not in {"Base", "Last-Update"}]
    body = "\n".join(f"{key}: {value}" for key, value in written)
    if any(f"`{name}:`" in problem.text for problem in message_problems("Fold names", body)):
        others = patch_fields.RECORD_REQUIRED
        instead = (*trailers, *((other, "x") for other in others))
        names = " and ".join(f"`{other}:`" for other in others)
        return "yes" if problems(instead, State.ACTIVE) else f"yes, or {names}"
    if live:
        return "`export` writes it"
    return "in `retired/`" if problems(trailers, State.RETIRED) else "no"


def problems(trailers, state):
    return [problem.text for problem in wrong_fields(trailers, state, "fold-names")]


def test_page_has_every_trailer_of_a_patch_and_of_a_record():
    assert set(PATCH) == {*patch_fields.REQUIRED, *patch_fields.OPTIONAL}
    assert set(RECORD) == {*feature_record.REQUIRED, *feature_record.OPTIONAL}


@pytest.mark.parametrize("name", PATCH)
def test_page_names_what_a_patch_requires(name):
    assert PATCH[name] == requirement(name)


@pytest.mark.parametrize("name", RECORD)
def test_page_names_what_a_record_requires(name, tmp_path):
    trailers = "".join(f"{key}: x\n" for key, _ in without(name, dict.fromkeys(["Bug", *RECORD])))
    path = tmp_path / "test_fold_names.py"
    path.write_text(f'"""Fold names.\n\nIt is needed.\n\n{trailers}"""\n')
    patch = Patch(Path(), State.ACTIVE, "fold-names", "", "", "")
    _, found = feature_record.read_feature(path, "fold-names", patch, path.name)
    missing = any(f"`{name}:` is missing" in problem.text for problem in found)
    assert RECORD[name] == ("yes" if missing else "no")
