"""The conditions of comparisons, ranges, parts of dates and patterns, and of their negations."""

from __future__ import annotations

from typing import Any

from rover_overrides.conditions.patterns import PATTERNS
from rover_overrides.queries.lookups import ANYTHING, AliasedAtom, ComparedColumn, Disjunction

_ORDERED = frozenset({"int", "decimal", "float", "date", "datetime", "time", "duration", "uuid"})
"""Kinds that every database orders alike; not text, whose order depends on the collation."""
_BOUNDS = frozenset({"gt", "gte", "lt", "lte"})
_NEGATED = {"gt": "lte", "gte": "lt", "lt": "gte", "lte": "gt"}
"""Negations for values that are not NULL: with NULL, no comparison and no negation is true."""


def comparison_atoms(
    compared: ComparedColumn, name: str, operand: Any, *, negated: bool
) -> Disjunction:
    """Return the condition of a comparison or of its negation.

    Raises NotComparableError for an operand without a canonical text.
    """
    if name in {"exact", "in"} and negated and operand is not None:
        operands = [operand] if name == "exact" else [item for item in operand if item is not None]
        # Not being in an empty list is true of any value, even of NULL.
        return (
            [compared.atom("in", *operands, negated=True)]
            if operands and not _rounded(compared)
            else ANYTHING
        )
    if name in _BOUNDS and compared.kind in _ORDERED:
        return [_bound(compared, _NEGATED[name] if negated else name, operand)]
    if name == "range" and compared.kind in _ORDERED and len(operand) == 2:
        return _range(compared, *operand, negated=negated)
    if name == "iexact" and negated:
        return _pattern(compared, "iequal", operand, negated=True)
    return _pattern(compared, name, operand, negated=negated)


def _rounded(compared: ComparedColumn) -> bool:
    """Return whether Django may read another value than is stored.

    SQLite stores more decimal places than the column has.
    """
    return compared.kind == "decimal" and compared.backend.vendor == "sqlite"


def _bound(compared: ComparedColumn, name: str, operand: Any) -> frozenset[AliasedAtom]:
    """Return a comparison; it includes the bound if the value may have been rounded to it."""
    return compared.atom(f"{name[:2]}e" if _rounded(compared) else name, operand)


def _range(compared: ComparedColumn, low: Any, high: Any, *, negated: bool) -> Disjunction:
    if negated:
        return [_bound(compared, "lt", low), _bound(compared, "gt", high)]
    return [_bound(compared, "gte", low) | _bound(compared, "lte", high)]


def _pattern(compared: ComparedColumn, name: str, operand: Any, *, negated: bool) -> Disjunction:
    if (
        name not in PATTERNS
        or compared.kind != "text"
        or compared.column.part
        or not isinstance(operand, (str, int))
    ):
        return ANYTHING
    # NOTE: LIKE of SQLite ignores the case of ASCII, even if Django's lookup does not
    sensitive = compared.backend.vendor != "sqlite" or name.startswith("i")
    return [
        compared.atom_from_text(name if sensitive else f"i{name}", str(operand), negated=negated)
    ]
