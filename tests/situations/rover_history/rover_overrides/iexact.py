"""Conditions of `iexact` lookups: ASCII is folded, and a row with a value beyond it drops every operand of its column."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models.lookups import IExact

ANY = "ANY"  # never a folded text, for it is not in lower case
_SUFFIX = "__iexact"
_TEXT = frozenset({"CharField", "SlugField", "TextField"})


def folds(field: Any) -> bool:
    """Tell whether the column holds the row's own text."""
    return field.get_internal_type() in _TEXT and getattr(field, "db_collation", None) is None


def iexact_term(lookup: Any) -> tuple[str, str, str, bool] | None:
    """Return the term of a lookup, or None where it stays coarse."""
    operand = lookup.rhs
    if (
        type(lookup) is not IExact
        or not folds(lookup.lhs.target)
        or not isinstance(operand, str)
        or not operand.isascii()
    ):
        return None
    return lookup.lhs.alias, lookup.lhs.target.attname + _SUFFIX, operand.lower(), True


def add_any(disj: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add for each folded operand the conj that a row with a value beyond ASCII drops."""
    added = []
    for conj in disj:
        others = {key: value for key, value in conj.items() if not key.endswith(_SUFFIX)}
        added += [{**others, key: ANY} for key in conj.keys() - others.keys()]
    return disj + added


def add_folded(fields: Iterable[Any], row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with the folded value of each text column."""
    return {
        **row,
        **{
            field.attname + _SUFFIX: _folded(row, field.attname) for field in fields if folds(field)
        },
    }


def _folded(row: dict[str, Any], attname: str) -> str | None:
    value = row.get(attname, ANY)
    if value is None or value == ANY:
        return None if value is None else ANY
    return value.lower() if isinstance(value, str) and value.isascii() else ANY
