"""Explicit invalidation: `invalidate_obj()`, `invalidate_model()` and what leads there.

An object may lack fields: those that it deferred, and those that hold an expression such as `F()`. They are unknown, so that the
results of any value of them are dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cacheops.conf import settings

from rover_overrides.core.modes import is_done
from rover_overrides.core.switches import on
from rover_overrides.invalidation import commits
from rover_overrides.invalidation.two_phase import Change
from rover_overrides.rows.rows import is_expression

__all__ = ["invalidate_row", "invalidate_table", "is_done", "prepared"]


def invalidate_row(model: Any, obj_dict: Mapping[str, Any], using: str) -> bool:
    """Drop what depends on a row that is given by attributes, in each table it is in; tell whether that is how it works here."""
    if not settings.CACHEOPS_INSIDEOUT:
        return False
    if is_done():
        return True
    for table in [model._meta, *(parent._meta for parent in _parents(model))]:
        fields = table.concrete_model._meta.local_concrete_fields
        row = {
            field.column: obj_dict[field.attname] for field in fields if field.attname in obj_dict
        }
        complete = len(row) == len(fields)
        gone = row if row and (complete or on("deferred-fields")) else None
        commits.record(using, Change(table.db_table, gone, None))
    return True


def prepared(field: Any, value: Any) -> Iterator[tuple[str, Any]]:
    """Give a field's attribute and its value as it is stored; nothing where only the database knows, or the field refuses it.

    A write with that value raises by itself where it has to.
    """
    if is_expression(value):
        return
    try:
        yield field.attname, field.get_prep_value(value)
    except Exception:  # noqa: BLE001 - whatever a field raises for an odd value, as an object where a key is wanted
        return


def invalidate_table(model: Any, using: str) -> bool:
    """Drop what depends on any row of a model's table; tell whether that is how it works here."""
    if not settings.CACHEOPS_INSIDEOUT:
        return False
    commits.record(using, Change(model._meta.db_table, None, None))
    return True


def _parents(model: Any) -> list[Any]:
    """Return the models with other tables that a row is spread over."""
    own = model._meta.db_table
    parents = {parent._meta.db_table: parent for parent in model._meta.get_parent_list()}
    return [parent for table, parent in parents.items() if table != own]
