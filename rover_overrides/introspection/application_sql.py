"""The SQL in a query that is an application's own, and the tables that it names.

It is what fragments say (`RawSQL`, `extra()`), what a template or a function's name says, and what a class that is not Django's
compiles to. Tables that it names are depended on as a whole. What cannot be read is an UncachedError.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any, NamedTuple

from django.db.models import Aggregate, Exists, Func, Subquery
from django.db.models.expressions import Col, RawSQL
from django.db.models.lookups import Lookup
from django.db.models.sql.where import ExtraWhere

from rover_overrides.introspection import stock
from rover_overrides.introspection.table_names import UnreadableError, known_table, tables_named

_DATA = frozenset(
    """
    _resolve_output_field allow_distinct allow_order_by arg_joiner arity bilateral contains_aggregate empty_result_set_value
    function lookup_name name output_field template window_compatible
    """.split()  # noqa: SIM905 - it reads better than fifteen quotes
)
"""What a class may say of itself without writing its SQL by a method of its own."""
_PLACEHOLDERS = frozenset({"get_placeholder", "get_placeholder_sql"})


class UncachedError(Exception):
    """The result of the query must not be kept: it has no fixed value, or depends on what is not understood."""


class Fragment(NamedTuple):
    """A piece of SQL; `any_function` where functions need not be known, as those through which a field stores its values."""

    sql: str
    params: Iterable[Any] = ()
    any_function: bool = False


def tables_of(query: Any, nodes: Iterable[Any], using: str) -> set[str]:
    """Return the tables that the own SQL of a query and of the nodes in it names; raises UncachedError."""
    try:
        found = {known_table(name) for name in query.extra_tables}
        for fragment in _fragments(query, nodes, using):
            found |= tables_named(fragment.sql, fragment.params, any_function=fragment.any_function)
    except UnreadableError as error:
        raise UncachedError(str(error)) from error
    return found


def has_own(node: Any) -> bool:
    """Tell whether a node of a query makes SQL that is not Django's."""
    if not _is_djangos(type(node)) or not stock.SET_ON_ONE.isdisjoint(node.__dict__):
        return True
    if type(node) is Col:
        return selects_own(node.output_field)
    return (
        _is_worded(node)
        if isinstance(node, (Func, Subquery))
        else isinstance(node, Lookup) and _places(node)
    )


@stock.once
def _is_djangos(cls: type) -> bool:
    return stock.is_own_class(cls) and not issubclass(cls, (ExtraWhere, RawSQL))


@stock.once
def selects_own(field: Any) -> bool:
    """Tell whether SQL that is not Django's stands around a column where it is selected."""
    return not stock.is_field(field) and stock.defines(field, {"select_format"})


@stock.once
def any_selected_own(model: Any) -> bool:
    """Tell that of the columns of a model."""
    return any(map(selects_own, model._meta.concrete_fields))


@stock.once
def _places_own(field: Any) -> bool:
    return not stock.is_field(field) and stock.defines(field, _PLACEHOLDERS)


def _places(node: Any) -> bool:
    """Tell whether the operand of a lookup gets SQL of a field's own around it."""
    field = (
        node.lhs.output_field if type(node.lhs) is Col else getattr(node.lhs, "output_field", None)
    )
    return field is not None and _places_own(field)


def _is_worded(node: Any) -> bool:
    """Tell whether a single expression was given words of SQL."""
    return not _WORDS.isdisjoint(node.extra) or (
        "template" in node.__dict__ and node.template != type(node).template
    )


_WORDS = frozenset({"arg_joiner", "function", "template"})


def _fragments(query: Any, nodes: Iterable[Any], using: str) -> Iterator[Fragment]:
    for sql, params in query.extra.values():
        yield Fragment(sql, params or ())
    fields = query.get_meta().concrete_fields if query.default_cols else ()
    yield from (_formatted(field, query, using) for field in fields if selects_own(field))
    for node in nodes:
        yield from _of_node(node, query, using)


def _of_node(node: Any, query: Any, using: str) -> Iterator[Fragment]:
    if type(node) is ExtraWhere:
        yield from (Fragment(sql, node.params or ()) for sql in node.sqls)
    elif type(node) is RawSQL:
        yield Fragment(node.sql, node.params)
    elif type(node) is Col and selects_own(node.output_field):
        yield _formatted(node.output_field, query, using)
    elif isinstance(node, (Func, Subquery)) and _is_template(node):
        yield Fragment(_filled(node))
    else:
        yield _compiled(node, query, using, any_function=_is_djangos(type(node)))


def _is_template(node: Any) -> bool:
    """Tell whether an expression is Django's own but for the words in its template."""
    plain = type(node).as_sql in _FILL_TEMPLATES and not stock.is_changed(node)
    return plain and stock.overridden(type(node)) <= _DATA | stock.ANY_CLASS


_FILL_TEMPLATES = frozenset(cls.as_sql for cls in (Aggregate, Exists, Func, Subquery))


def _filled(node: Any) -> str:
    """Return the words of a template, with marks where Django's own SQL goes."""
    said: Mapping[str, Any] = {
        "function": getattr(node, "function", ""),
        "template": node.template,
        **node.extra,
    }
    joiner = str(said.get("arg_joiner", getattr(node, "arg_joiner", "")))
    filled = re.sub(
        r"%\((\w+)\)s", lambda found: str(said.get(found.group(1), " ? ")), str(said["template"])
    )
    return f"{filled.replace('%%', '%')} {joiner.strip(' ,')}"


def _formatted(field: Any, query: Any, using: str) -> Fragment:
    try:
        sql, params = field.select_format(query.get_compiler(using), "?", [])
    except Exception as error:  # it is the application's
        raise UncachedError(f"{type(field).__name__} is not understood") from error
    return Fragment(sql, params, any_function=True)


def _compiled(node: Any, query: Any, using: str, *, any_function: bool) -> Fragment:
    """Compile a copy of a node; one that is not resolved yet as Django's compiler would."""
    try:
        clone = query.clone()
        node = deepcopy(node)
        if hasattr(node, "resolve_expression") and not getattr(node, "is_resolved", True):
            node = node.resolve_expression(clone, allow_joins=True, reuse=None)
        sql, params = clone.get_compiler(using).compile(node)
    except Exception as error:  # it is the application's
        raise UncachedError(f"{type(node).__name__} is not understood") from error
    return Fragment(sql, params, any_function)
