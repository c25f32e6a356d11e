"""The rows that an ORM statement is about to write, and the rows after it.

A row is a dict of the columns of one table. A missing column is unknown.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, Q
from django.db.models.expressions import Col
from django.db.models.lookups import Lookup
from django.db.models.sql import Query

from rover_overrides.conditions import conditions
from rover_overrides.database import statements
from rover_overrides.introspection.django_classes import (
    is_django_connection,
    is_django_lookup,
)
from rover_overrides.introspection.field_kinds import FIELD_KINDS
from rover_overrides.introspection.schema import model_of
from rover_overrides.rows.selects import fetch_prepared, fetch_values
from rover_overrides.rows.table_fields import TableFields, fields_of, is_stock, storage_of

Row = dict[str, Any]

# A statement that writes more rows than this counts as writing the whole table.
MAX_STATEMENT_ROWS = 1000
# SQLite's smallest limit of parameters is 999.
_CHUNK = 500

UNKNOWN = object()

# Databases that store these values as given; others round, pad or truncate them.
_STORE_AS_GIVEN = frozenset({"postgresql", "sqlite"})
_DIGITS = 15  # with up to so many, SQLite stores a decimal exactly


def fields_needed(model: Any, written: Collection[Any] = ()) -> list[Any]:
    """Return the fields of a row that an invalidation may need.

    These are the fields that conditions compare or follow, and those written. The others are not
    read: the database may lack them (during a deploy), or hold values that can no longer be read.
    """
    fields = fields_of(model)
    if not fields.others:
        return fields.compared
    ids = set(map(id, written))
    return [*fields.compared, *[field for field in fields.others if id(field) in ids]]


def is_complete(table: str, row: Mapping[str, Any] | None) -> bool:
    """Return whether a row has all columns that an invalidation may need."""
    model = model_of(table)
    return (
        row is not None
        and model is not None
        and fields_of(model).compared_columns.issubset(row.keys())
    )


def key_columns(model: Any) -> list[str]:
    """Return the columns of the primary key, which may be composite."""
    meta = model._meta.concrete_model._meta
    return [field.column for field in getattr(meta, "pk_fields", None) or [meta.pk]]


def is_key_readable(model: Any) -> bool:
    """Return whether a primary key can be the operand of a query as it was read."""
    columns = key_columns(model)
    return all(is_stock(field) for field in fields_of(model).all if field.column in columns)


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
    found = fetch_values(query, connection, _run_with_lock(bool(query.select_for_update)))
    return _as_rows([column.target.column for column in query.select], found)  # type: ignore[attr-defined]


def fetch_matching(
    query: Query, fields: Sequence[Any], lock: str | None, connection: BaseDatabaseWrapper
) -> list[Row] | None:
    """Return the rows that a statement's WHERE selects, or None if there are too many.

    Raises StatementError.
    """
    if not _is_preparable(query):
        return fetch_rows(matching_query(query, fields, lock), connection)
    columns = [field.column for field in fields]
    found = fetch_prepared(
        (query.model, lock, *columns),
        query.where,
        lambda: matching_query(query, fields, lock),
        connection,
        _run_with_lock(bool(lock)),
    )
    return _as_rows(columns, found)


def _run_with_lock(has_lock: bool) -> Callable[..., list[Any]]:
    return statements.lock_rows if has_lock else _read_waiting


_read_waiting = partial(statements.read, waits_for_locks=True)


def _as_rows(columns: Sequence[str], found: Sequence[Sequence[Any]]) -> list[Row] | None:
    return [dict(zip(columns, row)) for row in found] if len(found) <= MAX_STATEMENT_ROWS else None


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


def has_expression(values: Iterable[tuple[Any, Any]]) -> bool:
    """Return whether the database computes any of the values, which are given with fields."""
    return any(is_expression(value) for _, value in values if type(value) not in _SIMPLE)


def stored_value(field: Any, value: Any, connection: BaseDatabaseWrapper) -> Any:
    """Return the value that a read returns after `value` was written, `UNKNOWN` if uncertain."""
    return _stored_value(field, value) if _stores_as_given(connection) else UNKNOWN


def _stores_as_given(connection: BaseDatabaseWrapper) -> bool:
    return connection.vendor in _STORE_AS_GIVEN and is_django_connection(connection)


def _stored_value(field: Any, value: Any) -> Any:
    storage = storage_of(field)
    if storage is None:
        return UNKNOWN
    if value is None:
        return None
    if type(value) is storage.type_as_is:
        prepared = value
    elif is_expression(value):
        return UNKNOWN
    else:
        try:
            prepared = storage.target.get_prep_value(value)
        except Exception:  # noqa: BLE001 - the database accepted the value, whatever it raises here
            return UNKNOWN
        if type(prepared) is not storage.stored_type:
            return UNKNOWN
    if type(prepared) in _INEXACT_TYPES and not _is_exact(storage.target, prepared):
        return UNKNOWN
    return prepared


def row_after_update(
    row: Row,
    values: Iterable[tuple[Any, Any]],
    fields: TableFields,
    connection: BaseDatabaseWrapper,
) -> Row:
    """Return a row after an UPDATE.

    Values that the database computes, or may not store as given, become unknown. A value that is
    the same as the one read before stays as it was.
    """
    new = dict(row)
    is_known = _stores_as_given(connection)
    for field, value in values:
        storage = fields.storages.get(id(field))
        is_as_given = storage is not None and type(value) is storage.type_as_is
        if is_known and is_as_given and type(value) not in _INEXACT_TYPES:
            new[field.column] = value
            continue
        now = _stored_value(field, value) if is_known else UNKNOWN
        if now is not UNKNOWN:
            new[field.column] = now
        elif not (is_stock(field) and is_same_value(row[field.column], value)):
            del new[field.column]
    # Generated columns may have changed only if another one has.
    if not fields.generated_columns or is_same_row(row, new):
        return new
    return {
        column: value for column, value in new.items() if column not in fields.generated_columns
    }


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
    return fields_of(model).generated_columns


def is_same_value(one: Any, two: Any) -> bool:
    """Return whether two values are equal at every level: inside JSON, 1 and True are not."""
    return type(one) is type(two) and bool(one == two) and repr(one) == repr(two)


def with_changed_columns(
    table: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None
) -> Iterator[conditions.Row]:
    """Yield a row as it was and as it is; after an update, with the names of changed columns."""
    mark: dict[str | conditions.Column, Any] = {}
    if old is not None and new is not None and old.keys() == new.keys() and is_complete(table, old):
        changed = [
            column
            for column, value in new.items()
            if (before := old[column]) is not value
            and not (
                type(value) in _PLAIN_TYPES and type(before) is type(value) and before == value
            )
            and not is_same_value(before, value)
        ]
        mark[conditions.CHANGED] = frozenset(changed)
    for row in (old, new):
        if row is not None:
            yield {**dict(row.items()), **mark}


def is_same_row(old: Row, new: Row) -> bool:
    """Return whether a write left the row as it was."""
    if old.keys() != new.keys():
        return False
    for column, value in old.items():
        other = new[column]
        if value is other:
            continue
        is_equal = (
            type(value) is type(other) and bool(value == other)
            if type(value) in _SIMPLE
            else is_same_value(value, other)
        )
        if not is_equal:
            return False
    return True


_SIMPLE = frozenset({*(known.stored_type for known in FIELD_KINDS.values()), type(None)})
# Types of which two equal values have the same text.
_PLAIN_TYPES = frozenset({bool, dt.date, int, str, uuid.UUID})
_INEXACT_TYPES = frozenset({float, decimal.Decimal})


def _is_single(query: Query) -> bool:
    query.get_initial_alias()
    used = [alias for alias in query.alias_map if query.alias_refcount[alias] > 0]
    return (
        len(used) == 1
        and query.group_by is None
        and not query.distinct
        and not query.is_sliced
        and not query.combinator
    )


def _is_preparable(query: Query) -> bool:
    """Return whether a statement has a WHERE of Django's own lookups on its own table.

    Such a WHERE is compiled alike in any query of the table.
    """
    unknown = [
        node for node in query.where.children if not (is_django_lookup(node) and _is_plain(node))
    ]
    return bool(
        query.where.children
        and not unknown
        and not query.extra_tables
        and _is_single(query)
        and query.get_initial_alias() == query.get_meta().db_table
    )


def _is_plain(node: Any) -> bool:
    if not isinstance(node, Lookup):
        return bool(getattr(node, "children", None)) and all(
            _is_plain(child) for child in node.children
        )
    operands = node.rhs if isinstance(node.rhs, (list, tuple, set, frozenset)) else [node.rhs]
    return isinstance(node.lhs, Col) and not any(is_expression(operand) for operand in operands)


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
