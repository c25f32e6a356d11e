"""What is asked for before its patch is exported: say so, and how to go on."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.core.errors import UsageError
from scripts.core.model import Lock
from scripts.core.repository import Repository
from scripts.editing.branch import BranchCommit, uncommitted, work_tree
from scripts.editing.ways import read_progress, ways_to_commit
from scripts.series.probe_files import new_names
from scripts.series.series import Series, read_with_problems
from scripts.series.trailers import Trailers, read_trailers


def check_exported(repo: Repository, lock: Lock, names: Sequence[str]) -> None:
    """Raise UsageError if a name is that of a probe file whose patch is not exported yet.

    That is said before the series is checked, which may lack what the export brings.
    """
    series = read_with_problems(repo, lock)[0] if names else Series((), ())
    for name in names:
        if not series.features_named(name) and name in new_names(repo, series):
            text = f"{name} has a probe file but no patch yet"
            raise UsageError(text, hint="\n".join(_ways_on(repo, lock, name)))


def _ways_on(repo: Repository, lock: Lock, name: str) -> list[str]:
    """Return the commands that lead from a probe file to a patch: the next one that is left."""
    tree = work_tree(repo, None)
    if not (tree.place / ".git").exists():
        return [f"nox -s new -- {name}"]
    progress = read_progress(tree, lock)
    if any(name in _names(item) for item in progress.commits):
        return [tree.export]
    begun = any(name in (item.id, *item.features) for item in progress.begun)
    if begun and uncommitted(tree.place):
        return ways_to_commit(tree, progress)
    return [f"nox -s probe -- {name}" if begun else f"nox -s new -- {name}"]


def _names(item: BranchCommit) -> tuple[str, ...]:
    pairs, _ = read_trailers(item.body.strip().rpartition("\n\n")[2])
    return (item.id, *Trailers(pairs).names("Features"))
