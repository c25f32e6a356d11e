"""Which rows `bulk_create(update_conflicts=True)` changes: it inserts some and updates others.

It does not report which.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import F, Field, Q
from django.db.models.expressions import OrderBy
from django.db.models.sql import Query

from rover_overrides.introspection.django_classes import resolve_target
from rover_overrides.introspection.field_kinds import TEXT_TYPES
from rover_overrides.rows import rows
from rover_overrides.rows.rows import Row
from rover_overrides.rows.table_fields import is_stock


def conflict_condition(query: Any) -> Q | None:
    """Return the condition of the rows that an upsert may touch, or None if it is unknown.

    The condition holds before and after the upsert. It combines the values of each unique field, so
    it may match more rows, which turn out unchanged.
    """
    unique = [_field(query, field) for field in query.unique_fields]
    updated = {_field(query, field).column for field in query.update_fields}
    if (
        not unique
        or len(query.objs) > rows.MAX_STATEMENT_ROWS
        # An upsert that changes a unique field moves rows out of the condition.
        or updated & {field.column for field in unique}
    ):
        return None
    if not all(map(_is_stored_as_given, unique)):
        return None
    condition = Q()
    for field in unique:
        values = [getattr(obj, field.attname) for obj in query.objs]
        if any(value is None or rows.is_expression(value) for value in values):
            return None
        condition &= Q(**{f"{field.attname}__in": values})
    return condition


def lock_in_key_order(query: Any, select: Query) -> Query:
    """Lock the rows in the order of their keys, ascending or descending.

    An application that avoids deadlocks writes its rows in such an order. Python orders text as
    PostgreSQL does under the collation "C".
    """
    from django.db.models.functions import Collate  # Django 3.2, upserts came with 4.1

    if not select.select_for_update:
        return select
    unique = [_field(query, field) for field in query.unique_fields]
    keys = [tuple(getattr(obj, field.attname) for field in unique) for obj in query.objs]
    descends = _is_descending(keys)
    columns = [
        (F(field.attname), resolve_target(field).get_internal_type() in TEXT_TYPES)
        for field in unique
    ]
    select.add_ordering(
        *(
            OrderBy(Collate(column, "C") if text else column, descending=descends)
            for column, text in columns
        )
    )
    return select


def _is_descending(keys: list[Any]) -> bool:
    try:
        return keys[0] > keys[-1]  # type: ignore[no-any-return]
    except TypeError:
        return False


def updated_fields(query: Any) -> list[Any]:
    """Return the fields that an upsert sets in existing rows."""
    return [_field(query, field) for field in query.update_fields]


def row_changes(
    query: Any, old_rows: list[Row], new_rows: list[Row]
) -> Iterator[tuple[Row | None, Row | None]]:
    """Yield each row before and after the upsert.

    A row that did not exist before was inserted; or another connection has just inserted it, and it
    was updated. In that case it had the same values, except in the updated fields.
    """
    columns = rows.key_columns(query.model)
    updated = {_field(query, field).column for field in query.update_fields}
    unmatched = {rows.row_key(row, columns): row for row in old_rows}
    for new in new_rows:
        old = unmatched.pop(rows.row_key(new, columns), None)
        yield (
            {name: value for name, value in new.items() if name not in updated}
            if old is None
            else old,
            new,
        )
    for gone in unmatched.values():
        yield gone, None


def _is_stored_as_given(field: Any) -> bool:
    """Return whether a row can be found by the value that an object has for a field.

    No code of the application may change the value on its way.
    """
    return is_stock(field) and type(field).pre_save is Field.pre_save


def _field(query: Any, field: Any) -> Any:
    return query.get_meta().get_field(field) if isinstance(field, str) else field
