"""import: create a work tree in which the series is a branch and a patch is a commit.

It is edited with ordinary git.
"""

from __future__ import annotations

from pathlib import Path

from scripts.core.errors import AttentionError, UsageError
from scripts.core.git import Git, disable_conversions, sealed_environment
from scripts.core.lockfile import read_lock
from scripts.core.model import Lock
from scripts.core.repository import Repository
from scripts.core.result_cache import ResultCache
from scripts.core.subprocesses import run
from scripts.core.temporary import temporary_folder
from scripts.editing.import_record import BEGAN, Digests, digests, write_record
from scripts.series.apply import TreeBuilder
from scripts.series.series import read_series
from scripts.upstream.vendor import ensure_releases

BRANCH = "series"


def import_series(repo: Repository, folder: Path | None = None) -> Path:
    """Write the series into a new repository at `folder`, and return that folder.

    Raises UsageError if the folder is not empty, and AttentionError if a patch does not apply on
    its own base.
    """
    place = branch_folder(repo, folder)
    with repo.exclusive():
        write_branch(repo, place)
    return place


def write_branch(repo: Repository, place: Path) -> None:
    """Do what `import_series` does, in a run that holds the lock."""
    if place.exists() and any(place.iterdir()):
        raise UsageError(
            f"{place} is not empty",
            hint=f"export what is in it (nox -s export), or remove it: rm -rf {place}",
        )
    lock = read_lock(repo.lock_file)
    ensure_releases(repo, lock)
    seen = digests(repo.patches)
    head = series_head(repo, lock)
    _clone(repo.git, head, place, seen)


def branch_folder(repo: Repository, folder: Path | None) -> Path:
    """Return the folder asked for, or the default one."""
    return folder.absolute() if folder else repo.work / "series"


def series_head(repo: Repository, lock: Lock) -> str:
    """Return the commit of the last patch, built on its base, or else the locked release's.

    Raises UsageError if the patches are not in order, and AttentionError if one does not apply.
    """
    series = read_series(repo, lock, one_base=False)
    made = TreeBuilder(repo, lock, series, ResultCache(repo.work / "results")).commits(
        series.active
    )
    if made.failed:
        wrong = "\n".join(f"{name} {step.detail}" for name, step in made.failed.items())
        raise AttentionError(wrong, hint="fix the patch file")
    return made.ids[series.active[-1].id] if series.active else lock.locked_release.commit


def _clone(git: Git, head: str, place: Path, seen: Digests) -> None:
    """Create a repository of its own, complete or not at all.

    Removing `.fork/` or this folder never damages the other.
    """
    git.run("update-ref", "refs/fork/series", head)
    place.parent.mkdir(parents=True, exist_ok=True)
    env = sealed_environment()
    with temporary_folder(place.parent) as folder:
        new = folder / "series"
        run(["git", "init", "--quiet", f"--initial-branch={BRANCH}", new], env=env)
        # A person's own git works here, whose settings may convert line endings.
        disable_conversions(new / ".git")
        run(["git", "config", "core.autocrlf", "false"], env=env, cwd=new)
        # With the tags, the branch can be rebased onto another release.
        refs = ("+refs/tags/*:refs/tags/*", "refs/fork/series")
        run(["git", "fetch", "--quiet", git.git_dir.absolute(), *refs], env=env, cwd=new)
        run(["git", "reset", "--quiet", "--hard", head], env=env, cwd=new)
        write_record(new, seen, head)
        run(["git", "update-ref", BEGAN, head], env=env, cwd=new)
        # So that `git add --all` takes what a person wrote, and nothing that Python did.
        (new / ".git" / "info" / "exclude").write_text("__pycache__/\n", encoding="utf-8")
        new.replace(place)
