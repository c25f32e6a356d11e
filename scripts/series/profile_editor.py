"""Write the profile: its literal `SETTINGS` anew from data, the text around it as it was."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from typing import Any

from scripts.series.profile import settings_literal

_WIDTH = 88
"""The width up to which an entry is written on one line.

A formatter keeps a longer one as it is written, because of its trailing comma.
"""


def edit_profile(
    text: str, put: Mapping[str, Mapping[str, object]], drop: Collection[str] = ()
) -> str:
    """Return the module's text with entries added or replaced (`put`), and others removed (`drop`).

    `SETTINGS` is written anew from its entries, without comments; the text around it stays.
    """
    value = settings_literal(text)
    old: dict[str, object] = ast.literal_eval(value)
    new = {name: entry for name, entry in old.items() if name not in drop} | dict(put)
    if new == old:
        return text
    before, after = _text_around(text, value)
    return f"{before}{_settings(new)}{after}"


def _text_around(text: str, node: ast.expr) -> tuple[str, str]:
    """Return the text before and after a node; Python counts its columns in bytes."""
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    lines = text.encode().splitlines(keepends=True)
    begin = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
    end = sum(map(len, lines[: node.end_lineno - 1])) + node.end_col_offset
    return text.encode()[:begin].decode(), text.encode()[end:].decode()


def _settings(profile: Mapping[str, object]) -> str:
    """Return the literal of a profile, one entry after the other."""
    if not profile:
        return "{}"
    return "{\n" + "".join(_entry(name, entry) for name, entry in profile.items()) + "}"


def _entry(name: str, settings: Any) -> str:
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
