"""Explicit invalidation: `invalidate_obj()`, `invalidate_model()` and the functions that call them.

An object may lack fields: deferred ones, and those that hold an expression such as `F()`. Their
values are unknown, so results for any value of these fields are invalidated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cacheops.conf import settings

from rover_overrides.core.modes import is_write_already_tracked
from rover_overrides.core.switches import is_enabled
from rover_overrides.invalidation import commits
from rover_overrides.invalidation.two_phase import Change
from rover_overrides.rows.rows import is_expression

__all__ = ["invalidate_row", "invalidate_table", "is_write_already_tracked", "prepared_value"]


def invalidate_row(model: Any, obj_dict: Mapping[str, Any], using: str) -> bool:
    """Invalidate what depends on a row, given by its attributes, in each of its tables.

    Return False without CACHEOPS_INSIDEOUT, where upstream's own code has to do it.
    """
    if not settings.CACHEOPS_INSIDEOUT:
        return False
    if is_write_already_tracked():  # the write that caused it was recorded
        return True
    for table in [model._meta, *(parent._meta for parent in _parents(model))]:
        fields = table.concrete_model._meta.local_concrete_fields
        row = {
            field.column: obj_dict[field.attname] for field in fields if field.attname in obj_dict
        }
        complete = len(row) == len(fields)
        gone = row if row and (complete or is_enabled("deferred-fields")) else None
        commits.record(using, Change(table.db_table, gone, None))
    return True


def prepared_value(field: Any, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield a field's attribute and its value as it is stored, or nothing.

    Nothing is yielded if only the database knows the value, or if the field rejects it. A write of
    a rejected value raises by itself where it has to.
    """
    if is_expression(value):
        return
    try:
        yield field.attname, field.get_prep_value(value)
    except Exception:  # noqa: BLE001 - a field may raise anything for an unsuitable value
        return


def invalidate_table(model: Any, using: str) -> bool:
    """Invalidate what depends on any row of a model's table.

    Return False without CACHEOPS_INSIDEOUT, where upstream's own code has to do it.
    """
    if not settings.CACHEOPS_INSIDEOUT:
        return False
    commits.record(using, Change(model._meta.db_table, None, None))
    return True


def _parents(model: Any) -> list[Any]:
    """Return the parent models whose own tables hold parts of a row."""
    own = model._meta.db_table
    parents = {parent._meta.db_table: parent for parent in model._meta.get_parent_list()}
    return [parent for table, parent in parents.items() if table != own]
