"""export: write the branch that `import` made back to `patches/`.

A patch that did not change keeps every byte.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scripts.core.console import info
from scripts.core.errors import Problem
from scripts.core.git import Git, user_git
from scripts.core.lockfile import read_lock
from scripts.core.model import Lock
from scripts.core.repository import Repository
from scripts.editing.begun import MESSAGES
from scripts.editing.branch import (
    REF,
    Branch,
    BranchCommit,
    check_imported,
    check_on_branch,
    fetch_branch,
    read_commits,
    work_tree,
)
from scripts.editing.commit_checks import (
    Checked,
    as_patches,
    check_commits,
)
from scripts.editing.fixups import fold_fixups
from scripts.editing.import_record import digests, write_record
from scripts.editing.overwrites import check_overwrites
from scripts.editing.patch_bytes import export_patches
from scripts.editing.round_trip import ExportedPatch, check_round_trip
from scripts.editing.stray_modules import check_no_stray_modules
from scripts.editing.ways import (
    begun_elsewhere,
    check_committed,
    read_progress,
)
from scripts.series.apply import format_patch
from scripts.series.patch_file import with_trailers
from scripts.series.series import Series, read_with_problems


@dataclass(frozen=True)
class ExportResult:
    """What an export changed, one line each, and what is worth a look."""

    changed: tuple[str, ...]
    warnings: tuple[Problem, ...]


def export_series(repo: Repository, folder: Path | None = None) -> ExportResult:
    """Write the branch in `folder` as the series.

    Raises UsageError for a folder that is not ready and for commits that lack something, and
    AttentionError if a file changed since the import, or if the written files, applied again, do
    not give the branch's own commits.
    """
    tree = work_tree(repo, folder)
    with repo.exclusive():
        lock = read_lock(repo.lock_file)
        check_imported(tree.place, folder)
        check_no_stray_modules(repo, tree.place)
        check_on_branch(tree)
        check_committed(tree, lock)
        branch = _fold(repo, fetch_branch(repo.git, lock, tree))
        # The export itself solves problems such as several bases.
        series, _ = read_with_problems(repo, lock)
        checked = _check(repo, lock, branch, series)
        commits = checked.progress.commits
        written = export_patches(repo, lock, series, _mails(repo.git, branch, commits))
        with repo.scratch() as scratch:
            new = scratch / "patches"
            _write(repo, series, written, new)
            seen, changed = digests(new), _changes(repo.patches, new)
            check_overwrites(repo, lock, branch, commits, seen)
            check_round_trip(repo, lock, series, branch, commits, written, new)
            if changed:
                repo.replace({repo.patches: new})
        warnings = tuple(_warnings(checked, lock, changed, written))
        write_record(tree.place, seen, branch.head)
        for item in commits:
            (tree.place / MESSAGES / item.id).unlink(missing_ok=True)
    return ExportResult(tuple(changed), warnings)


def _check(repo: Repository, lock: Lock, branch: Branch, series: Series) -> Checked:
    """Return the commits of a branch as patches; raises UsageError for what they lack."""
    commits = read_commits(repo.git, branch)
    mails = {item: format_patch(repo.git, item.commit) for item in commits}
    progress = read_progress(branch.tree, lock)
    checked = Checked(
        repo,
        branch,
        replace(progress, commits=tuple(commits)),
        series,
        as_patches(repo, series, mails),
    )
    check_commits(checked)
    return checked


def _warnings(
    checked: Checked, lock: Lock, changed: Collection[str], written: Sequence[ExportedPatch]
) -> Iterator[Problem]:
    """Yield what is worth a look; the record must still be that of the last export."""
    tree, progress = checked.branch.tree, checked.progress
    names = {item.id: item.name for item in written}
    touched = [
        item
        for item in progress.commits
        if not progress.is_own(item) and f"changed: patches/{names[item.id]}" in changed
    ]
    if progress.begun and touched:
        yield begun_elsewhere(tree, lock, progress, touched, [names[item.id] for item in touched])


def _fold(repo: Repository, branch: Branch) -> Branch:
    """Fold `fixup!` commits in, here and in the work tree, whose files stay as they are."""
    head, folded = fold_fixups(repo.git, branch)
    if not folded:
        return branch
    repo.git.run("update-ref", REF, head)
    user_git(branch.place, "fetch", "--quiet", "--no-tags", repo.git.git_dir.absolute(), REF)
    user_git(branch.place, "reset", "--quiet", "--soft", head)
    info("".join(f"folded in: {line}\n" for line in folded).rstrip())
    return replace(branch, head=head)


def _mails(git: Git, branch: Branch, commits: Sequence[BranchCommit]) -> dict[str, bytes]:
    """Return every commit as a mail, by its id, whose `Base:` is the release it is based on."""
    base = {"Base": branch.base.version}
    return {item.id: with_trailers(format_patch(git, item.commit), base) for item in commits}


def _write(repo: Repository, series: Series, written: list[ExportedPatch], new: Path) -> None:
    """Write the whole new folder without touching the old one."""
    shutil.copytree(repo.patches, new)
    for patch in series.active:
        (new / patch.path.name).unlink(missing_ok=True)
    for item in written:
        (new / item.name).write_bytes(item.content)
    listing = repo.patches / "series"
    old = listing.read_text(encoding="utf-8") if listing.exists() else ""
    (new / "series").write_text(
        _series_file(old, [item.name for item in written]), encoding="utf-8"
    )


def _series_file(old: str, names: list[str]) -> str:
    """Return the new text of `series`.

    The head stays. A comment stays with the name below it, or moves to the next name that is left.
    """
    lines = old.splitlines()
    listed = [line.split("#")[0].strip() for line in lines]
    if [name for name in listed if name] == names:
        return old
    head, above, line_of, waiting = [], dict[str, list[str]](), dict[str, str](), list[str]()
    for line, name in zip(lines, listed, strict=True):
        if not name and not line_of:
            head.append(line)
        elif not name:
            waiting.append(line)
        else:
            line_of[name] = line
            if name in names:
                above[name], waiting = waiting, []
    body = [line for name in names for line in (*above.get(name, ()), line_of.get(name, name))]
    return "".join(f"{line}\n" for line in (*head, *body, *waiting))


def _changes(old: Path, new: Path) -> list[str]:
    """Return the new, changed and removed files between two folders of patches."""
    names = sorted(
        {path.name for folder in (old, new) for path in folder.iterdir() if path.is_file()}
    )
    found = []
    for name in names:
        before, after = old / name, new / name
        if not before.exists():
            found.append(f"new: patches/{name}")
        elif not after.exists():
            found.append(f"gone: patches/{name}")
        elif before.read_bytes() != after.read_bytes():
            found.append(f"changed: patches/{name}")
    return found
