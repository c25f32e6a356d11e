"""Trailers: the lines `Name: value` at the end of a patch's message and of a feature's record.

They are read as git reads them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from scripts.core.errors import Problem

_TRAILER = re.compile(r"^([A-Za-z][A-Za-z-]*):[ \t]+(\S.*)$")

_NAME = re.compile(r"^([A-Z][A-Za-z]*(?:-[A-Z][A-Za-z]*)*)(?::\s*(.*)|\s+(\S+))$")
"""A name with its colon, or a name and one word: a trailer that lacks something."""

# `git am` ends the message at such a line.
_LOOKS_LIKE_PATCH = re.compile(r"^(---|diff |Index: )")


class Trailers:
    """Trailers in order; a name may be repeated."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self.pairs = tuple(pairs)

    def values(self, name: str) -> list[str]:
        """Return the values of a trailer, in order."""
        return [value for key, value in self.pairs if key == name]

    def value(self, name: str) -> str:
        """Return a trailer's first value, or the empty string."""
        return next(iter(self.values(name)), "")

    def names(self, name: str) -> tuple[str, ...]:
        """Return a trailer's comma-separated names."""
        return tuple(
            word.strip() for value in self.values(name) for word in value.split(",") if word.strip()
        )


def read_trailers(paragraph: str) -> tuple[list[tuple[str, str]], list[Problem]]:
    """Parse a paragraph, and return its trailers and its problems.

    A line that is no trailer is a problem, because git would then read no trailer at all.
    """
    found: list[tuple[str, str]] = []
    problems: list[Problem] = []
    for line in paragraph.splitlines():
        match = _TRAILER.match(line)
        if match:
            found.append((match[1], match[2].strip()))
        elif line[:1] in (" ", "\t") and found:
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
        else:
            text = "the last paragraph must be trailers (`Name: value`), this line is none"
            problems.append(Problem(f"{text}: {line!r}", _advice(line)))
    return found, problems


def _advice(line: str) -> str:
    """Return the trailer that a line was probably meant to be, and where it goes if it is text."""
    name = _NAME.match(line)
    meant = [f"write `{name[1]}: {name[2] or name[3] or 'VALUE'}`"] if name else []
    return "\n".join([*meant, "if it is text, move it into the paragraph before the trailers"])


def body_problems(body: str) -> list[Problem]:
    """Return the problems of a message whose lines would end it too early for its trailers."""
    return [
        Problem(f"the body line {line!r} would be taken for a patch", "put a space before it")
        for line in body.splitlines()
        if _LOOKS_LIKE_PATCH.match(line)
    ]
