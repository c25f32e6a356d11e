"""The shape of a query: all of its structure by which the SQL of Django differs.

Each attribute of `Query` is known by its name, on each Django of the matrix. One that is not, or
that has a value which this module does not know, raises UnknownShapeError, and the query is
compiled instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Optional

from django.db.models.fields import related, reverse_related
from django.db.models.sql.datastructures import BaseTable, Join
from django.db.models.sql.query import Query
from django.db.models.sql.where import AND, OR, WhereNode

from rover_overrides.keys.query_state import QueryState
from rover_overrides.shapes.operands import Params, UnknownShapeError, read_column, read_lookup

Shape = tuple[Any, ...]

_NAMES_OF_A_WHERE = frozenset(
    """
    children connector negated contains_aggregate contains_over_clause output_field resolved
""".split()  # noqa: SIM905 - it reads better than many quotes
)
_NAMES_OF_A_TABLE = frozenset({"table_alias", "table_name"})
_NAMES_OF_A_JOIN = _NAMES_OF_A_TABLE | frozenset(
    """
    filtered_relation join_cols join_field join_fields join_type nullable parent_alias
""".split()  # noqa: SIM905 - as above
)
_JOINING = frozenset(
    {
        related.ForeignKey,
        related.OneToOneField,
        reverse_related.ManyToOneRel,
        reverse_related.OneToOneRel,
    }
)
_CONNECTORS = frozenset({AND, OR})
_STR = frozenset({str})
_SCALARS = frozenset({bool, int, str, type(None)})


def structure(query: Any, connection: Any, backend: int, params: Params) -> Shape:
    """Return the shape of a query, and append its parameters as Django would send them.

    Raises UnknownShapeError.
    """
    if type(query) is not Query:
        raise UnknownShapeError
    held = query.__dict__
    names = tuple(held)
    try:
        scalars, readers = _readers_of[names]
    except KeyError:
        scalars, readers = _learn_names(names)
    shape: list[Any] = [names]
    for name in scalars:
        value = held[name]
        if type(value) not in _SCALARS:
            raise UnknownShapeError
        shape.append(value)
    for name, read in readers:
        value = held[name]
        if read is not None:
            shape.append(read(value))
        elif value:  # the query uses something of the kind
            raise UnknownShapeError
    # What nearly every query has is read here, because each call counts at a hit.
    if held.get("alias_cols", True) is not True:
        raise UnknownShapeError
    tables = held["table_map"]
    shape += tuple(held["alias_refcount"].items()), (*tables, *map(tuple, tables.values()))
    shape += _joins(held["alias_map"]), _where(held["where"], connection, backend, params)
    if query.default_ordering and not query.order_by:
        # Of the model, which an application may change.
        ordering = held["model"]._meta.ordering
        shape.append(_names(ordering) if ordering else ())
    return tuple(shape)


def fields_in(query: Any) -> list[Any]:
    """Return the fields whose ids are in the shape of a query."""
    found = [column.target for column in getattr(query, "select", ())]
    found += [getattr(join, "join_field", None) for join in query.alias_map.values()]
    waiting = [query.where]
    while waiting:
        for child in waiting.pop().children:
            if type(child) is WhereNode:
                waiting.append(child)
            else:
                found.append(child.lhs.target)
    return found


def models_in(query: Any) -> set[Any]:
    """Return the models of the tables of a query, once it is compiled."""
    joined = [getattr(join, "join_field", None) for join in query.alias_map.values()]
    return {query.model, *(field.related_model for field in joined if field is not None)}


def check_compiled(query: Any) -> None:
    """Raise UnknownShapeError if compiling has made of a query what its shape does not tell."""
    _joins(query.alias_map)
    options = query.get_meta()
    names = query.order_by or (options.ordering if query.default_ordering else ()) or ()
    for name in names:
        pieces = name.lstrip("+-").split("__")
        field = query.names_to_path(pieces, options)[1]
        is_own_column = pieces == ["pk"] or pieces[-1] == getattr(field, "attname", None)
        if field.is_relation and not is_own_column:
            raise UnknownShapeError  # the order is that of the related model, which may change


def _learn_names(names: Shape) -> _Readers:
    unknown = set(names) - _UNUSED - _EMPTY - _SCALAR - _READERS.keys()
    if unknown:
        raise UnknownShapeError
    if len(_readers_of) >= _MAX_NAMES:
        _readers_of.clear()
    found = _readers_of[names] = (
        tuple(name for name in names if name in _SCALAR),
        tuple((name, _READERS.get(name)) for name in names if name in _EMPTY or name in _READERS),
    )
    return found


def _where(node: Any, connection: Any, backend: int, params: Params) -> Shape:
    if (
        type(node) is not WhereNode
        or not node.__dict__.keys() <= _NAMES_OF_A_WHERE
        or node.connector not in _CONNECTORS
    ):
        raise UnknownShapeError
    shape = [node.connector, bool(node.negated)]
    for child in node.children:
        read = _where if type(child) is WhereNode else read_lookup
        shape.append(read(child, connection, backend, params))
    return tuple(shape)


def _names(value: Any) -> Shape:
    """Read names in their order; one of them would be random."""
    if type(value) not in {tuple, list} or not _STR.issuperset(map(type, value)) or "?" in value:
        raise UnknownShapeError
    return tuple(value)


def _columns(value: Any) -> Shape:
    if type(value) is not tuple:
        raise UnknownShapeError
    return tuple(map(read_column, value))


def _selected(value: Any) -> Any:
    return None if value is None else tuple(value.items())


def _related(value: Any) -> Any:
    """Read `select_related`: a bool, or a dict of the same at each name."""
    if type(value) is bool:
        return value
    if type(value) is not dict:
        raise UnknownShapeError
    return tuple((name, _related(inner)) for name, inner in value.items())


def _loading(value: Any) -> Shape:
    names, are_deferred = value
    return frozenset(names), are_deferred


def _joins(joins: Any) -> Shape:
    found = []
    for alias, join in joins.items():
        held = join.__dict__
        if type(join) is BaseTable and held.keys() == _NAMES_OF_A_TABLE:
            found.append((alias, held["table_name"], held["table_alias"]))
        else:
            found.append((alias, *_join(join)))
    return tuple(found)


def _join(join: Any) -> Shape:
    held = join.__dict__
    if (
        type(join) is not Join
        or not held.keys() <= _NAMES_OF_A_JOIN
        or held["filtered_relation"] is not None
        or type(held["join_field"]) not in _JOINING
    ):
        raise UnknownShapeError
    return (
        held["table_name"],
        held["table_alias"],
        held["parent_alias"],
        held["join_type"],
        id(held["join_field"]),
        bool(held["nullable"]),
    )


def _state(value: Any) -> Any:
    if type(value) is not QueryState or value.aggregates is not None or value.ordering:
        raise UnknownShapeError
    return value.is_count_only


_UNUSED = frozenset(
    """
    _annotation_select_cache _extra_select_cache _lookup_joins alias_cols alias_map alias_refcount
    base_table filter_is_sticky model table_map used_aliases where where_class
""".split()  # noqa: SIM905 - as above
)
"""What does not change the SQL, and what is read elsewhere."""
_EMPTY = frozenset(
    """
    _annotations _extra _filtered_relations annotation_select_mask annotations combinator
    combinator_all combined_queries contains_subquery distinct_fields explain_format explain_info
    explain_options explain_query external_aliases extra extra_order_by extra_select_mask
    extra_tables select_for_no_key_update select_for_update select_for_update_nowait
    select_for_update_of select_for_update_skip_locked subquery
""".split()  # noqa: SIM905 - as above
)
"""What belongs to queries that are compiled."""
_SCALAR = frozenset(
    """
    default_cols default_ordering distinct group_by high_mark low_mark max_depth standard_ordering
""".split()  # noqa: SIM905 - as above
)
"""What is itself part of the shape."""
_READERS: dict[str, Callable[[Any], Any]] = {
    "deferred_loading": _loading,
    "order_by": _names,
    "rover_state": _state,
    "select": _columns,
    "select_related": _related,
    "selected": _selected,
    "values_select": _names,
}
"""What a part of the shape is read from."""

_Readers = tuple[tuple[str, ...], tuple[tuple[str, Optional[Callable[[Any], Any]]], ...]]
_readers_of: dict[tuple[str, ...], _Readers] = {}
_MAX_NAMES = 256
