"""Conditions of `iexact` lookups: which conjs a query depends on, and which a row drops.

Only ASCII is folded: beyond it databases and Python disagree on case (PostgreSQL's `UPPER('\u0131')` is `I`). A query with an
operand beyond ASCII depends on the whole table, as upstream has it. A row whose value is beyond ASCII, or unknown,
might equal any operand; so each conj with a folded operand is joined by one with `ANY` in its place, which such a row drops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.db.models import Field
from django.db.models.lookups import IExact
from django.utils.functional import Promise

Conj = dict[str, Any]
Term = tuple[str, str, str, bool]

# Never a folded text, for it is not in lower case.
ANY = "ANY"

# Operands of a query that count, the others are as coarse as upstream's: conditions multiply when a negation or
# an AND of ORs is expanded, and clients write as many as they like.
MAX_OPERANDS = 8

_SUFFIX = "__iexact"  # no attname has a double underscore
_TEXT = frozenset({"CharField", "SlugField", "TextField"})
# What an application's field may override to store another text than the row holds.
_PREPARES = (
    "db_type",
    "from_db_value",
    "get_db_prep_save",
    "get_db_prep_value",
    "get_placeholder",
    "get_prep_value",
    "pre_save",
    "to_python",
)


def fold(value: object) -> str | None:
    """Return plain ASCII text in lower case, and None for what a database might fold otherwise."""
    # An enum that is a str reaches the database as its content or as its str(), depending on the driver.
    if isinstance(value, str) and value.isascii() and str(value) == value:
        return value.lower()
    return None


def folds(field: Field[Any, Any]) -> bool:
    """Tell whether the column holds the row's own text, of which `iexact` ignores the case and nothing else."""
    if field.get_internal_type() not in _TEXT or getattr(field, "db_collation", None) is not None:
        return False
    own = type(field)
    base = next(cls for cls in own.__mro__ if cls.__module__ == "django.db.models.fields")
    return all(getattr(own, name, None) is getattr(base, name, None) for name in _PREPARES)


def iexact_terms() -> Callable[[Any], Term | None]:
    """Return the function that gives the term of a lookup of one query, or None if it stays coarse."""
    left = MAX_OPERANDS

    def term(lookup: Any) -> Term | None:
        nonlocal left
        # An application's subclass may compare as it pleases.
        if type(lookup) is not IExact or not left or not folds(lookup.lhs.target):
            return None
        # Unlike other lookups iexact does not prepare its operand: the database gets its text.
        operand = lookup.rhs
        folded = fold(str(operand) if type(operand) is int or isinstance(operand, Promise) else operand)
        if folded is None:
            return None
        left -= 1
        return lookup.lhs.alias, lookup.lhs.target.attname + _SUFFIX, folded, True

    return term


def add_any(disj: list[Conj]) -> list[Conj]:
    """Add, for each folded operand, the conj that a row with a value beyond ASCII drops.

    It leaves the conj's other folded operands out, which is coarser but keeps the number of conjs linear.
    """
    # Keyed by how conj keys spell values: for Python alone 1 and True would be the same condition.
    added: dict[frozenset[tuple[str, str]], Conj] = {}
    for conj in disj:
        others = {key: value for key, value in conj.items() if not key.endswith(_SUFFIX)}
        for key in sorted(conj.keys() - others.keys()):
            spelling = frozenset((name, str(value)) for name, value in others.items())
            added[spelling | {(key, ANY)}] = {**others, key: ANY}
    return disj + list(added.values())


def add_folded(fields: Iterable[Field[Any, Any]], row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with the folded value of each text column.

    A column that the row lacks (deferred, an expression, one of the partial rows that cacheops makes up) is unknown, not empty.
    """
    folded = {field.attname + _SUFFIX: _row_value(row, field.attname) for field in fields if folds(field)}
    return {**row, **folded}


def _row_value(row: dict[str, Any], attname: str) -> str | None:
    if attname not in row:
        return ANY
    value = row[attname]
    if value is None:  # matches no operand
        return None
    folded = fold(value)
    return ANY if folded is None else folded
