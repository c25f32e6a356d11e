"""The hunks of a patch's diff, and the lines in it that git would drop."""

from __future__ import annotations

import re
from collections.abc import Iterator

import unidiff.errors
import unidiff.patch

from scripts.core.errors import Problem
from scripts.core.model import Hunk

_HUNK = re.compile(r"^@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_BETWEEN_HUNKS = re.compile(
    r"^(diff --git |index |(old|new|deleted) (file )?mode |(dis)?similarity |rename |copy "
    r"|--- |\+\+\+ |\\ No newline|$)"
)


def read_hunks(diff: str) -> tuple[tuple[Hunk, ...], int, list[Problem]]:
    """Return the hunks of a diff, how many lines they add and remove, and what is wrong with it."""
    try:
        # The line above a mail's signature begins with `-`, but removes nothing.
        files = unidiff.patch.PatchSet(diff.replace("\n-- \n", "\n") if diff else "")
    except unidiff.errors.UnidiffParseError as error:
        problem = Problem(
            f"its diff is unreadable: {error}",
            "make the counts after its `@@` those of the lines below, or take back the edit",
        )
        return (), 0, [problem]
    problems = [
        Problem(
            f"the line {line!r} is in no hunk, git would drop it",
            "delete it, or count it in the numbers after the `@@` above",
        )
        for line in _stray_lines(diff)
    ]
    hunks = [
        Hunk(
            file.path,
            (hunk.source_start, hunk.source_length),
            (hunk.target_start, hunk.target_length),
            tuple(line.value.rstrip("\r\n") for line in hunk if line.is_added),
        )
        for file in files
        for hunk in file
    ]
    return tuple(hunks), sum(file.added + file.removed for file in files), problems


def _stray_lines(diff: str) -> Iterator[str]:
    """Yield lines of a diff that are in no hunk and no header, which git would drop.

    It stops at a binary part or a signature.
    """
    old = new = 0
    for line in diff.split("\n"):
        if old > 0 or new > 0:
            old -= line[:1] in {"", " ", "-"}
            new -= line[:1] in {"", " ", "+"}
        elif found := _HUNK.match(line):
            old, new = (int(found[number] or 1) for number in (1, 2))
        elif line in {"-- ", "GIT binary patch"}:
            return
        elif not _BETWEEN_HUNKS.match(line):
            yield line
