"""Copies of queries to compile: compiling changes a query, but computing a key must not.

Django's own `clone()` is made for further filters and is not enough: clones share the lists of
aliases, and the queries inside conditions and annotations. Compiling adds joins to those too.
"""

from __future__ import annotations

from collections.abc import Collection
from copy import copy
from typing import Any

from django.db.models import F, Lookup, Value
from django.db.models.expressions import Col, Ref
from django.db.models.sql.query import Query
from django.utils.tree import Node

_WITHOUT_QUERIES = frozenset({Col, F, Ref, Value, bool, float, int, str, type(None)})
_PARTS = ("select", "order_by", "group_by", "combined_queries")

_Memo = dict[int, Any]  # the copies by the id of the original query


def compile_copy(query: Any, memo: _Memo | None = None) -> Any:
    """Return a query that compiles as the given one, and shares no state that compiling changes.

    A copy is made at each cache hit, so there are no function calls for what most queries lack.
    """
    copied = _shallow(query) if type(query) is Query else query.clone()
    state = copied.__dict__
    for name, value in state.items():
        kind = value.__class__
        if kind is dict:
            state[name] = {**value}
        elif kind is set:
            state[name] = {*value}
        elif kind is list:
            state[name] = [*value]
    state["table_map"] = {table: [*aliases] for table, aliases in state["table_map"].items()}
    if memo is not None or _may_hold_queries(copied):
        _copy_inner_queries(query, copied, {} if memo is None else memo)
    return copied


def _shallow(query: Any) -> Any:
    copied = object.__new__(Query)
    copied.__dict__.update(query.__dict__)
    # A cached property, computed from the joins: some may still be added.
    copied.__dict__.pop("base_table", None)
    return copied


def _may_hold_queries(query: Any) -> bool:
    """Return whether there may be queries inside a query.

    There are none if its WHERE only compares columns with values, and it has no annotations,
    ordering, selected expressions, grouping or combined queries.
    """
    for child in query.where.children:
        if not (
            isinstance(child, Lookup)
            and type(child.lhs) is Col
            and type(child.rhs) in _WITHOUT_QUERIES
        ):
            return True
    return bool(
        query.annotations
        or query.order_by
        or query.select
        or query.group_by
        or query.combined_queries
    )


def _copy_inner_queries(query: Any, copied: Any, memo: _Memo) -> None:
    memo[id(query)] = copied
    state = copied.__dict__
    state["where"] = _copy_node(copied.where, memo)
    if query.annotations:
        state["annotations"] = dict(
            zip(query.annotations, _copy_each(query.annotations.values(), memo))
        )
        # In it Django keeps the annotations that have just been replaced.
        state["_annotation_select_cache"] = None
    for name in _PARTS:
        part = state.get(name)
        if part and isinstance(part, (tuple, list)):
            state[name] = type(part)(_copy_each(part, memo))


def _copy_each(nodes: Collection[Any], memo: _Memo) -> Collection[Any]:
    kinds = set(map(type, nodes))
    if kinds <= _WITHOUT_QUERIES or not any(hasattr(kind, "as_sql") for kind in kinds):
        return nodes
    return [_copy_node(node, memo) for node in nodes]


def _copy_node(node: Any, memo: _Memo) -> Any:
    """Return an expression with its own copies of the queries inside it, or itself without any."""
    if type(node) in _WITHOUT_QUERIES:
        return node
    if isinstance(node, Lookup):
        return _with_sides(node, memo)
    if isinstance(node, Query):
        return memo[id(node)] if id(node) in memo else compile_copy(node, memo)
    if isinstance(node, Node):
        children = _copy_each(node.children, memo)
        return node if _are_same(children, node.children) else _replaced(node, children=children)
    if isinstance(node, (list, tuple, set, frozenset)):
        own = _copy_each(node, memo)
        return node if own is node or _are_same(own, node) else type(node)(own)
    return _with_sources(node, memo)


def _with_sides(lookup: Any, memo: _Memo) -> Any:
    left, right = _copy_node(lookup.lhs, memo), _copy_node(lookup.rhs, memo)
    return (
        lookup
        if left is lookup.lhs and right is lookup.rhs
        else _replaced(lookup, lhs=left, rhs=right)
    )


def _with_sources(expression: Any, memo: _Memo) -> Any:
    get_sources = getattr(expression, "get_source_expressions", None)
    sources = get_sources() if get_sources else ()
    own = _copy_each(sources, memo)
    if own is sources or _are_same(own, sources):
        return expression
    copied = copy(expression)
    copied.set_source_expressions(own)
    return copied


def _are_same(some: Collection[Any], others: Collection[Any]) -> bool:
    return all(one is other for one, other in zip(some, others))


def _replaced(node: Any, **changes: Any) -> Any:
    copied = copy(node)
    copied.__dict__.update(changes)
    return copied
