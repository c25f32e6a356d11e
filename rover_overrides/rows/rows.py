"""The rows that an ORM statement is about to write, and the rows after it.

A row is a dict of the columns of one table. A missing column is unknown.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, Q
from django.db.models.expressions import Col
from django.db.models.lookups import Lookup
from django.db.models.sql import Query

from rover_overrides.conditions import conditions
from rover_overrides.conditions.canonical_values import kind_of, stores_none_as_null
from rover_overrides.database import statements
from rover_overrides.database.connection_state import state_of
from rover_overrides.database.statements import FAILURES, StatementError
from rover_overrides.introspection.django_classes import (
    is_django_connection,
    is_django_field,
    resolve_target,
)
from rover_overrides.introspection.field_kinds import FIELD_KINDS
from rover_overrides.introspection.schema import model_of

Row = dict[str, Any]

# A statement that writes more rows than this counts as writing the whole table.
MAX_STATEMENT_ROWS = 1000
# SQLite's smallest limit of parameters is 999.
_CHUNK = 500

UNKNOWN = object()

# Databases that store these values as given; others round, pad or truncate them.
_STORE_AS_GIVEN = frozenset({"postgresql", "sqlite"})
_DIGITS = 15  # with up to so many, SQLite stores a decimal exactly


def fields_of(model: Any) -> Sequence[Any]:
    """Return the fields with a column in the table of the model, or of a proxy's concrete model."""
    fields: Sequence[Any] = model._meta.concrete_model._meta.local_concrete_fields
    return fields


def fields_needed(model: Any, written: Collection[Any] = ()) -> list[Any]:
    """Return the fields of a row that an invalidation may need.

    These are the fields that conditions compare or follow, and those written. The others are not
    read: the database may lack them (during a deploy), or hold values that can no longer be read.
    """
    return [field for field in fields_of(model) if field in written or _is_compared(field)]


def is_complete(table: str, row: Mapping[str, Any] | None) -> bool:
    """Return whether a row has all columns that an invalidation may need."""
    model = model_of(table)
    return (
        row is not None
        and model is not None
        and all(field.column in row for field in fields_needed(model))
    )


def key_columns(model: Any) -> list[str]:
    """Return the columns of the primary key, which may be composite."""
    meta = model._meta.concrete_model._meta
    return [field.column for field in getattr(meta, "pk_fields", None) or [meta.pk]]


def is_key_readable(model: Any) -> bool:
    """Return whether a primary key can be the operand of a query as it was read."""
    columns = key_columns(model)
    return all(is_stock(field) for field in fields_of(model) if field.column in columns)


def matching_query(query: Query, fields: Sequence[Any], lock: str | None = None) -> Query:
    """Return a query for `MAX_STATEMENT_ROWS` + 1 of the rows that a statement's WHERE selects.

    The additional row shows that there are too many. If other tables take part, they are moved into
    a subquery, so that only rows of the statement's own table are locked.
    """
    found = query.chain(klass=Query)
    found.clear_ordering(True)
    found.extra = {}
    found.clear_select_clause()
    found.select_for_update = False
    alias = found.get_initial_alias()
    if not _is_single(found):
        found.add_fields([found.get_meta().pk.name])
        found = condition_query(found.model, Q(pk__in=found))
        alias = found.get_initial_alias()
    found.set_select([raw_column(field, alias) for field in fields])
    found.set_limits(high=MAX_STATEMENT_ROWS + 1)
    if lock:
        found.select_for_update = True
        found.select_for_update_nowait = found.select_for_update_skip_locked = False
        found.select_for_update_of = ()
        found.select_for_no_key_update = lock == "no key"
    return found


def condition_query(model: Any, condition: Q) -> Query:
    """Return a query on the concrete model's table for the rows that meet a condition."""
    query = Query(model._meta.concrete_model)
    query.add_q(condition)
    return query


def fetch_rows(query: Query, connection: BaseDatabaseWrapper) -> list[Row] | None:
    """Return the rows of a query made by `matching_query`, or None if there are too many.

    Raises StatementError.
    """
    run = (
        statements.lock_rows
        if query.select_for_update
        else partial(statements.read, waits_for_locks=True)
    )
    found = fetch_values(query, connection, run)
    columns = [column.target.column for column in query.select]  # type: ignore[attr-defined]
    return [dict(zip(columns, row)) for row in found] if len(found) <= MAX_STATEMENT_ROWS else None


def fetch_values(
    query: Query, connection: BaseDatabaseWrapper, run: Callable[..., list[Any]] = statements.read
) -> list[Sequence[Any]]:
    """Return the rows of a query of raw columns, run by a function of `statements`.

    Raises StatementError, or the database's error if it ended the application's transaction.
    """
    try:
        compiler = query.get_compiler(connection=connection)
        sql, params = compiler.as_sql()
        found = run(connection, sql, params)
        converters = compiler.get_converters([column for column, *_ in compiler.select])
        return list(compiler.apply_converters(found, converters)) if converters else found
    except EmptyResultSet:
        return []
    except FAILURES as error:
        if state_of(connection).abort_error is not None:
            raise
        raise StatementError(str(error)) from error


def raw_column(field: Any, alias: str) -> Col:
    """Return the column of a field, with the converters of Django's own field or without any."""
    if is_stock(field):
        return field.get_col(alias)  # type: ignore[no-any-return]
    plain: Field[Any, Any] = Field()
    plain.column = field.column
    return Col(alias, plain)


def fetch_by_keys(
    model: Any, fields: Sequence[Any], keys: Sequence[Any], connection: BaseDatabaseWrapper
) -> list[Row]:
    """Return the rows with these primary keys as they are stored now.

    Raises StatementError.
    """
    rows: list[Row] = []
    for start in range(0, len(keys), _CHUNK):
        query = matching_query(
            condition_query(model, Q(pk__in=keys[start : start + _CHUNK])), fields
        )
        rows += fetch_rows(query, connection) or []
    return rows


def row_key(row: Mapping[str, Any], columns: Sequence[str]) -> Any:
    """Return the primary key of a row."""
    return row[columns[0]] if len(columns) == 1 else tuple(row[column] for column in columns)


def has_plain_where(query: Query) -> bool:
    """Return whether a statement's WHERE depends on the row's own columns and constants only."""
    return _is_single(query) and all(_is_plain(child) for child in query.where.children)


def is_expression(value: Any) -> bool:
    """Return whether the database computes the value."""
    return hasattr(value, "resolve_expression") or hasattr(value, "as_sql")


def stored_value(field: Any, value: Any, connection: BaseDatabaseWrapper) -> Any:
    """Return the value that a read returns after `value` was written, `UNKNOWN` if uncertain."""
    own, field = field, resolve_target(field)
    if (
        is_expression(value)
        or connection.vendor not in _STORE_AS_GIVEN
        or not (is_stock(own) and is_django_connection(connection))
    ):
        return UNKNOWN
    known = FIELD_KINDS.get(field.get_internal_type())
    if known is None or value is None:
        return UNKNOWN if known is None else None
    try:
        prepared = field.get_prep_value(value)
    except Exception:  # noqa: BLE001 - the database accepted the value, whatever it raises here
        return UNKNOWN
    return (
        prepared if type(prepared) is known.stored_type and _is_exact(field, prepared) else UNKNOWN
    )


def row_after_update(
    row: Row,
    values: Iterable[tuple[Any, Any]],
    generated: Collection[str],
    connection: BaseDatabaseWrapper,
) -> Row:
    """Return a row after an UPDATE.

    Values that the database computes, or may not store as given, become unknown. A value that is
    the same as the one read before stays as it was.
    """
    new = dict(row)
    for field, value in values:
        now = stored_value(field, value, connection)
        if now is not UNKNOWN:
            new[field.column] = now
        elif not (is_stock(field) and is_same_value(row[field.column], value)):
            del new[field.column]
    # Generated columns may have changed only if another one has.
    return (
        new
        if is_same_row(row, new)
        else {column: value for column, value in new.items() if column not in generated}
    )


def row_after_insert(
    obj: Any, fields: Iterable[Any], returned: Row, connection: BaseDatabaseWrapper
) -> Row:
    """Return the row that an object was stored as.

    Compiling the statement has set on the object what `pre_save` computes.
    """
    known = {
        field.column: stored_value(field, getattr(obj, field.attname), connection)
        for field in fields
    }
    return {
        **{column: value for column, value in known.items() if value is not UNKNOWN},
        **returned,
    }


def returned_values(fields: Iterable[Any], found: Iterable[Any]) -> Row:
    """Return the values that an INSERT returned, of fields that Django converts by itself."""
    return {field.column: value for field, value in zip(fields, found) if is_stock(field)}


def generated_columns(model: Any) -> list[str]:
    """Return the columns that the database computes from others."""
    return [field.column for field in fields_of(model) if getattr(field, "generated", False)]


def is_same_value(one: Any, two: Any) -> bool:
    """Return whether two values are equal at every level: inside JSON, 1 and True are not."""
    return type(one) is type(two) and bool(one == two) and repr(one) == repr(two)


def with_changed_columns(
    table: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None
) -> Iterator[conditions.Row]:
    """Yield a row as it was and as it is; after an update, with the names of changed columns."""
    mark: dict[str | conditions.Column, Any] = {}
    if old is not None and new is not None and old.keys() == new.keys() and is_complete(table, old):
        mark[conditions.CHANGED] = frozenset(
            column for column, value in new.items() if not is_same_value(old[column], value)
        )
    for row in (old, new):
        if row is not None:
            yield {**dict(row.items()), **mark}


def is_same_row(old: Row, new: Row) -> bool:
    """Return whether a write left the row as it was."""
    return old.keys() == new.keys() and all(
        _is_equal(value, new[column]) for column, value in old.items()
    )


def _is_equal(one: Any, two: Any) -> bool:
    if type(one) in _SIMPLE:
        return type(one) is type(two) and bool(one == two)
    return one is two or is_same_value(one, two)


_SIMPLE = frozenset(known.stored_type for known in FIELD_KINDS.values())


def _is_single(query: Query) -> bool:
    query.get_initial_alias()
    tables = sum(query.alias_refcount[alias] > 0 for alias in query.alias_map)
    return (
        tables == 1
        and query.group_by is None
        and not query.distinct
        and not query.is_sliced
        and not query.combinator
    )


def _is_plain(node: Any) -> bool:
    if not isinstance(node, Lookup):
        return bool(getattr(node, "children", None)) and all(
            _is_plain(child) for child in node.children
        )
    operands = node.rhs if isinstance(node.rhs, (list, tuple, set, frozenset)) else [node.rhs]
    return isinstance(node.lhs, Col) and not any(is_expression(operand) for operand in operands)


def _is_compared(field: Any) -> bool:
    """Return whether conditions may compare or follow a column, or the database computes it."""
    leads = field.primary_key or field.unique or field.is_relation
    return bool(
        leads
        or getattr(field, "generated", False)
        or kind_of(field) is not None
        or stores_none_as_null(field)
    )


def is_stock(field: Any) -> bool:
    """Return whether a field stores and loads values as Django's own, without application code."""
    return is_django_field(field) and not any(
        getattr(resolve_target(field), name, None) for name in ("encoder", "decoder", "generated")
    )


def _is_exact(field: Any, value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, decimal.Decimal):
        places = field.decimal_places
        return (
            value.is_finite()
            and places is not None
            and field.max_digits <= _DIGITS
            and -int(value.as_tuple().exponent) <= places
        )
    return True
