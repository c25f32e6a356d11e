"""Say where a trailer is written: in the message of a commit, or in the patch file itself.

If the series is imported, an edit of a patch file would be refused by the next export.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from scripts.core.errors import Problem, with_command
from scripts.core.model import Lock, Patch
from scripts.core.repository import Repository
from scripts.editing.branch import BranchCommit, WorkTree, commits_in, work_tree
from scripts.editing.commit_message import ADDED
from scripts.editing.import_record import changed_names, digests, read_record
from scripts.editing.ways import reword_command
from scripts.series.patch_fields import ORDER
from scripts.series.patch_series import Series
from scripts.series.series_checks import place

_NAMES = "|".join(name for name in ORDER if name not in ADDED)
_TRAILER = re.compile(
    rf"^(?:write|write one|add|keep one line|delete the line) `(?:{_NAMES}):[^`]*`"
)
"""How advice about a trailer begins; `export` writes the others itself."""


def with_places(
    repo: Repository, lock: Lock, series: Series, problems: Iterable[Problem]
) -> list[Problem]:
    """Return problems whose advice says where each trailer is written."""
    tree = work_tree(repo, None)
    patches = {place(repo, patch): patch for patch in series.active}
    commits = (commits_in(tree.place, lock) or []) if _is_level(repo, tree) else []
    return [
        _with_place(problem, patches[problem.where], tree, commits)
        if problem.where in patches
        else problem
        for problem in problems
    ]


def _is_level(repo: Repository, tree: WorkTree) -> bool:
    """Return whether the series is imported, and no file changed in `patches/` since then."""
    if not (tree.place / ".git").exists():
        return False
    seen = read_record(tree.place)
    return bool(seen) and not changed_names(seen, digests(repo.patches))


def _with_place(
    problem: Problem, patch: Patch, tree: WorkTree, commits: list[BranchCommit]
) -> Problem:
    commit = next((item for item in commits if item.id == patch.id), None)
    ways = (_placed(way, tree, commit, commits) for way in problem.advice.split("\n"))
    return Problem(problem.text, "\n".join(ways), problem.where)


def _placed(
    way: str, tree: WorkTree, commit: BranchCommit | None, commits: list[BranchCommit]
) -> str:
    line = _TRAILER.match(way)
    if line is None:
        return way
    where = f"the message of `{commit.title}`" if commit else "the patch file"
    words = f"{line[0]} in {where}{way.removeprefix(line[0])}"
    return with_command(words, reword_command(tree, [commit], commits[-1])) if commit else words
