"""Compare text without regard to case where every database agrees: in ASCII only.

Beyond ASCII, databases and Python disagree (PostgreSQL's `UPPER('\u0131')` is `I`). A condition
with an operand beyond ASCII is left out. A row with a value beyond ASCII might equal any operand,
so a result with a folded operand also depends on `WILDCARD`, which such a row invalidates.
Text with a NUL is treated in the same way, because SQLite's LIKE ends the text there.
"""

from __future__ import annotations

from string import ascii_lowercase

WILDCARD = "ANY"
"""The wildcard. It equals no folded text, because those are in lower case."""

_UPPER_EXCEPT_I = str.maketrans(
    {letter: letter.upper() for letter in ascii_lowercase if letter != "i"}
)


def upper_except_i(text: str) -> str:
    """Return ASCII text in upper case, except `i`.

    Not every database agrees on that: in Turkish, `i` and `I` are two letters.
    """
    return text.translate(_UPPER_EXCEPT_I)


def fold(text: str) -> str | None:
    """Return ASCII text in lower case, or None for text that a database might fold differently."""
    return text.lower() if text.isascii() and "\0" not in text else None
