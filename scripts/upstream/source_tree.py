"""`upstream/src/`: which release it contains, which files were edited, and how it is written."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from scripts.core.errors import AttentionError
from scripts.core.git import Git, user_git
from scripts.core.model import Lock, Release
from scripts.core.repository import Repository

PREFIX = "upstream/src"
_NOT_SOURCE = (":(exclude,glob)**/__pycache__/**", ":(exclude,glob)**/*.pyc")


@dataclass(frozen=True)
class SourceState:
    """The release that is nearest to the folder, and what differs from it (status and name)."""

    release: Release
    edits: tuple[str, ...]


def is_subtree(repo: Repository) -> bool:
    """Return whether upstream's files are committed in the user's history."""
    return (
        user_git(repo.root, "rev-parse", "--verify", "--quiet", f"HEAD:./{PREFIX}", ok=None).code
        == 0
    )


def nearest_release(repo: Repository, lock: Lock) -> SourceState:
    """Return the release in `upstream/src/`, or the pinned release that is nearest to it.

    Among equals the locked release wins, then the newest. A release that is in the private
    repository but no longer pinned is recognised too, because a lock that somebody reverted may
    lack it.
    """
    git, tree, uncommitted = _tree(repo)
    preferred = sorted(
        lock.releases,
        key=lambda release: (release.version == lock.locked, release.parsed_version),
        reverse=True,
    )
    others = (
        release for release in _imported_releases(repo) if lock.release(release.version) is None
    )
    found = []
    for release in itertools.chain(preferred, others):
        found.append(SourceState(release, tuple(_differences(git, tree, uncommitted, release))))
        if not found[-1].edits:
            return found[-1]
    # A release that is no longer pinned counts only if the folder is exactly that one.
    return min(found[: len(preferred)], key=lambda item: len(item.edits))


def source_warning(repo: Repository, lock: Lock) -> str | None:
    """Return what is wrong with `upstream/src/`, or None if it is the locked release or missing.

    Nothing is built from the folder.
    """
    if not repo.source.exists():
        return None
    found = nearest_release(repo, lock)
    if found.edits:
        files = ", ".join(found.edits[:5])
        return (
            f"upstream/src/ was edited and is not used, the pinned {lock.locked} is:"
            f" {files}; see `nox -s vendor`"
        )
    if found.release.version == lock.locked or found.release.tree == lock.locked_release.tree:
        return None
    way = "--subtree" if is_subtree(repo) else "--restore"
    return (
        f"upstream/src/ is {found.release.version}, and {lock.locked} is locked;"
        f" nox -s vendor -- {way}"
    )


def write_source(repo: Repository, release: Release) -> None:
    """Replace the folder with a release's files; a kill leaves the old one or the new one."""
    with repo.scratch() as folder:
        new = folder / "src"
        new.mkdir()
        repo.git.write_folder(release.tree, new)
        repo.replace({repo.source: new})


def edits_error(item: SourceState, hint: str) -> AttentionError:
    """Return an error that lists the edited vendored files, with what to do about them."""
    files = "\n".join(f"    {line}" for line in item.edits[:20])
    more = f"\n    and {len(item.edits) - 20} more" if len(item.edits) > 20 else ""
    return AttentionError(
        f"upstream/src/ is not release {item.release.version} as it was published;"
        f" nothing is built from it:\n{files}{more}",
        hint=hint,
    )


def _tree(repo: Repository) -> tuple[Git, str, list[str]]:
    """Return a handle that can read the folder's tree, that tree, and changes that are in no tree.

    If the folder is committed, the committed tree counts, because the work tree may have the user's
    line endings.
    """
    if not is_subtree(repo):
        with dataclasses.replace(repo.git, work_tree=repo.source).temporary_index() as handle:
            # A new file counts although upstream's own .gitignore may exclude it.
            handle.run("add", "--all", "--force", "--", ".")
            return repo.git, handle.text("write-tree"), []
    objects = user_git(
        repo.root, "rev-parse", "--path-format=absolute", "--git-path", "objects"
    ).text.strip()
    committed = user_git(repo.root, "rev-parse", "--verify", f"HEAD:./{PREFIX}").text.strip()
    changed = user_git(
        repo.root, "status", "--porcelain", "--untracked-files=all", "--", PREFIX
    ).text.splitlines()
    return (
        # The releases are in the private repository, the committed tree in the user's.
        dataclasses.replace(repo.git, extra_env={"GIT_ALTERNATE_OBJECT_DIRECTORIES": objects}),
        committed,
        changed,
    )


def _imported_releases(repo: Repository) -> Iterator[Release]:
    """Yield every release in the private repository, pinned or not, with only its ids."""
    names = "%(refname:lstrip=2) %(objectname) %(tree)"
    for line in repo.git.text("for-each-ref", f"--format={names}", "refs/tags").splitlines():
        version, commit, tree = line.split()
        yield Release(version, "", 0, "", datetime.fromtimestamp(0, UTC), tree, commit)


def _differences(git: Git, tree: str, uncommitted: list[str], release: Release) -> list[str]:
    words = (
        "diff-tree",
        "-r",
        "--name-status",
        "--no-renames",
        release.tree,
        tree,
        "--",
        ".",
        *_NOT_SOURCE,
    )
    return [*git.text(*words).replace("\t", " ").splitlines(), *uncommitted]
