"""The tables that a queryset prefetches: a function's result may contain rows of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model, Prefetch


def prefetched_tables(queryset: Any) -> set[str] | None:
    """Return the tables that `prefetch_related()` reads, or None if that depends on the rows."""
    found: set[str] = set()
    for lookup in queryset._prefetch_related_lookups:
        model = queryset.model
        for name in (
            lookup.prefetch_through if isinstance(lookup, Prefetch) else str(lookup)
        ).split("__"):
            relation = _relation(model, name)
            model = getattr(relation, "related_model", None)
            if not (isinstance(model, type) and issubclass(model, Model)):
                return None
            found.update(_tables(relation, model))
    return found


def prefetched_querysets(queryset: Any) -> Iterator[Any]:
    """Yield the querysets of `Prefetch` objects."""
    for lookup in queryset._prefetch_related_lookups:
        if getattr(lookup, "queryset", None) is not None:
            yield lookup.queryset


def _relation(model: type[Model], name: str) -> Any:
    """Return a model's relation by the name of its accessor, or None."""
    try:
        return model._meta.get_field(name)
    except FieldDoesNotExist:
        return next(
            (one for one in model._meta.related_objects if one.get_accessor_name() == name), None
        )


def _tables(relation: Any, model: type[Model]) -> Iterator[str]:
    """Yield the tables of related rows: of the model, its parents and a `through` model."""
    yield from (one._meta.db_table for one in (model, *model._meta.parents))
    through = getattr(relation, "through", None) or getattr(relation.remote_field, "through", None)
    if through is not None:
        yield through._meta.db_table
