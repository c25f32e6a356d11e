"""Compare the work tree of `import` with `patches/`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.core.errors import Problem
from scripts.core.git import user_git
from scripts.core.model import Lock, Patch
from scripts.core.repository import Repository
from scripts.editing.branch import work_tree
from scripts.editing.commit_message import ADDED
from scripts.editing.import_branch import BRANCH, branch_folder
from scripts.editing.import_record import IMPORTED
from scripts.editing.ways import read_progress, ways_to_commit
from scripts.series.patch_series import Series


@dataclass(frozen=True)
class _Commit:
    """What a patch is compared by: the words of its message, and the tree after it."""

    words: tuple[str, ...]
    tree: str


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
    patches = [_Commit(_patch_words(patch), trees[patch.id]) for patch in series.active]
    branch, synced = (_commits(place, lock, ref) for ref in (f"refs/heads/{BRANCH}", IMPORTED))
    if branch is not None and branch != patches:
        yield _difference(folder, patches, branch, synced, dirty=dirty)


def _difference(
    folder: str,
    patches: list[_Commit],
    branch: list[_Commit],
    synced: list[_Commit] | None,
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


def _commits(place: Path, lock: Lock, ref: str) -> list[_Commit] | None:
    """Return the commits of a branch since its release, or None if there is no such branch."""
    releases = [release.commit for release in lock.releases]
    words = ("--format=%T%x00%B%x00", "--reverse", "--topo-order", "--ignore-missing")
    done = user_git(place, "log", *words, ref, "--not", *releases, ok=None)
    if done.code or user_git(place, "rev-parse", "--verify", "--quiet", ref, ok=None).code:
        return None
    parts = done.text.split("\0")
    return [
        _Commit(_words(message), tree.strip())
        for tree, message in zip(parts[::2], parts[1::2], strict=False)
    ]


def _patch_words(patch: Patch) -> tuple[str, ...]:
    trailers = "\n".join(f"{name}: {value}" for name, value in patch.trailers)
    return _words(f"{patch.title}\n\n{patch.why}\n\n{trailers}")


def _words(message: str) -> tuple[str, ...]:
    """Return the words of a message without the trailers that an export writes itself."""
    added = tuple(f"{name}: " for name in ADDED)
    lines = (line for line in message.splitlines() if not line.startswith(added))
    return tuple(word for line in lines for word in line.split())
