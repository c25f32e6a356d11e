"""vendor --subtree: for a team that wants upstream in its own history, the real `git subtree` at `upstream/src`."""

from __future__ import annotations

from pathlib import Path

from scripts.errors import EnvironmentFailedError, UsageError
from scripts.model import Lock
from scripts.process import run
from scripts.repository import Repository

PREFIX = "upstream/src"
_IGNORED = f"/{PREFIX}/"


def is_subtree(repo: Repository) -> bool:
    """Tell whether upstream's files are committed here."""
    return bool(run(["git", "-C", repo.root, "ls-files", "--", PREFIX], ok=None).text.strip())


def to_subtree(repo: Repository, lock: Lock) -> None:
    """Add the locked release as a squashed subtree, or merge it into the one that is there.

    Uses the user's own git and identity, for these commits are the user's. Raises UsageError for uncommitted changes.
    """
    release = lock.release(lock.locked)
    assert release is not None
    _check_clean(repo)
    verb = "merge" if is_subtree(repo) else "add"
    aside = None
    if verb == "add":
        aside = _move_aside(repo)
        _stop_ignoring(repo)
    try:
        _git(repo, "fetch", "--quiet", "--no-tags", str(repo.git.git_dir), f"refs/tags/{release.version}")
        message = f"Vendor {lock.name} {release.version} as a subtree"
        _git(repo, "subtree", verb, f"--prefix={PREFIX}", "--squash", "-m", message, release.commit)
    except EnvironmentFailedError:
        if aside is not None:
            aside.replace(repo.source)
        raise


def _check_clean(repo: Repository) -> None:
    dirty = run(["git", "-C", repo.root, "status", "--porcelain", "--untracked-files=no"]).text.rstrip()
    if dirty:
        raise UsageError(f"commit these first, a subtree is a commit of its own:\n{dirty}", hint="git commit")


def _move_aside(repo: Repository) -> Path | None:
    """Move the ignored folder out of the way; it is the release's own files, so nothing is lost."""
    if not repo.source.exists():
        return None
    aside = repo.work / "src-before-subtree"
    if aside.exists():
        raise UsageError(f"{aside} is in the way", hint=f"look at it, then rm -r {aside}")
    repo.source.replace(aside)
    return aside


def _stop_ignoring(repo: Repository) -> None:
    """Remove the ignore line in a commit of its own."""
    path = repo.root / ".gitignore"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    kept = [line for line in lines if line.strip() != _IGNORED]
    if kept != lines:
        path.write_text("".join(kept))
        _git(repo, "add", "--", ".gitignore")
        _git(repo, "commit", "--quiet", "-m", f"Stop ignoring {PREFIX}: upstream becomes a subtree")


def _git(repo: Repository, *words: str) -> None:
    run(["git", *words], cwd=repo.root, hint="git subtree comes with git; some distributions package it as git-subtree")
