"""export: write the branch that `import` made back to `patches/`.

A patch that did not change keeps every byte.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from scripts.core.console import info
from scripts.core.git import Git, user_git
from scripts.core.lockfile import read_lock
from scripts.core.model import Lock
from scripts.core.repository import Repository
from scripts.editing.branch import (
    MESSAGES,
    REF,
    Branch,
    BranchCommit,
    check_imported,
    check_messages,
    check_ready,
    fetch_branch,
    read_commits,
)
from scripts.editing.fixups import fold_fixups
from scripts.editing.import_branch import branch_folder
from scripts.editing.import_record import digests, write_record
from scripts.editing.overwrites import check_overwrites
from scripts.editing.round_trip import ExportedPatch, check_round_trip, tree_builder
from scripts.editing.stray_modules import check_no_stray_modules
from scripts.series.apply import SeriesCommits, format_patch
from scripts.series.patch_file import read_mail, with_trailers
from scripts.series.series import Series, read_with_problems

_INDEX_LINE = re.compile(rb"^index [0-9a-f]+\.\.[0-9a-f]+( \d+)?$", re.MULTILINE)
_HUNK_PLACE = re.compile(rb"^@@ -[0-9,]+ \+[0-9,]+ @@", re.MULTILINE)


def export_series(repo: Repository, folder: Path | None = None) -> list[str]:
    """Write the branch in `folder` as the series, and return what changed, one line each.

    Raises UsageError for a folder that is not ready and for messages that lack something, and
    AttentionError if a file changed since the import, or if the written files, applied again, do
    not give the branch's own commits.
    """
    place = branch_folder(repo, folder)
    with repo.exclusive():
        lock = read_lock(repo.lock_file)
        check_imported(place, folder)
        check_no_stray_modules(repo, place)
        check_ready(place, folder)
        branch = _fold(repo, fetch_branch(repo.git, lock, place))
        commits = read_commits(repo.git, branch)
        # The export itself solves problems such as several bases.
        series, _ = read_with_problems(repo, lock)
        check_messages(place, commits, {patch.id: patch.path.name for patch in series.retired})
        written = _export_patches(repo, lock, series, _mails(repo.git, branch, commits))
        with repo.scratch() as scratch:
            new = scratch / "patches"
            _write(repo, series, written, new)
            seen, changed = digests(new), _changes(repo.patches, new)
            check_overwrites(repo, branch, commits, seen)
            check_round_trip(repo, lock, series, branch, commits, written, new)
            if changed:
                repo.replace({repo.patches: new})
        write_record(place, seen, branch.head)
        for item in commits:
            (place / MESSAGES / item.id).unlink(missing_ok=True)
    return changed


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


def _export_patches(
    repo: Repository, lock: Lock, series: Series, mails: dict[str, bytes]
) -> list[ExportedPatch]:
    """Return every patch file of the branch, in order; an unchanged patch keeps its bytes."""
    before = {patch.id: patch for patch in series.active}
    made = _earlier_commits(repo, lock, series)
    names = _new_file_names(repo, [name for name in mails if name not in before])
    found = []
    for name, mail in mails.items():
        old = before.get(name)
        earlier = format_patch(repo.git, made.ids[name]) if old and name in made.ids else b""
        dated, kept = _with_date(mail, earlier)
        content = old.path.read_bytes() if old and kept else dated
        found.append(ExportedPatch(name, dated, old.path.name if old else names[name], content))
    return found


def _with_date(mail: bytes, earlier: bytes) -> tuple[bytes, bool]:
    """Return a mail with its `Last-Update:`, and whether it is the earlier one.

    A patch keeps its date if nothing of it changed but its place in the files.
    """
    date = read_mail(earlier).fields.value("Last-Update")
    kept = with_trailers(mail, {"Last-Update": date}) if date else b""
    if not kept or _without_places(kept) != _without_places(earlier):
        today = datetime.now().astimezone().date().isoformat()
        return with_trailers(mail, {"Last-Update": today}), False
    return kept, _is_same_mail(kept, earlier)


def _earlier_commits(repo: Repository, lock: Lock, series: Series) -> SeriesCommits:
    """Build the series as it was before the export.

    Without a single pinned base nothing is built, and every patch is written anew.
    """
    bases = {patch.base for patch in series.active}
    if len(bases) != 1 or lock.release(next(iter(bases))) is None:
        return SeriesCommits({}, {})
    return tree_builder(repo, lock, series).commits(series.active)


def _new_file_names(repo: Repository, ids: Sequence[str]) -> dict[str, str]:
    """Return file names for new patches, with the next numbers."""
    numbers = [int(path.name[:4]) for path in repo.patches.glob("[0-9][0-9][0-9][0-9]-*.patch")]
    return {
        name: f"{number:04}-{name}.patch"
        for number, name in enumerate(ids, max(numbers, default=0) + 1)
    }


def _is_same_mail(before: bytes, after: bytes) -> bool:
    """Return whether two mails differ only in blob ids, which an earlier patch can change."""
    return _INDEX_LINE.sub(b"", before) == _INDEX_LINE.sub(b"", after)


def _without_places(mail: bytes) -> bytes:
    return _HUNK_PLACE.sub(b"@@", _INDEX_LINE.sub(b"", mail))


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
