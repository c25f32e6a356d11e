"""Conditions as text for people, such as `status = new and price < 10`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rover_overrides.conditions.conditions import READS, Conj

_SIGNS = {
    "exact": "=",
    "iexact": "= (any case)",
    "isnull": "is null",
    "gt": ">",
    "gte": ">=",
    "lt": "<",
    "lte": "<=",
    "in": "in",
}
_LONGEST = 60  # characters of an operand


def shape(template: str) -> str:
    """Return the columns and operators of a template, without its operands."""
    items, _ = _split_reads(json.loads(template or "[]"))
    return " and ".join(map(_comparison_text, items)) or "any row"


def condition(conj: Conj) -> str:
    """Return a condition with its operands and values."""
    values = iter(conj.values)
    items, columns = _split_reads(json.loads(conj.template or "[]"))
    return (
        " and ".join(f"{_comparison_text(item)} {_operand_text(item, values)}" for item in items)
        or "any row"
    ) + columns


def _split_reads(items: Sequence[Any]) -> tuple[list[Any], str]:
    """Return the comparisons, and as text which columns of a row are read."""
    read = [column for item in items if item[3] == READS for column in item[4]]
    return [
        item for item in items if item[3] != READS
    ], f" (reads {', '.join(read)})" if read else ""


def _comparison_text(item: Sequence[Any]) -> str:
    path, name, part, op, _, negated = item
    column = ".".join(
        [
            *(hop[0] if hop[3:] == [] else hop[1] for hop in path),
            name,
            *([part.split(" ")[0]] if part else []),
        ]
    )
    return f"{'not ' if negated else ''}{column} {_SIGNS.get(op, op)}"


def _operand_text(item: Sequence[Any], values: Any) -> str:
    text = next(values) if item[4] is None else ", ".join(item[4])
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"
