"""Trailers: the lines `Name: value` at the end of a patch's message and of a feature's record.

They are read as git reads them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Body:
    """What is below the title of a message: a text, and trailers.

    `outside` are paragraphs of known trailers above the last one, which git does not read; `unread`
    are the problems of the last paragraph, which may have no trailer at all.
    """

    text: str
    last: tuple[tuple[str, str], ...]
    outside: tuple[tuple[tuple[str, str], ...], ...]
    unread: tuple[Problem, ...]

    @property
    def trailers(self) -> tuple[tuple[str, str], ...]:
        """The trailers as they are meant, wherever they are."""
        return (*(pair for paragraph in self.outside for pair in paragraph), *self.last)

    @property
    def misplaced(self) -> list[Problem]:
        """What is wrong with the places of the trailers: one problem, if they are not together."""
        if not self.outside:
            return []
        names = dict.fromkeys(name for paragraph in self.outside for name, _ in paragraph)
        ends = [": ".join(paragraph[-1]) for paragraph in self.outside]
        verb, them = ("stands", "it") if len(names) == 1 else ("stand", "them")
        advice = (
            f"remove the empty line below {_listed(f'`{end}`' for end in ends)}, so that all"
            " trailers are one paragraph"
            if self.last
            else f"move {them} to the end of the message"
        )
        text = f"{_listed(f'`{name}:`' for name in names)} {verb} outside the last paragraph"
        return [Problem(text, advice)]


def read_body(body: str, known: Collection[str], needless: Collection[str] = ()) -> Body:
    """Split a message's body into its text and its trailers, of which `known` are the names.

    A paragraph that looks like trailers is text if the last one has all of them, or if they are
    `needless`, because a machine adds them.
    """
    *above, end = body.strip("\n").split("\n\n")
    last, unread = read_trailers(end)
    there = {*needless, *(name for name, _ in last)}
    text, outside = [], list[tuple[tuple[str, str], ...]]()
    for paragraph in above:
        found, other = read_trailers(paragraph)
        names = {name for name, _ in found}
        if names - there and names.issubset(known) and not other:
            outside.append(tuple(found))
        else:
            text.append(paragraph)
    text += [] if last else [end]
    return Body("\n\n".join(text).strip(), tuple(last), tuple(outside), tuple(unread))


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


def _listed(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


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
