"""The conditions of comparisons, ranges, parts of dates and patterns, and of negations."""

from __future__ import annotations

from typing import Any

from rover_overrides.atoms import ANYTHING, Compared, Disjunction
from rover_overrides.patterns import PATTERNS

_ORDERED = frozenset({"int", "decimal", "float", "date", "datetime", "time", "duration"})
"""Kinds that every database orders alike; text is not one of them, for its order is the collation's."""
_BOUNDS = frozenset({"gt", "gte", "lt", "lte"})


def comparison(compared: Compared, name: str, operand: Any, *, negated: bool) -> Disjunction:
    """Return a comparison or its negation; raises UncertainError for operands that cannot be spelled."""
    if name in {"exact", "in"} and negated and operand is not None:
        operands = [operand] if name == "exact" else [item for item in operand if item is not None]
        # Nothing is in an empty list, NULL included.
        return [compared.one("in", *operands, negated=True)] if operands else ANYTHING
    if name in _BOUNDS and compared.kind in _ORDERED:
        return [compared.one(name, operand, negated=negated)]
    if name == "range" and compared.kind in _ORDERED and len(operand) == 2:
        return _range(compared, *operand, negated=negated)
    if name == "iexact" and negated:
        return _pattern(compared, "iequal", operand, negated=True)
    return _pattern(compared, name, operand, negated=negated)


def _range(compared: Compared, low: Any, high: Any, *, negated: bool) -> Disjunction:
    if negated:
        return [compared.one("lt", low), compared.one("gt", high)]
    return [compared.one("gte", low) | compared.one("lte", high)]


def _pattern(compared: Compared, name: str, operand: Any, *, negated: bool) -> Disjunction:
    if name not in PATTERNS or compared.kind != "text" or compared.column.part or not isinstance(operand, (str, int)):
        return ANYTHING
    # NOTE: LIKE of SQLite ignores the case of ASCII, also where Django's lookup does not
    sensitive = compared.backend.vendor != "sqlite" or name.startswith("i")
    return [compared.raw(name if sensitive else f"i{name}", str(operand), negated=negated)]
