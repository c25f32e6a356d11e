"""`upstream/src/`: which release it holds, what somebody changed in it, and how it is written."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from scripts.errors import AttentionError
from scripts.git import Git, user_git
from scripts.model import Lock, Release
from scripts.repository import Repository

PREFIX = "upstream/src"
_NOT_SOURCE = (":(exclude,glob)**/__pycache__/**", ":(exclude,glob)**/*.pyc")


@dataclass(frozen=True)
class Standing:
    """The pinned release that the folder is nearest to, and what differs from it (status and name)."""

    release: Release
    edits: tuple[str, ...]


def is_subtree(repo: Repository) -> bool:
    """Tell whether upstream's files are committed in the user's history."""
    return user_git(repo.root, "rev-parse", "--verify", "--quiet", f"HEAD:./{PREFIX}", ok=None).code == 0


def edited_source(repo: Repository, release: Release) -> list[str]:
    """List the files of `upstream/src/` that are not the release's; a folder that is not there has none."""
    if not repo.source.exists():
        return []
    return _differences(*_tree(repo), release)


def standing(repo: Repository, lock: Lock) -> Standing:
    """Say which pinned release `upstream/src/` is, or is nearest to; among equals the locked one, then the newest."""
    git, tree, uncommitted = _tree(repo)
    preferred = sorted(lock.releases, key=lambda release: (release.version == lock.locked, release.key), reverse=True)
    found = (Standing(release, tuple(_differences(git, tree, uncommitted, release))) for release in preferred)
    return min(found, key=lambda item: len(item.edits))


def write_source(repo: Repository, release: Release) -> None:
    """Write the folder anew; a kill leaves the old one or the new one."""
    with repo.scratch() as folder:
        new = folder / "src"
        new.mkdir()
        repo.git.write_folder(release.tree, new)
        repo.replace({repo.source: new})


def edits_error(item: Standing, hint: str) -> AttentionError:
    """Say which vendored files somebody changed, and what to do with such a change."""
    files = "\n".join(f"    {line}" for line in item.edits[:20])
    more = f"\n    and {len(item.edits) - 20} more" if len(item.edits) > 20 else ""
    return AttentionError(
        f"upstream/src/ is not release {item.release.version} as it was published; nothing is built from it:\n{files}{more}",
        hint=hint,
    )


def _tree(repo: Repository) -> tuple[Git, str, list[str]]:
    """Return the folder's tree, a handle that can read it, and changes that are in no tree.

    A committed folder is judged by what is committed: a user's line endings may stand in its work tree.
    """
    if not is_subtree(repo):
        with dataclasses.replace(repo.git, work_tree=repo.source).index() as handle:
            handle.run("add", "--all", "--force", "--", ".")
            return repo.git, handle.text("write-tree"), []
    objects = user_git(repo.root, "rev-parse", "--path-format=absolute", "--git-path", "objects").text.strip()
    committed = user_git(repo.root, "rev-parse", "--verify", f"HEAD:./{PREFIX}").text.strip()
    changed = user_git(repo.root, "status", "--porcelain", "--untracked-files=all", "--", PREFIX).text.splitlines()
    return dataclasses.replace(repo.git, extra={"GIT_ALTERNATE_OBJECT_DIRECTORIES": objects}), committed, changed


def _differences(git: Git, tree: str, uncommitted: list[str], release: Release) -> list[str]:
    words = ("diff-tree", "-r", "--name-status", "--no-renames", release.tree, tree, "--", ".", *_NOT_SOURCE)
    return [*git.text(*words).replace("\t", " ").splitlines(), *uncommitted]
