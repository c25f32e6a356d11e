"""Compare the work tree of `import` with `patches/`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from scripts.core.errors import Problem
from scripts.core.git import user_git
from scripts.core.model import Lock, Patch
from scripts.core.repository import Repository
from scripts.editing.branch import work_tree
from scripts.editing.import_branch import BRANCH, branch_folder
from scripts.editing.import_record import IMPORTED
from scripts.editing.unexported import CommitContent, commit_contents, message_words
from scripts.editing.ways import read_progress, ways_to_commit
from scripts.series.patch_series import Series


def unexported(
    repo: Repository, lock: Lock, series: Series, trees: Mapping[str, str]
) -> Iterator[Problem]:
    """Yield how the imported tree and `patches/` differ; `trees` are those after each patch."""
    place = branch_folder(repo, None)
    if not (place / ".git").exists():
        return
    folder = shlex.quote(str(place.relative_to(repo.root)))
    dirty = bool(user_git(place, "status", "--porcelain", ok=None).stdout)
    if dirty:
        tree = work_tree(repo, None)
        ways = ways_to_commit(tree, read_progress(tree, lock))
        yield Problem("has changes that are in no commit", "\n".join(ways), folder)
    patches = [CommitContent(_patch_words(patch), trees[patch.id]) for patch in series.active]
    branch, synced = (
        commit_contents(place, lock, ref) for ref in (f"refs/heads/{BRANCH}", IMPORTED)
    )
    if branch is not None and branch != patches:
        yield _difference(folder, patches, branch, synced, dirty=dirty)


def _difference(
    folder: str,
    patches: list[CommitContent],
    branch: list[CommitContent],
    synced: list[CommitContent] | None,
    *,
    dirty: bool,
) -> Problem:
    """Say which side changed since the last import or export; an import of old has no record."""
    if synced is None or synced == patches:
        return Problem("has commits that are not in patches/", "nox -s export", folder)
    # What is in no commit is a change, too, and would go with the folder.
    if synced == branch and not dirty:
        return Problem(
            "patches/ changed since it was imported, so an export would be refused",
            f"rm -rf {folder} && nox -s import",
            folder,
        )
    return Problem(
        "it and patches/ both changed since the import; an export is refused, and says how to"
        " keep both",
        "nox -s export",
        folder,
    )


def _patch_words(patch: Patch) -> tuple[str, ...]:
    trailers = "\n".join(f"{name}: {value}" for name, value in patch.trailers)
    return message_words(f"{patch.title}\n\n{patch.why}\n\n{trailers}")
