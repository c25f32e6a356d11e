"""Replace several files and folders atomically, even if the process is killed.

After a kill, the next run either finds the old state or completes the new one. The new content is
first collected in a temporary folder. Renaming that folder to `.fork/transaction` is the commit
point. Before it, nothing has changed. After it, `recover` moves whatever is not in place yet, and
may itself be killed and repeated.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.core.errors import AttentionError, UsageError
from scripts.core.temporary import make_temporary_folder

_COMMITTED = "transaction"
_JOURNAL = "journal.json"


@dataclass(frozen=True)
class _Entry:
    """One path, and where its old and new content are; `new` is missing once it is in place."""

    target: Path
    new: Path
    old: Path
    removes: bool


def replace_all(root: Path, work: Path, changes: Mapping[Path, Path | None]) -> None:
    """Move finished files and folders to their places under `root`; None removes a place.

    Raises UsageError if `work` and `root` are on different disks. The files are moved, not copied.
    """
    if work.stat().st_dev != root.stat().st_dev:
        raise UsageError(
            f"{work} is on another disk than {root}, so nothing can be moved into place",
            hint=f"move it to {root}",
        )
    stage = make_temporary_folder(work)
    journal = [
        {"path": str(target.relative_to(root)), "removes": new is None}
        for target, new in changes.items()
    ]
    with (stage / _JOURNAL).open("w", encoding="utf-8") as file:
        json.dump(journal, file)
        file.flush()
        os.fsync(file.fileno())  # the rename below must not commit a partial journal
    for number, new in enumerate(changes.values()):
        if new is not None:
            new.replace(stage / f"{number}.new")
    stage.rename(work / _COMMITTED)
    recover(root, work)


def recover(root: Path, work: Path) -> list[str]:
    """Complete the committed replacement, if there is one, and return its paths."""
    folder = work / _COMMITTED
    if not folder.exists():
        return []
    journal = json.loads((folder / _JOURNAL).read_text(encoding="utf-8"))
    for number, line in enumerate(journal):
        _finish_entry(
            _Entry(
                root / line["path"],
                folder / f"{number}.new",
                folder / f"{number}.old",
                line["removes"],
            )
        )
    # Renamed before it is removed, so that a kill in between leaves no partial transaction.
    done = make_temporary_folder(work)
    folder.replace(done)
    shutil.rmtree(done, ignore_errors=True)
    return [line["path"] for line in journal]


def _finish_entry(entry: _Entry) -> None:
    """Move one path to its new state, from whatever state a kill left it in."""
    # The new content was moved before the kill, so this path is finished.
    if not entry.removes and not _exists(entry.new):
        return
    if _exists(entry.target):
        _refuse_recreated(entry)
        entry.target.replace(entry.old)
    if not entry.removes:
        entry.target.parent.mkdir(parents=True, exist_ok=True)
        entry.new.replace(entry.target)


def _refuse_recreated(entry: _Entry) -> None:
    """Raise AttentionError if somebody wrote the path again after the kill.

    The content from before the run is still kept, so a person must choose between the two.
    """
    if _exists(entry.old):
        raise AttentionError(
            f"a run was killed while it replaced {entry.target},"
            " and something else was put there since;\n"
            f"    what stood there before the run is {entry.old}"
            + ("" if entry.removes else f", what it wrote {entry.new}"),
            hint=f"move {entry.target} away, then run this again to finish what that run began",
        )


def _exists(path: Path) -> bool:
    return os.path.lexists(path)  # a broken symbolic link also occupies the path
