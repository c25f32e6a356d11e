"""What is inside a query: other queries, and expressions whose value is not fixed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import django
from django.db.models import F, ForeignObject, Func, QuerySet, Value
from django.db.models.expressions import Col, RawSQL
from django.db.models.functions import Now, Random
from django.db.models.sql.query import Query
from django.db.models.sql.where import ExtraWhere, NothingNode, WhereNode

from rover_overrides.introspection import application_sql
from rover_overrides.introspection.application_sql import UncacheableError
from rover_overrides.introspection.sql_keywords import RELATIVE_TIMES
from rover_overrides.keys.query_state import state_of

MAX_NODES = 20_000
"""The result of a query with more expressions than this is not cached."""

_VOLATILE = frozenset(
    {
        "CLOCK_TIMESTAMP",
        "CURRENT_DATE",
        "CURRENT_TIME",
        "CURRENT_TIMESTAMP",
        "GEN_RANDOM_UUID",
        "LOCALTIMESTAMP",
        "NEXTVAL",
        "NOW",
        "RAND",
        "RANDOM",
        "RANDOMBLOB",
        "STATEMENT_TIMESTAMP",
        "TRANSACTION_TIMESTAMP",
        "UUID_GENERATE_V1",
        "UUID_GENERATE_V4",
        "UUIDV4",
        "UUIDV7",
    }
)


class QueryContents(NamedTuple):
    """What is inside a query.

    `queries` are the queries inside it. `raw_sql` is whether it has SQL fragments of the
    application's own, which may read any row.
    """

    queries: list[Query]
    raw_sql: bool
    columns: set[tuple[str, str]]
    """The alias and the column name of each column that an expression reads."""
    opaque: bool
    """Whether an expression may read columns that are not in `columns`."""
    tables: set[str]
    """The tables that the application's own SQL names."""


def query_contents(query: Query, using: str) -> QueryContents:
    """Return what the expressions of a query contain, without those of the queries inside it.

    Raises UncacheableError for an expression without a fixed value, or one that is not understood.
    """
    found = list(query.combined_queries)
    raw_sql = bool(query.extra)
    columns: set[tuple[str, str]] = set()
    own: list[Any] = []
    opaque = query.default_cols and application_sql.has_custom_selects(query.model)
    waiting = list(_roots(query))
    for _ in range(MAX_NODES):
        if not waiting:
            return QueryContents(
                found,
                raw_sql,
                columns,
                opaque,
                application_sql.tables_in_application_sql(query, own, using),
            )
        node = waiting.pop()
        if type(node) is Col:
            columns.add((node.alias, str(node.target.column)))
        if _is_expression(node) and application_sql.has_application_sql(node):
            own.append(node)
            opaque = True
        elif type(node) is Col:  # it has nothing inside
            continue
        inner = _query_of(node)
        if inner is None:
            raw_sql = raw_sql or isinstance(node, (RawSQL, ExtraWhere))
            opaque = opaque or not _is_open(node)
            waiting += _children(node)
        else:
            found.append(inner)
    raise UncacheableError("the query is too large")


def _roots(query: Query) -> Iterator[Any]:
    """Yield the expressions of a query; raise UncacheableError if its order is random."""
    if "?" in query.order_by or "?" in query.extra_order_by:
        raise UncacheableError("the order is random")
    yield query.where
    yield from query.select
    yield from query.annotations.values()
    state = state_of(query)
    yield from state.aggregates or ()
    yield from state.ordering
    yield from (item for item in query.order_by if not isinstance(item, str))
    yield from query.group_by if isinstance(query.group_by, (tuple, list)) else ()
    for join in query.alias_map.values():
        yield from _restrictions(join)
        filtered = getattr(join, "filtered_relation", None)
        if filtered is not None:
            yield from filter(
                None,
                (getattr(filtered, name, None) for name in ("resolved_condition", "condition")),
            )


def _restrictions(join: Any) -> Iterator[Any]:
    """Yield the conditions on a join that a relation adds to the equality of its columns."""
    field = getattr(join, "join_field", None)
    own = getattr(field, "field", field)  # for a reverse relation, its forward field
    if (
        field is None
        or getattr(type(own), "get_extra_restriction", None) is ForeignObject.get_extra_restriction
    ):
        return
    aliases = (join.table_alias, join.parent_alias)
    try:
        # Django 4.0 dropped the first parameter.
        found = field.get_extra_restriction(
            *aliases if django.VERSION >= (4,) else (WhereNode, *aliases)
        )
    except Exception as error:  # application code may raise anything
        raise UncacheableError("a join is not understood") from error
    if found is not None:
        yield found


def _is_expression(node: Any) -> bool:
    return (
        type(node) is not WhereNode and not isinstance(node, (Query, QuerySet)) and _has_sql(node)
    )


def _has_sql(node: Any) -> bool:
    return hasattr(node, "as_sql") or hasattr(node, "resolve_expression")


def _is_open(node: Any) -> bool:
    """Return whether `_children` returns all columns that an expression of Django's own reads."""
    if isinstance(node, (WhereNode, NothingNode, list, tuple, set, frozenset)):
        return True
    # An F is not resolved to a column yet.
    return hasattr(node, "get_source_expressions") and not isinstance(node, F)


def _query_of(node: Any) -> Any:
    """Return the query that a node is or wraps, or None."""
    if isinstance(node, Query):
        return node
    if isinstance(node, QuerySet):
        return node.query
    # The attributes of a Subquery, an Exists, or the constraint of several columns.
    for name in ("query", "query_object"):
        inner = getattr(node, name, None)
        if inner is None:
            continue
        if isinstance(inner, Query):
            return inner
        if isinstance(inner, QuerySet):
            return inner.query
    return None


def _children(node: Any) -> Iterable[Any]:
    """Return the expressions inside a node.

    Raises UncacheableError if the node has no fixed value, or may hide what its result depends on.
    """
    if isinstance(node, (Now, Random)) or (
        isinstance(node, Func) and not _VOLATILE.isdisjoint(_words(node))
    ):
        raise UncacheableError(f"{type(node).__name__} has no fixed value")
    if (
        type(node) is Value
        and isinstance(node.value, str)
        and node.value.strip().casefold() in RELATIVE_TIMES
    ):
        raise UncacheableError(f"{node.value} is a moment that passes")
    if isinstance(node, WhereNode):
        return list(node.children)
    if isinstance(node, (list, tuple, set, frozenset)):  # the operands of a range or an IN
        return [item for item in node if _has_sql(item)]
    if hasattr(node, "get_source_expressions"):
        return [*filter(None, node.get_source_expressions()), *_operands(node)]
    if isinstance(node, (ExtraWhere, NothingNode, F)) or not (
        hasattr(node, "as_sql") or hasattr(node, "children")
    ):
        return ()
    if hasattr(node, "children"):  # a Q that is not resolved yet
        return [child[1] if isinstance(child, tuple) else child for child in node.children]
    if application_sql.has_application_sql(node):  # the SQL that it compiles to is examined
        return ()
    raise UncacheableError(f"{type(node).__name__} is not understood")


def _words(node: Any) -> Iterable[str]:
    """Return the words of a function's SQL, without those of its arguments."""
    sql = {"function": node.function, "template": node.template, **node.extra}
    return re.findall(r"\w+", f"{sql['function']} {sql['template']}".upper())


def _operands(node: Any) -> Iterator[Any]:
    """Yield the operands of a lookup that are not among its source expressions."""
    rhs = getattr(node, "rhs", None)
    if isinstance(rhs, (list, tuple, set, frozenset, QuerySet, Query)):
        yield rhs
