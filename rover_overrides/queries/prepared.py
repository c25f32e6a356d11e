"""Dependencies with places for operands: analysed once for all queries that differ in those alone.

This is possible where the conditions are columns that equal values, all of which must be met. Their
operands are in the values of a conj, and in no template.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from copy import copy
from functools import lru_cache
from typing import Any

from django.db.models import ForeignKey
from django.db.models.expressions import Col
from django.db.models.sql.datastructures import BaseTable
from django.db.models.sql.where import AND, WhereNode

from rover_overrides.conditions.canonical_values import NotComparableError
from rover_overrides.conditions.conditions import Conj, encode_operand
from rover_overrides.queries.lookups import OperandPlace

Dependencies = Mapping[str, list[Conj]]
Analysis = Callable[[Any], dict[str, list[Conj]]]
"""Returns the dependencies of a query with this WHERE."""


class PreparedDependencies:
    """Dependencies of which some values are places for operands."""

    def __init__(self, found: Dependencies) -> None:
        self._fixed = {
            table: conjs for table, conjs in found.items() if not any(map(_places, conjs))
        }
        self._open = {
            table: [(conj.template, conj.values) for conj in conjs]
            for table, conjs in found.items()
            if table not in self._fixed
        }

    def fill(self, where: Any) -> dict[str, list[Conj]]:
        """Return the dependencies of a query with such a WHERE.

        Raises NotComparableError for an operand without a canonical text.
        """
        texts: list[str] = []
        _append_texts(where, texts)
        places = dict(zip(_names(len(texts)), texts))
        found = dict(self._fixed)
        for table, conjs in self._open.items():
            filled = set()
            for template, values in conjs:
                own = [places[one] if type(one) is OperandPlace else one for one in values]
                filled.add(Conj(template, tuple(own)))
            found[table] = sorted(filled)
        return found


def prepare(
    where: Any, joins: Collection[Any], analyse: Analysis, expected: Dependencies
) -> PreparedDependencies | None:
    """Return the dependencies with places for the operands of a WHERE, or None.

    `joins` are the tables of the query, `expected` its dependencies with its own operands.
    """
    lookups: list[Any] = []
    opened = _with_places(where, lookups)
    columns = [(lookup.lhs.alias, lookup.lhs.target.column) for lookup in lookups]
    # Two equalities of one column may conflict, which depends on their operands.
    if opened is None or len(set(columns)) < len(columns) or not _are_distinct(joins):
        return None
    found = PreparedDependencies(analyse(opened))
    try:
        return found if found.fill(where) == expected else None
    except NotComparableError:
        return None


def _are_distinct(joins: Collection[Any]) -> bool:
    """Return whether each table is joined along another foreign key: no row has two aliases."""
    keys = [
        (join.parent_alias, id(join.join_field)) for join in joins if type(join) is not BaseTable
    ]
    return len(set(keys)) == len(keys) and all(
        isinstance(join.join_field, ForeignKey) for join in joins if type(join) is not BaseTable
    )


@lru_cache(maxsize=64)
def _names(number: int) -> tuple[str, ...]:
    return tuple(map(str, range(number)))


def _places(conj: Conj) -> bool:
    return any(type(value) is OperandPlace for value in conj.values)


def _with_places(node: Any, lookups: list[Any]) -> Any:
    """Return a copy of a WHERE with places for its operands, and list the lookups that have one."""
    if type(node) is not WhereNode or node.negated or node.connector != AND:
        return None
    children = []
    for child in node.children:
        if type(child) is WhereNode:
            made = _with_places(child, lookups)
        elif not _has_place(child):
            made = child if _is_fixed(child) else None
        else:
            made = copy(child)
            made.__dict__["rhs"] = OperandPlace(len(lookups))
            lookups.append(child)
        if made is None:
            return None
        children.append(made)
    opened = copy(node)
    opened.children = children
    return opened


def _append_texts(node: Any, texts: list[str]) -> None:
    for child in node.children:
        if type(child) is WhereNode:
            _append_texts(child, texts)
        elif _has_place(child):
            texts.append(encode_operand(child.lhs.target, "", child.rhs))


def _has_place(lookup: Any) -> bool:
    return lookup.lookup_name == "exact" and type(lookup.rhs) is not bool


def _is_fixed(lookup: Any) -> bool:
    """Return whether the operand of a lookup is the same in all queries of a shape."""
    return type(lookup.lhs) is Col and type(lookup.rhs) is bool
