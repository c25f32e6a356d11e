"""Conditions in words, for people: `status =, price < 10`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rover_overrides.conditions import TRUE, Conj

_SIGNS = {"exact": "=", "iexact": "= (any case)", "isnull": "is null", "gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "in": "in"}
_LONGEST = 60  # characters of an operand


def shape(entry: str) -> str:
    """Return the columns and operators of an entry, without its operands."""
    return " and ".join(_said(item) for item in json.loads(entry)) if entry else "any row"


def condition(conj: Conj) -> str:
    """Return a condition with its operands and values."""
    if conj == TRUE:
        return "any row"
    values = iter(conj.values)
    return " and ".join(f"{_said(item)} {_operand(item, values)}" for item in json.loads(conj.entry))


def _said(item: Sequence[Any]) -> str:
    path, name, part, op, _, negated = item
    column = ".".join([*(hop[0] if hop[3:] == [] else hop[1] for hop in path), name, *([part.split(" ")[0]] if part else [])])
    return f"{'not ' if negated else ''}{column} {_SIGNS.get(op, op)}"


def _operand(item: Sequence[Any], values: Any) -> str:
    text = next(values) if item[4] is None else ", ".join(item[4])
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"
