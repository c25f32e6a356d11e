"""The keys of querysets by their shapes: the same keys as by compiling, in a third of the time.

The shape of a query and its parameters come from a walk over its structure. A table of the process
has, for each shape that was compiled once, the SQL and the names that complete the key. A query
whose shape is not known for certain is compiled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connections
from django.db.models import query as django_query
from django.db.models.expressions import Col, OrderBy
from django.db.models.sql.datastructures import BaseTable, Join
from django.db.models.sql.query import Query
from django.db.models.sql.where import WhereNode

from rover_overrides.core.bounded_table import BoundedTable, approximate_bytes
from rover_overrides.introspection.django_classes import is_django_field, is_unpatched_django_class
from rover_overrides.keys.encoding import stable_digest, statement_digest
from rover_overrides.keys.made_objects import runs_application_code
from rover_overrides.keys.query_keys import compile_statement, given_names
from rover_overrides.keys.query_state import state_of
from rover_overrides.queries.dependencies import as_count_sample
from rover_overrides.shapes.backends import backend_number
from rover_overrides.shapes.structure import Shape, check_compiled, fields_in, models_in, structure

MAX_BYTES = 16 * 1024 * 1024
"""What the table of shapes may take in a process."""
_ITERABLES = frozenset(
    getattr(django_query, name)
    for name in (
        "FlatValuesListIterable",
        "ModelIterable",
        "NamedValuesListIterable",
        "ValuesIterable",
        "ValuesListIterable",
    )
    if hasattr(django_query, name)
)
_ONE_BY_ONE = getattr(
    django_query, "FETCH_ONE", None
)  # the fetch mode of all objects before Django 6.1
_COMPILING = (BaseTable, Col, Join, OrderBy, Query, WhereNode)
_STR = frozenset({str})
_SIZE = 1500  # bytes of an entry besides its text, about


class KnownShape:
    """What all queries of a shape have in common."""

    __slots__ = ("fields", "frames", "models", "names", "sql")

    def __init__(
        self, sql: str, names: tuple[Any, ...], fields: Sequence[Any], models: Iterable[Any]
    ) -> None:
        self.sql, self.names = sql, names
        self.fields = fields  # kept, so that no others get the ids in the shape
        self.models = [
            (options, options.db_table, options.concrete_fields)
            for options in (model._meta for model in models)
        ]
        """What the SQL has of its models, which may change."""
        self.frames: dict[Any, Any] = {}
        """What the analysis of any such query begins with."""


_table: BoundedTable[Shape, KnownShape | None] = BoundedTable(MAX_BYTES)
_UNSEEN: Any = object()


def digest_by_shape(queryset: Any, *, is_count: bool = False) -> tuple[str, KnownShape, str] | None:
    """Return the digest that compiling a queryset would give, its shape, and the database's alias.

    None in any doubt. With `is_count` the digest is that of the queryset as a sample of which only
    the number of rows is used.
    """
    params: list[Any] = []
    try:
        alias, query, fields = queryset.db, queryset.query, queryset._fields
        connection = connections[alias]
        backend, kind = backend_number(connection), queryset._iterable_class
        if (
            backend is None
            or query.model is not queryset.model
            or kind not in _ITERABLES
            or queryset.__dict__.get("_fetch_mode") is not _ONE_BY_ONE
            or (fields is not None and not _STR.issuperset(map(type, fields)))
        ):
            return None
        if not is_count:
            is_count = state_of(query).is_count_only
        names = given_names(queryset, alias, connection, makes_objects=not is_count)
        shape = (
            queryset.model,
            kind,
            fields,
            names,
            backend,
            is_count,
            structure(query, connection, backend, params),
        )
        known = _table.get(shape, _UNSEEN)
    except Exception:  # noqa: BLE001 - an operand may be of any class
        return None
    if known is _UNSEEN:
        known = _learn(queryset, alias, names, shape, params, is_count)
    if known is None:
        return None
    # Without a function of its own, because every hit gets here.
    for options, table, concrete_fields in known.models:
        if options.db_table != table or options.concrete_fields is not concrete_fields:
            known = _learn(queryset, alias, names, shape, params, is_count)
            if known is None:
                return None
            break
    return statement_digest(known.sql, tuple(params), known.names), known, alias


def _learn(
    queryset: Any,
    alias: str,
    names: tuple[Any, ...],
    shape: Shape,
    params: list[Any],
    is_count: bool,
) -> KnownShape | None:
    """Compile the first query of a shape; add the shape to the table, or that it is in doubt."""
    if is_count:
        queryset = as_count_sample(queryset)
    try:
        made = compile_statement(queryset, alias, names)
        found = (
            KnownShape(
                made.sql, made.names, fields_in(queryset.query), models_in(made.compiler.query)
            )
            if _is_fixed(made.compiler)
            and (is_count or _makes_alike(queryset.model, made.compiler))
            and stable_digest(made.params) == stable_digest(tuple(params))
            else None
        )
    except Exception:  # noqa: BLE001 - compiling runs the code of fields; Django's attempt raises
        found = None
    named = (found.sql, found.names) if found else ()
    return _table.put(shape, found, _SIZE + approximate_bytes((shape, named)))


def _is_fixed(compiler: Any) -> bool:
    """Return whether Django's own classes compiled everything, also what is not in the query.

    These are the columns of the model, the joins of related objects, and the order of its Meta.
    """
    check_compiled(compiler.query)
    if not all(map(is_unpatched_django_class, (type(compiler), *_COMPILING))):
        return False
    columns = [expression for expression, *_ in compiler.select]
    for ordered, _ in compiler.get_order_by():
        if type(ordered) is not OrderBy:
            return False
        columns.append(ordered.expression)
    return all(type(column) is Col and is_django_field(column.target) for column in columns)


def _makes_alike(model: Any, compiler: Any) -> bool:
    """Return whether the shape names all that application code may make objects from.

    For a model with such code the shape has the language and the time zone.
    """
    return runs_application_code(model) or not any(
        runs_application_code(column.target.model) for column, *_ in compiler.select
    )
