"""Text without regard to case, where every database agrees on it: ASCII alone.

Beyond ASCII databases and Python disagree (PostgreSQL's `UPPER('\u0131')` is `I`). A query with an operand beyond ASCII does not
count it. A row whose value is beyond ASCII might equal any operand; so a result with a folded operand depends on one
more value, `ANY`, which such a row drops. The same goes for NUL, at which SQLite's LIKE takes a text to end.
"""

from __future__ import annotations

from string import ascii_lowercase

ANY = "ANY"
"""Never a folded text, for it is not in lower case."""

_CERTAIN = str.maketrans({letter: letter.upper() for letter in ascii_lowercase if letter != "i"})


def certain(text: str) -> str:
    """Return ASCII text in upper case as far as every database agrees: some keep Turkish, where `i` and `I` are two letters."""
    return text.translate(_CERTAIN)


def fold(text: str) -> str | None:
    """Return ASCII text in lower case, and None for what a database might fold otherwise."""
    return text.lower() if text.isascii() and "\0" not in text else None
