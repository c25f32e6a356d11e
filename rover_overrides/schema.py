"""Which model and field stand behind a table and its column."""

from __future__ import annotations

import functools
from typing import Any

from django.apps import apps
from django.db.models import Field, Model


@functools.lru_cache(maxsize=1)
def _models() -> dict[str, type[Model]]:
    """Map tables to concrete models; those made by Django for many-to-many fields included."""
    found: dict[str, type[Model]] = {}
    for model in apps.get_models(include_auto_created=True):
        if not model._meta.proxy:
            found.setdefault(model._meta.db_table, model)
    return found


def model_of(table: str) -> type[Model] | None:
    """Return the concrete model of a table, or None for a table that Django does not know."""
    return _models().get(table) or _rescan(table)


@functools.cache
def field_of(table: str, column: str) -> Field[Any, Any] | None:
    """Return the field that a table's column belongs to, or None."""
    model = model_of(table)
    fields = model._meta.local_concrete_fields if model is not None else ()
    return next((field for field in fields if field.column == column), None)


def _rescan(table: str) -> type[Model] | None:
    """Look again: tests and applications may make models late."""
    _models.cache_clear()
    return _models().get(table)
