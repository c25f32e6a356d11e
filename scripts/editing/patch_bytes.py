"""The bytes of each patch file that `export` writes: those that are there, as far as they hold."""

from __future__ import annotations

import email
import re
from collections.abc import Sequence
from datetime import datetime

from scripts.core.git import git_of
from scripts.core.model import Lock
from scripts.core.repository import Repository
from scripts.editing.round_trip import ExportedPatch, tree_builder
from scripts.series.apply import SeriesCommits, format_patch
from scripts.series.patch_file import read_mail, with_trailers
from scripts.series.series import Series

_INDEX_LINE = re.compile(rb"^index [0-9a-f]+\.\.[0-9a-f]+( \d+)?$", re.MULTILINE)
_HUNK_PLACE = re.compile(rb"^@@ -[0-9,]+ \+[0-9,]+ @@", re.MULTILINE)


def export_patches(
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
        if old and not kept:
            dated, content = _as_committed(repo, old.path.name, mail) or (dated, content)
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


def _as_committed(repo: Repository, name: str, mail: bytes) -> tuple[bytes, bytes] | None:
    """Return a mail and its file as the fork's own repository has them, if they are the same.

    So a change that is taken back leaves no difference, such as blob ids that are older than an
    earlier patch.
    """
    done = git_of(repo.root, "show", f"HEAD:./{repo.patches.name}/{name}")
    if done.code or _content(done.stdout) != _content(mail):
        return None
    date = read_mail(done.stdout).fields.value("Last-Update")
    return with_trailers(mail, {"Last-Update": date or None}), done.stdout


def _content(mail: bytes) -> tuple[object, ...]:
    """Return what a patch is: its author, its message without the date, and its change."""
    found, head = read_mail(mail), email.message_from_bytes(mail)
    trailers = [pair for pair in found.trailers if pair[0] != "Last-Update"]
    diff = _INDEX_LINE.sub(b"", mail.partition(b"\ndiff --git ")[2])
    return head["From"], head["Date"], found.title, found.body, trailers, diff


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
