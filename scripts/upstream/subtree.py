"""vendor --subtree: put upstream into the user's history: a real git subtree at `upstream/src`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from scripts.core.errors import UsageError
from scripts.core.git import user_git
from scripts.core.model import Lock
from scripts.core.repository import Repository
from scripts.upstream.source_tree import PREFIX, edits_error, is_subtree, nearest_release

_IGNORED = f"/{PREFIX}/"


def add_or_merge_subtree(repo: Repository, lock: Lock) -> None:
    """Add the locked release as a squashed subtree, or merge it into the existing one.

    Uses the user's own git and identity, because these commits are the user's. Raises UsageError
    for uncommitted changes and AttentionError for edits in what is committed. After any failure the
    clone is as it was before.
    """
    _check_ready(repo)
    if not is_subtree(repo):
        with _moved_aside(repo), _undone_on_failure(repo):
            _stop_ignoring(repo)
            _run_subtree(repo, lock, "add")
        return
    found = nearest_release(repo, lock)
    if found.edits:
        raise edits_error(
            found,
            "keep the change as a patch (nox -s import) and take it back (git revert),"
            " then run this again",
        )
    if found.release.tree != lock.locked_release.tree:
        with _undone_on_failure(repo):
            _run_subtree(repo, lock, "merge")


def _check_ready(repo: Repository) -> None:
    """Raise an error unless the folder is the top of a clean clone with a git identity."""
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
    """Reset to the earlier commit if a step fails; nothing is lost, as all was committed."""
    before = user_git(
        repo.root, "rev-parse", "--verify", "HEAD", hint="commit something first"
    ).text.strip()
    try:
        yield
    except BaseException:  # Ctrl-C too
        user_git(repo.root, "reset", "--quiet", "--hard", before)
        raise


@contextmanager
def _moved_aside(repo: Repository) -> Iterator[None]:
    """Move the ignored folder, which holds only the release's files, away while git writes it."""
    with repo.scratch() as folder:
        aside = folder / "src"
        repo.source.replace(aside)
        try:
            yield
        finally:
            # git has not written it.
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


def _run_subtree(repo: Repository, lock: Lock, verb: str) -> None:
    """Run `git subtree` with the release's commit, which is first fetched into the clone."""
    release = lock.locked_release
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
