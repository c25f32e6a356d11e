"""Which model and field a table and its column belong to."""

from __future__ import annotations

import functools
from typing import Any

from django.apps import apps
from django.db.models import Field, Model


@functools.lru_cache(maxsize=1)
def _models_by_table() -> dict[str, type[Model]]:
    """Map tables to concrete models, including those that Django makes for many-to-many fields."""
    models: dict[str, type[Model]] = {}
    for model in apps.get_models(include_auto_created=True):
        if not model._meta.proxy:
            models.setdefault(model._meta.db_table, model)
    return models


def model_of(table: str) -> type[Model] | None:
    """Return the concrete model of a table, or None for a table that Django does not know."""
    return _models_by_table().get(table) or _rescan(table)


def find_table(name: str, *, is_quoted: bool) -> str | None:
    """Return the table of a model that SQL names, perhaps with a schema, or None.

    A name that is not quoted (`is_quoted` is False) matches in any case.
    """
    return _find_known_table(name, is_quoted=is_quoted) or (
        _find_known_table(name, is_quoted=is_quoted) if _has_changed_on_rescan() else None
    )


@functools.lru_cache(maxsize=8192)
def field_of(table: str, column: str) -> Field[Any, Any] | None:
    """Return the field of a table's column, or None."""
    model = model_of(table)
    fields = model._meta.local_concrete_fields if model is not None else ()
    return next((field for field in fields if field.column == column), None)


def _find_known_table(name: str, *, is_quoted: bool) -> str | None:
    if is_quoted:
        return _tables_by_sql_name().get(name)
    folded = name.casefold()
    return next(
        (
            table
            for spelling, table in _tables_by_sql_name().items()
            if spelling.casefold() == folded
        ),
        None,
    )


@functools.lru_cache(maxsize=1)
def _tables_by_sql_name() -> dict[str, str]:
    """Map the names of tables in SQL, without quotes, to their names in Django."""
    # A db_table may name a schema: "old"."loan", or old"."loan, which Django puts in quotes.
    return {table.strip('"').replace('"."', "."): table for table in _models_by_table()}


def _has_changed_on_rescan() -> bool:
    """Rebuild the map of tables, and return whether it has changed."""
    before = set(_models_by_table())
    _models_by_table.cache_clear()
    _tables_by_sql_name.cache_clear()
    return set(_models_by_table()) != before


def _rescan(table: str) -> type[Model] | None:
    """Rebuild the map of tables and look again: models may be defined late, as in tests."""
    _models_by_table.cache_clear()
    _tables_by_sql_name.cache_clear()
    return _models_by_table().get(table)
