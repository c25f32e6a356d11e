"""In which cells each patch is left out."""

from types import SimpleNamespace

import pytest

from scripts.core.model import Cell
from scripts.status.leave_one_out import _default_cells

OLD, NEW, NEWER = (Cell("2", name, None) for name in ("old", "new", "newer"))
BASIC, LATE = "basic", "late"
TAKES = {BASIC: {OLD, NEW, NEWER}, LATE: {NEW, NEWER}}


@pytest.mark.parametrize(
    ("here", "patches", "chosen"),
    [
        ([OLD, NEW, NEWER], [BASIC], [OLD]),
        ([OLD, NEW, NEWER], [BASIC, LATE], [OLD, NEW]),
        ([NEW, NEWER], [BASIC, LATE], [NEW]),
        ([OLD], [BASIC, LATE], [OLD]),
        ([], [BASIC, LATE], []),
    ],
    ids=[
        "short-list",
        "one-for-a-patch-that-needs-more",
        "short-list-is-not-here",
        "no-cell-for-a-patch",
        "nothing",
    ],
)
def test_the_short_list_and_what_its_cells_cannot_show(here, patches, chosen):
    repo = SimpleNamespace(config=SimpleNamespace(default_cells=lambda lock: [OLD]))
    scheduler = SimpleNamespace(
        ready_environment=here.__contains__,
        can_run=lambda patch, cell: cell in here and cell in TAKES[patch],
    )
    assert _default_cells(repo, scheduler, None, patches, [OLD, NEW, NEWER]) == chosen
