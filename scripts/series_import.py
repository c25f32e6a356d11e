"""import: a work tree in which the series is a branch and a patch is a commit, to edit with ordinary git."""

from __future__ import annotations

from pathlib import Path

from scripts.apply import Workshop
from scripts.errors import AttentionError, UsageError
from scripts.git import Git, sealed_environment
from scripts.lock import read_lock
from scripts.process import run
from scripts.repository import Repository
from scripts.series import read_series
from scripts.store import Store
from scripts.vendor import bring

BRANCH = "series"


def import_series(repo: Repository, folder: Path | None = None) -> Path:
    """Write the series into a new repository at `folder` and return the place.

    Raises UsageError where the folder is taken, AttentionError where a patch does not apply on its own base.
    """
    place = default_place(repo, folder)
    if place.exists() and any(place.iterdir()):
        raise UsageError(f"{place} is not empty", hint=f"export what is in it (nox -s export), or remove it: rm -r {place}")
    lock = read_lock(repo.lock_file)
    with repo.alone():
        bring(repo, lock)
        series = read_series(repo, lock)
        shop = Workshop(repo, lock, series, Store(repo.work / "results"))
        made = shop.commits(series.active)
        if made.failed:
            raise AttentionError(
                "\n".join(f"{name} {step.detail}" for name, step in made.failed.items()), hint="mend the patch file"
            )
        release = lock.release(series.active[-1].base if series.active else lock.locked)
        assert release is not None
        head = made.ids[series.active[-1].id] if series.active else release.commit
        _clone(repo.git, head, place)
    return place


def default_place(repo: Repository, folder: Path | None) -> Path:
    """Return the folder asked for, or the usual one."""
    return folder.absolute() if folder else repo.work / "series"


def _clone(git: Git, head: str, place: Path) -> None:
    """Make a repository of its own: removing `.fork/` or this folder never damages the other."""
    git.run("update-ref", "refs/fork/series", head)
    env = sealed_environment()
    run(["git", "init", "--quiet", f"--initial-branch={BRANCH}", place], env=env)
    run(["git", "-C", place, "config", "core.autocrlf", "false"], env=env)
    source = git.git_dir.absolute()
    run(["git", "-C", place, "fetch", "--quiet", source, "+refs/tags/*:refs/tags/*", "refs/fork/series"], env=env)
    run(["git", "-C", place, "reset", "--quiet", "--hard", head], env=env)
