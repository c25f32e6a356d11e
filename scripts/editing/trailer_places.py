"""Say where a trailer is written: in the message of a commit, or in the patch file itself.

If the series is imported, an edit of a patch file would be refused by the next export. A message
that was edited since then has perhaps been mended, and only needs to be exported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from scripts.core.errors import Problem, with_command
from scripts.core.model import Lock, Patch
from scripts.core.repository import Repository
from scripts.editing.branch import BranchCommit, WorkTree, work_tree
from scripts.editing.commit_message import ADDED, read_message
from scripts.editing.import_record import changed_names, digests, read_record
from scripts.editing.unexported import reworded
from scripts.editing.ways import Progress, read_progress, reword_command
from scripts.series.override_files import matching_files
from scripts.series.patch_fields import ORDER
from scripts.series.patch_series import Series
from scripts.series.series_checks import place
from scripts.series.trailers import Trailers

_NAMES = "|".join(name for name in ORDER if name not in ADDED)
_TRAILER = re.compile(
    rf"^(?:write|write one|add|keep one line|delete the line) `(?:{_NAMES}):[^`]*`"
)
"""How advice about a trailer begins; `export` writes the others itself."""

_TO_NAME = " to the `Overrides:` of "
"""What advice says about a module that no patch names."""


@dataclass(frozen=True)
class _Imported:
    """The imported tree: how far it is, and the commits whose messages are not exported yet.

    How far it is is not known if the tree is not level with `patches/`.
    """

    tree: WorkTree
    progress: Progress
    is_level: bool
    reworded: Sequence[BranchCommit]


def with_places(
    repo: Repository, lock: Lock, series: Series, problems: Iterable[Problem]
) -> list[Problem]:
    """Return problems whose advice says where each trailer is written, or that it is to export."""
    tree = work_tree(repo, None)
    patches = {place(repo, patch): patch for patch in series.active}
    is_there, is_level = (tree.place / ".git").exists(), _is_level(repo, tree)
    imported = _Imported(
        tree,
        read_progress(tree, lock) if is_level else Progress((), (), None),
        is_level,
        reworded(tree.place, lock) if is_there else (),
    )
    package = f"{repo.config.overrides.package}/"
    return [_with_place(problem, patches, imported, package) for problem in problems]


def _is_level(repo: Repository, tree: WorkTree) -> bool:
    """Return whether the series is imported, and no file changed in `patches/` since then."""
    if not (tree.place / ".git").exists():
        return False
    seen = read_record(tree.place)
    return bool(seen) and not changed_names(seen, digests(repo.patches))


def _with_place(
    problem: Problem, patches: Mapping[str, Patch], imported: _Imported, package: str
) -> Problem:
    ways, patch = problem.advice.split("\n"), patches.get(problem.where)
    if not any(_TRAILER.match(way) or _TO_NAME in way for way in ways):
        return problem
    file = problem.where.removeprefix(package)
    naming = next((item for item in imported.reworded if _names_module(item, file)), None)
    if naming and problem.where.startswith(package):
        words = f"the commit `{naming.title}` names it, and is not exported"
        return replace(problem, advice=with_command(words, imported.tree.export))
    unexported = next((item for item in imported.reworded if patch and item.id == patch.id), None)
    if unexported and imported.is_level:
        words = f"`{unexported.title}` has another message, which is not exported"
        return replace(problem, advice=with_command(words, imported.tree.export))
    placed = (_placed(way, patch, patches, imported) for way in ways)
    return replace(problem, advice="\n".join(placed))


def _names_module(item: BranchCommit, file: str) -> bool:
    """Return whether the message of a commit names an override module."""
    names = Trailers(read_message(item.body).trailers).names("Overrides")
    return any(matching_files(name, (file,)) for name in names)


def _placed(
    way: str, patch: Patch | None, patches: Mapping[str, Patch], imported: _Imported
) -> str:
    """Return advice about a trailer with its place; it may name another patch's file itself."""
    line = _TRAILER.match(way)
    if line is None:
        return way
    rest = way.removeprefix(line[0])
    named = re.match(r" in ([^ ,]+\.patch)", rest)
    if named and named[1] in patches:
        patch, rest = patches[named[1]], rest.removeprefix(named[0])
    if patch is None:
        return way
    commits = imported.progress.commits
    commit = next((item for item in commits if item.id == patch.id), None)
    if commit is None:
        return f"{line[0]} in {named[1] if named else 'the patch file'}{rest}"
    words = f"{line[0]} in the message of `{commit.title}`{rest}"
    return with_command(words, reword_command(imported.tree, [commit], commits[-1]))
