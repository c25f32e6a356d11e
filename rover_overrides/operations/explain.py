"""Which cached results a save of a row would invalidate, and by which conditions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import Q

from rover_overrides.cache.registry import RegistryCopies, registry_keys, stamp_key
from rover_overrides.conditions import describe
from rover_overrides.conditions.conditions import (
    TRUE,
    related_columns,
    reverse_hop,
)
from rover_overrides.conditions.matching import conditions_met_by
from rover_overrides.invalidation import two_phase
from rover_overrides.rows import rows
from rover_overrides.rows.related_rows import with_related
from rover_overrides.rows.rows import Row
from rover_overrides.transport import pipeline


class Reason(NamedTuple):
    """A condition on a table that a row meets; it is in use if its stamp is on the server."""

    table: str
    condition: str
    in_use: bool


class Table(NamedTuple):
    """A table of a row, with the number of condition templates that its cached results use."""

    name: str
    known: int
    reasons: tuple[Reason, ...]


def explain(model: Any, pk: Any, using: str) -> list[Table]:
    """Return what a save of a row would invalidate, by table; raise the model's DoesNotExist."""
    metas = [
        model._meta.concrete_model._meta,
        *(parent._meta for parent in model._meta.get_parent_list()),
    ]
    return [_explained(meta, _row(meta, model, pk, using), using) for meta in metas]


def _row(meta: Any, model: Any, pk: Any, using: str) -> Row:
    """Return the part of a row that is in one table; raise the model's DoesNotExist."""
    part = meta.concrete_model
    found = rows.fetch_rows(
        rows.matching_query(rows.condition_query(part, Q(pk=pk)), rows.fields_needed(part)),
        connections[using],
    )
    if not found:
        raise model.DoesNotExist(f"no row of {meta.db_table} has the key {pk}")
    return found[0]


def _explained(meta: Any, row: Row, using: str) -> Table:
    table = meta.db_table
    prefix = two_phase.prefix_of(using, table)
    templates = [
        template
        for some in RegistryCopies().read(registry_keys(prefix, table))
        for template in some
    ]
    conjs = sorted(
        {TRUE, *(conj for template in templates for conj in _met(table, template, row, using))}
    )
    replies = pipeline.run([("EXISTS", stamp_key(prefix, table, conj)) for conj in conjs])
    reasons = (
        Reason(table, describe.condition(conj), bool(reply.value))
        for conj, reply in zip(conjs, replies)
    )
    return Table(table, len(templates), tuple(reasons))


def _met(table: str, template: str, row: Row, using: str) -> Iterator[Any]:
    for extended in with_related(
        using, reverse_hop(template), related_columns([template]), [dict(row.items())], ()
    ):
        yield from conditions_met_by(table, [template], extended) or ()
