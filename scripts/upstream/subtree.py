"""vendor --subtree: for a team that wants upstream in its own history, the real `git subtree` at `upstream/src`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from scripts.core.errors import UsageError
from scripts.core.git import user_git
from scripts.core.model import Lock
from scripts.core.repository import Repository
from scripts.upstream.source_tree import PREFIX, edits_error, is_subtree, standing

_IGNORED = f"/{PREFIX}/"


def to_subtree(repo: Repository, lock: Lock) -> None:
    """Add the locked release as a squashed subtree, or merge it into the one that is there.

    Uses the user's own git and identity, for these commits are the user's. Raises UsageError for uncommitted changes and
    AttentionError for changes in what is committed; whatever fails, the clone is as it was before.
    """
    _check_ready(repo)
    if not is_subtree(repo):
        with _moved_aside(repo), _undone_on_failure(repo):
            _stop_ignoring(repo)
            _subtree(repo, lock, "add")
        return
    found = standing(repo, lock)
    if found.edits:
        raise edits_error(
            found,
            "keep the change as a patch (nox -s import) and take it back (git revert), then run this again",
        )
    if found.release.tree != lock.current.tree:
        with _undone_on_failure(repo):
            _subtree(repo, lock, "merge")


def _check_ready(repo: Repository) -> None:
    """Refuse a folder that is not a clone's own, has changes nobody committed, or knows nobody to commit as."""
    if user_git(
        repo.root, "rev-parse", "--show-prefix", hint="git init && git add --all && git commit"
    ).text.strip():
        raise UsageError(
            f"{repo.root} is inside a larger repository; git subtree works at its top",
            hint="use a clone of its own",
        )
    dirty = user_git(repo.root, "status", "--porcelain", "--untracked-files=no").text.rstrip()
    if dirty:
        raise UsageError(
            f"commit these first, a subtree is a commit of its own:\n{dirty}",
            hint="git commit --all\ngit reset --hard  # where an earlier --subtree was killed",
        )
    for who in ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"):
        user_git(
            repo.root, "var", who, hint="git config user.name NAME && git config user.email ADDRESS"
        )


@contextmanager
def _undone_on_failure(repo: Repository) -> Iterator[None]:
    """Take the commits back where one of the steps fails; nothing else can be lost, for nothing was uncommitted."""
    before = user_git(
        repo.root, "rev-parse", "--verify", "HEAD", hint="commit something first"
    ).text.strip()
    try:
        yield
    except BaseException:
        user_git(repo.root, "reset", "--quiet", "--hard", before)
        raise


@contextmanager
def _moved_aside(repo: Repository) -> Iterator[None]:
    """Move the ignored folder, which is the release's own files, out of the way while git writes it anew."""
    with repo.scratch() as folder:
        aside = folder / "src"
        repo.source.replace(aside)
        try:
            yield
        finally:
            if not repo.source.exists():
                aside.replace(repo.source)


def _stop_ignoring(repo: Repository) -> None:
    """Remove the ignore line in a commit of its own."""
    path = repo.root / ".gitignore"
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    kept = [line for line in lines if line.strip() != _IGNORED.encode()]
    if kept != lines:
        path.write_bytes(b"".join(kept))
        message = f"Stop ignoring {PREFIX}: upstream becomes a subtree"
        user_git(repo.root, "commit", "--quiet", "-m", message, "--", ".gitignore")


def _subtree(repo: Repository, lock: Lock, verb: str) -> None:
    """Run `git subtree` on the release's commit, which the clone is given first."""
    release = lock.current
    user_git(
        repo.root, "fetch", "--quiet", "--no-tags", repo.git.git_dir, f"refs/tags/{release.version}"
    )
    message = f"Vendor {lock.name} {release.version} as a subtree"
    hint = "git subtree comes with git; some distributions package it as git-subtree"
    user_git(
        repo.root,
        "subtree",
        verb,
        f"--prefix={PREFIX}",
        "--squash",
        "-m",
        message,
        release.commit,
        hint=hint,
    )
