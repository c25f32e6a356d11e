"""What the fields of a table are to a row's invalidation, found out once for each model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from rover_overrides.conditions.canonical_values import stores_none_as_null
from rover_overrides.introspection.django_classes import (
    cached_by_identity,
    is_django_field,
    resolve_target,
)
from rover_overrides.introspection.field_kinds import FIELD_KINDS

# Kinds whose values, if they have the stored type, Django prepares for the database as they are.
_PREPARED_AS_IS = frozenset({"bool", "date", "decimal", "int", "text", "uuid"})


class TableFields(NamedTuple):
    """The fields of a model's own table."""

    all: Sequence[Any]
    compared: list[Any]
    """Those that conditions may compare or follow, or that the database computes."""
    others: list[Any]
    compared_columns: frozenset[str]
    generated_columns: list[str]
    """The columns that the database computes from others."""
    storages: dict[int, Storage | None]
    """How each field stores its values, by the id of the field; None if that is not known."""


class Storage(NamedTuple):
    """How Django stores the values of a field."""

    target: Any
    """The field whose values it stores: for a foreign key, the one at its end."""
    stored_type: type
    type_as_is: type | None
    """The exact type whose values are prepared for the database as they are, if there is one."""


def fields_of(model: Any) -> TableFields:
    """Return the fields of the table of the model, or of a proxy's concrete model."""
    # Django makes another list when a field is added.
    return _fields(model._meta.concrete_model._meta.local_concrete_fields)


@cached_by_identity
def _fields(fields: Sequence[Any]) -> TableFields:
    compared = [field for field in fields if _is_compared(field)]
    return TableFields(
        fields,
        compared,
        [field for field in fields if not _is_compared(field)],
        frozenset(field.column for field in compared),
        [field.column for field in fields if getattr(field, "generated", False)],
        {id(field): storage_of(field) for field in fields},
    )


def _is_compared(field: Any) -> bool:
    return bool(
        field.primary_key
        or field.unique
        or field.is_relation
        or getattr(field, "generated", False)
        # So does every field whose values compare.
        or stores_none_as_null(field)
    )


@cached_by_identity
def is_stock(field: Any) -> bool:
    """Return whether a field stores and loads values as Django's own, without application code."""
    return is_django_field(field) and not any(
        getattr(resolve_target(field), name, None) for name in ("encoder", "decoder", "generated")
    )


@cached_by_identity
def storage_of(field: Any) -> Storage | None:
    """Return how a field stores its values, or None if that is not known."""
    target = resolve_target(field)
    known = FIELD_KINDS.get(target.get_internal_type()) if is_stock(field) else None
    if known is None:
        return None
    as_is = known.stored_type if known.kind in _PREPARED_AS_IS else None
    return Storage(target, known.stored_type, as_is)
