"""Replace several files and folders, all or none: after a kill the next run finds the old state or makes the new one.

The new ones wait in a folder whose renaming to `.fork/transaction` is the decision. Before it nothing has happened; after
it `recover` moves what is not in its place yet, however often it is killed itself.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.core.errors import AttentionError, UsageError

_DECIDED = "transaction"
_JOURNAL = "journal.json"


@dataclass(frozen=True)
class _Entry:
    """One path and where its new and its old content wait; `new` is missing once it is in place."""

    place: Path
    new: Path
    old: Path
    removes: bool


def replace_all(root: Path, work: Path, changes: Mapping[Path, Path | None]) -> None:
    """Put finished files and folders into their places under `root`; None removes what is there.

    Everything is on one disk, else UsageError. The finished ones are moved, not copied.
    """
    if work.stat().st_dev != root.stat().st_dev:
        raise UsageError(
            f"{work} is on another disk than {root}, so nothing can be moved into place",
            hint=f"move it to {root}",
        )
    stage = Path(tempfile.mkdtemp(prefix="tmp-", dir=work))
    journal = [
        {"path": str(place.relative_to(root)), "removes": new is None}
        for place, new in changes.items()
    ]
    with (stage / _JOURNAL).open("w", encoding="utf-8") as file:
        json.dump(journal, file)
        file.flush()
        os.fsync(file.fileno())
    for number, new in enumerate(changes.values()):
        if new is not None:
            new.replace(stage / f"{number}.new")
    stage.rename(work / _DECIDED)
    recover(root, work)


def recover(root: Path, work: Path) -> list[str]:
    """Finish what was decided before a kill and return the paths that it is about."""
    folder = work / _DECIDED
    if not folder.exists():
        return []
    journal = json.loads((folder / _JOURNAL).read_text(encoding="utf-8"))
    for number, line in enumerate(journal):
        _settle(
            _Entry(
                root / line["path"],
                folder / f"{number}.new",
                folder / f"{number}.old",
                line["removes"],
            )
        )
    done = Path(tempfile.mkdtemp(prefix="tmp-", dir=work))
    folder.replace(done)
    shutil.rmtree(done, ignore_errors=True)
    return [line["path"] for line in journal]


def _settle(entry: _Entry) -> None:
    """Bring one path into its new state, from whatever state a kill left it in."""
    if not entry.removes and not _there(entry.new):
        return
    if _there(entry.place):
        _refuse_recreated(entry)
        entry.place.replace(entry.old)
    if not entry.removes:
        entry.place.parent.mkdir(parents=True, exist_ok=True)
        entry.new.replace(entry.place)


def _refuse_recreated(entry: _Entry) -> None:
    """Refuse to choose where somebody wrote the path again after the kill: what stood there before is still kept."""
    if _there(entry.old):
        raise AttentionError(
            f"a run was killed while it replaced {entry.place}, and something else was put there since;\n"
            f"    what stood there before the run is {entry.old}"
            + ("" if entry.removes else f", what it wrote {entry.new}"),
            hint=f"move {entry.place} away, then run this again to finish what that run began",
        )


def _there(path: Path) -> bool:
    return os.path.lexists(path)
