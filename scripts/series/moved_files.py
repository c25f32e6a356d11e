"""Where upstream moved a file that it rewrote so much that git, which wants half of it to stay, calls it gone."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import unidiff.patch

from scripts.core.git import Git

PERCENTAGES = (50, 30, 10, 1)
"""How much of two files must be alike, git's own measure first; the last one finds a small file that went into a large one."""

AROUND = 3
"""How many lines before and after a change tell whether the same code is elsewhere: the changed ones alone may be gone."""

CERTAIN = 40
"""From this percentage on two files are the same one, whatever became of the lines at a change."""


@dataclass(frozen=True)
class Move:
    """Where a file went, how much of it stayed in percent, and from which percentage on git finds that."""

    new: str
    stayed: int
    found_at: int

    def __str__(self) -> str:
        return f"{self.new} ({self.stayed} % alike)"


def moves(git: Git, old: str, new: str, gone: Collection[str]) -> dict[str, Move]:
    """Return where files of one commit went in another, by their old path; what is found nowhere is left out."""
    found: dict[str, Move] = {}
    for percentage in PERCENTAGES:
        words = (
            "diff-tree",
            "-r",
            "-z",
            f"--find-renames={percentage}%",
            "--diff-filter=R",
            "--name-status",
            old,
            new,
        )
        parts = iter(git.run(*words).text.split("\0"))
        for status, before, after in zip(parts, parts, parts, strict=False):
            if before in gone:
                found.setdefault(before, Move(after, int(status[1:]), percentage))
        if len(found) == len(gone):
            break
    return found


def fits(git: Git, new: str, move: Move, around: bytes, old: str) -> bool:
    """Return whether a third of the lines `around` a file's changes are where that file went, unless that is `CERTAIN`.

    Else it is another file.
    """
    if move.stayed >= CERTAIN:
        return True
    wanted = [
        line
        for hunk in _hunks(around, {old})
        for line in _expected(hunk).splitlines()
        if line.strip()
    ]
    there = set(_text(git, new, move.new).splitlines())
    return 3 * sum(line in there for line in wanted) >= len(wanted)


def places_of(
    git: Git, new: str, paths: Collection[str], diff: bytes, moved: Collection[str]
) -> list[list[str]]:
    """Return for each hunk of the moved files the places in `paths`, files of commit `new`, at which it fits.

    So little of such a file stayed that line numbers and the lines further away prove nothing.
    """
    texts = {path: "\n" + _text(git, new, path) for path in paths}
    wanted = [re.compile(f"(?=\n{re.escape(_expected(hunk))})") for hunk in _hunks(diff, moved)]
    return [
        [path for path, text in texts.items() for _ in place.finditer(text)] for place in wanted
    ]


def _hunks(diff: bytes, files: Collection[str]) -> Iterator[unidiff.patch.Hunk]:
    text = diff.decode(errors="replace").replace("\r\n", "\n")
    return (hunk for file in unidiff.patch.PatchSet(text) if file.path in files for hunk in file)


def _expected(hunk: unidiff.patch.Hunk) -> str:
    return "".join(line.value for line in hunk if not line.is_added)


def _text(git: Git, commit: str, path: str) -> str:
    return git.run("cat-file", "blob", f"{commit}:{path}").text.replace("\r\n", "\n")
