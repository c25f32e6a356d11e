"""Trailers: the lines `Name: value` at the end of a patch's message and of a feature's record.

They are read as git reads them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_TRAILER = re.compile(r"^([A-Za-z][A-Za-z-]*):[ \t]+(\S.*)$")


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


def read_trailers(paragraph: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Parse a paragraph, and return its trailers and its problems.

    A line that is no trailer is a problem, because git would then read no trailer at all.
    """
    found: list[tuple[str, str]] = []
    problems: list[str] = []
    for line in paragraph.splitlines():
        match = _TRAILER.match(line)
        if match:
            found.append((match[1], match[2].strip()))
        elif line[:1] in (" ", "\t") and found:
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
        else:
            problems.append(
                f"the last paragraph must be trailers (`Name: value`), this line is none: {line!r}"
            )
    return found, problems


def body_problems(body: str) -> list[str]:
    """Return the problems of a message whose lines would end it too early for its trailers."""
    return [
        f"the body line {line!r} would be taken for a patch"
        for line in body.splitlines()
        if _LOOKS_LIKE_PATCH.match(line)
    ]
