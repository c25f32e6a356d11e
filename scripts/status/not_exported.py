"""The way from the imported tree to a verdict: what is not exported or not committed yet.

`status` reads `patches/`, so what is only in the imported tree is not in its report.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress

from scripts.core.errors import ForkError, UsageError
from scripts.core.git import git_of
from scripts.core.lockfile import read_lock
from scripts.core.model import Feature, Lock, Verdict
from scripts.core.repository import Repository
from scripts.editing.branch import BranchCommit, uncommitted, work_tree
from scripts.editing.commit_message import read_message
from scripts.editing.trailer_places import with_places
from scripts.editing.unexported import unexported_work
from scripts.editing.ways import Progress, read_progress, ways_to_commit
from scripts.series.bases import several_bases
from scripts.series.override_files import matching_files, module_files, with_package_inits
from scripts.series.probe_files import new_names
from scripts.series.series import Series, not_in_order, read_with_problems
from scripts.series.trailers import Trailers
from scripts.verdicts.aggregate import Report


def read_exported(repo: Repository, lock: Lock, names: Sequence[str]) -> Series:
    """Read and check the series for a report on these features or patches, or on all.

    Raises UsageError for what is wrong with it, or if a name is that of a patch which is not
    exported yet. That is said first, because the series may lack what the export brings.
    """
    series, problems = read_with_problems(repo, lock)
    for name in names:
        if not series.features_named(name):
            _check_exported(repo, lock, series, name)
    problems += several_bases(series, lock)
    if problems:
        raise not_in_order(with_places(repo, lock, series, problems))
    return series


def _check_exported(repo: Repository, lock: Lock, series: Series, name: str) -> None:
    """Raise UsageError if a commit or a probe file has a name that no patch has."""
    tree = work_tree(repo, None)
    imported = (tree.place / ".git").exists()
    progress = read_progress(tree, lock) if imported else Progress((), (), None)
    commit = next((item for item in progress.commits if name in _names(progress, item)), None)
    has_probe = name in new_names(repo, series)
    if has_probe or commit:
        text = (
            f"{name} has a probe file but no patch yet"
            if has_probe
            else f"{name} is in the commit {commit.name if commit else ''}, which is not exported"
        )
        if commit:
            ways = [tree.export]
        else:
            ways = _ways_to_begin(repo, lock, name) if imported else [f"nox -s new -- {name}"]
        raise UsageError(text, hint="\n".join(ways))


def _ways_to_begin(repo: Repository, lock: Lock, name: str) -> list[str]:
    """Return the commands that lead from a probe file to a commit: the next one that is left."""
    tree = work_tree(repo, None)
    progress = read_progress(tree, lock)
    begun = any(name in (item.id, *item.features) for item in progress.begun)
    if begun and uncommitted(tree.place):
        return ways_to_commit(tree, progress)
    return [f"nox -s probe -- {name}" if begun else f"nox -s new -- {name}"]


def _names(progress: Progress, item: BranchCommit) -> tuple[str, ...]:
    """Return the ids that a commit has, or that it was begun with."""
    begun, found = progress.meant.get(item), Trailers(read_message(item.body).trailers)
    names = (*found.names("Id"), *found.names("Features"))
    return (*names, begun.id, *begun.features) if begun else names


def notices(repo: Repository, report: Report, names: Sequence[str]) -> Iterator[str]:
    """Yield what a person who works on a patch should know beside the report on `names`."""
    # What git cannot read is no work of this person, and no reason to refuse a report.
    with suppress(ForkError):
        work = unexported_work(repo, read_lock(repo.lock_file))
        if work:
            place = os.path.relpath(work_tree(repo, None).place, repo.root)
            yield (
                f"warning: {place} has {work}, and this report is about patches/\n"
                "  next: nox -s export"
            )
            return
    if names and not report.needs_attention:
        yield from _not_committed(repo, report)


def _not_committed(repo: Repository, report: Report) -> Iterator[str]:
    """Yield that files of features that are needed are not committed in this repository."""
    features = [item.feature for item in report.features if item.verdict is Verdict.NEEDED]
    names = sorted({name for feature in features for name in _files_with(repo, feature)})
    words = ("status", "--porcelain", "-z", "--untracked-files=all", "--", *names)
    done = git_of(repo.root, *words) if names else None
    changed = done.text.split("\0") if done and not done.code else []
    # git names files from the top of its repository, in which the fork may be a folder.
    left = [name for name in names if any(f"/{line[3:]}".endswith(f"/{name}") for line in changed)]
    if left:
        yield f"not committed here yet: {', '.join(left)}\n  next: git add --all && git commit"


def _files_with(repo: Repository, feature: Feature) -> Iterator[str]:
    """Yield the files of the repository that a feature's patch is committed with."""
    patch, there = feature.patch, module_files(repo.overrides)
    modules = {file for name in patch.overrides for file in matching_files(name, there)}
    own = (repo.overrides / file for file in with_package_inits(modules, repo.overrides))
    for path in (
        patch.path,
        feature.record,
        repo.patches / "series",
        repo.root / "README.md",
        *own,
    ):
        yield path.relative_to(repo.root).as_posix()
