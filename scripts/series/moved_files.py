"""Find where upstream moved a file that it rewrote so much that git reports it as deleted.

Git's default is to require that half of the file is unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import unidiff.patch

from scripts.core.git import Git

RENAME_THRESHOLDS = (50, 30, 10, 1)
"""Similarities in percent to search with, git's default first.

The last one finds a small file that was merged into a large one.
"""

CONTEXT_LINES = 3
"""How many lines before and after a change are searched elsewhere.

The changed lines alone do not suffice, because they may be gone.
"""

CERTAIN_SIMILARITY = 40
"""From this percentage on, two files are the same one, whatever happened to the changed lines."""


@dataclass(frozen=True)
class Move:
    """Where a file went, its similarity in percent, and the percentage with which git finds it."""

    new: str
    similarity: int
    threshold: int

    def __str__(self) -> str:
        return f"{self.new} ({self.similarity} % alike)"


def find_moves(git: Git, old: str, new: str, gone: Collection[str]) -> dict[str, Move]:
    """Return where the files in `gone` went between two commits, by old path, as far as found."""
    found: dict[str, Move] = {}
    for percentage in RENAME_THRESHOLDS:
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
        # The list ends with NUL, so an empty part is left over.
        for status, before, after in zip(parts, parts, parts, strict=False):
            if before in gone:
                found.setdefault(before, Move(after, int(status[1:]), percentage))
        if len(found) == len(gone):
            break
    return found


def is_same_file(git: Git, new: str, move: Move, context: bytes, old: str) -> bool:
    """Return whether the file that git found is the moved file, not another one.

    It is if its similarity is certain, or if at least a third of the lines of `context` are in it.
    """
    if move.similarity >= CERTAIN_SIMILARITY:
        return True
    wanted = [
        line
        for hunk in _hunks(context, {old})
        for line in _expected(hunk).splitlines()
        if line.strip()
    ]
    lines_there = set(_text(git, new, move.new).splitlines())
    return 3 * sum(line in lines_there for line in wanted) >= len(wanted)


def matching_paths(
    git: Git, new: str, paths: Collection[str], diff: bytes, moved: Collection[str]
) -> list[list[str]]:
    """Return for each hunk of the moved files the paths at which it fits, once for each place.

    `paths` are files of commit `new`. So little of a moved file is unchanged that line numbers and
    distant lines prove nothing.
    """
    texts = {path: "\n" + _text(git, new, path) for path in paths}
    # The lookahead also finds places that overlap.
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
