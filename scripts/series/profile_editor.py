"""Edit the profile's text: add and remove entries of its literal `SETTINGS`, and keep the rest."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from scripts.core.errors import UsageError
from scripts.series.profile import settings_literal

_WIDTH = 88
"""The width up to which an entry is written on one line.

A formatter keeps a longer one as it is written, because of its trailing comma.
"""


@dataclass(frozen=True)
class _Span:
    """Where a node's text is: first and last line, counted from 0, and start and end columns."""

    first: int
    last: int
    begin: int
    end: int


def edit_profile(
    text: str, put: Mapping[str, Mapping[str, object]], drop: Collection[str] = ()
) -> str:
    """Return the module's text with entries added or replaced (`put`), and others removed (`drop`).

    Raises UsageError if the literal is written in a way that this cannot edit.
    """
    value = settings_literal(text)
    names = [ast.literal_eval(key) for key in value.keys if key is not None]
    wanted = {
        name: dict(entry) for name, entry in ast.literal_eval(value).items() if name not in drop
    } | dict(put)
    if not put and not set(drop).intersection(names):
        return text
    lines = text.splitlines(keepends=True)
    whole = _span(lines, value)
    kept = [
        chunk
        for name, chunk in zip(names, _entry_sources(lines, value), strict=True)
        if name in wanted and name not in put
    ]
    entries = [*kept, *(_entry(name, put[name]) for name in wanted if name in put)]
    head, tail = lines[whole.first][: whole.begin + 1], lines[whole.last][whole.end - 1 :]
    body = f"\n{''.join(entries)}" if entries else ""
    new = "".join([*lines[: whole.first], head, body, tail, *lines[whole.last + 1 :]])
    # Lines are edited, so a literal that is written in another way may have been broken.
    if ast.literal_eval(settings_literal(new)) != wanted:
        raise UsageError(
            "the profile's SETTINGS cannot be edited by machine",
            hint=f"make it hold {wanted} by hand",
        )
    return new


def _span(lines: list[str], node: ast.expr) -> _Span:
    """Return a node's place in characters, because Python's columns count bytes."""
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    first, last = node.lineno - 1, node.end_lineno - 1
    begin = len(lines[first].encode()[: node.col_offset].decode())
    return _Span(first, last, begin, len(lines[last].encode()[: node.end_col_offset].decode()))


def _entry_sources(lines: list[str], value: ast.Dict) -> Iterator[str]:
    """Yield the text of each entry, with the comments above it and behind it.

    Comments are kept only for an entry that has its lines to itself.
    """
    before = _span(lines, value).first
    ends = [_span(lines, entry) for entry in value.values]
    for key, end in zip(value.keys, ends, strict=True):
        assert key is not None
        start = _span(lines, key)
        source = "".join(lines[start.first : end.last + 1])[start.begin :]
        source = source[: len(source) - (len(lines[end.last]) - end.end)]
        above = [line for line in lines[before + 1 : start.first] if line.strip().startswith("#")]
        following = lines[end.last][end.end :].lstrip(" ,").rstrip("\n")
        comment = f"  {following}" if following.startswith("#") else ""
        before = end.last
        yield "".join(above) + f"    {source},{comment}\n"


def _entry(name: str, settings: Mapping[str, object]) -> str:
    """Return an entry on one line, or broken as a formatter breaks it."""
    line = f"    {_literal(name)}: {_literal(settings)},\n"
    if len(line) <= _WIDTH:
        return line
    inner = "".join(
        f"        {_literal(key)}: {_literal(value)},\n" for key, value in settings.items()
    )
    return f"    {_literal(name)}: {{\n{inner}    }},\n"


def _literal(value: object) -> str:
    """Return a literal with double quotes, as a formatter writes it."""
    match value:
        case str() | bytes():
            text = repr(value)
            plain = '"' not in text and "\\'" not in text
            return text.replace("'", '"') if plain and text.endswith("'") else text
        case Mapping():
            return (
                "{"
                + ", ".join(f"{_literal(key)}: {_literal(item)}" for key, item in value.items())
                + "}"
            )
        case tuple():
            return "(" + ", ".join(map(_literal, value)) + ("," if len(value) == 1 else "") + ")"
        case list():
            return "[" + ", ".join(map(_literal, value)) + "]"
        case set() if value:
            return "{" + ", ".join(sorted(map(_literal, value))) + "}"
        case _:
            return repr(value)
