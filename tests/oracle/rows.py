"""The tables: their first rows, their content, and what changed in it."""

from __future__ import annotations

from functools import cache
from random import Random
from typing import Any

from django.apps import apps
from django.db import connection, transaction
from oracle import values, writes
from oracle.rover import models as rover

Content = dict[str, dict[Any, Any]]

_MODELS = (
    rover.Country,
    rover.Region,
    rover.Author,
    rover.Category,
    rover.Item,
    rover.Detail,
    rover.Comment,
    rover.Role,
)
_SPECIAL = (11, 12)
_FIRST_OWN_KEY = 20
"""From which number the database gives keys by itself, so that those in steps are known."""


def fill(rng: Random, names: dict[str, Any]) -> None:
    """Put new first rows into empty tables."""
    _empty({model._meta.db_table for model in apps.get_models(include_auto_created=True)})
    with transaction.atomic():
        for model in _MODELS:
            pks = [
                pk
                for pk in range(1, values.COUNTS[model.__name__] + 1)
                if model is not rover.Item or pk not in _SPECIAL
            ]
            made = [
                model(pk=pk, **eval(f"dict({writes.row_values(rng, model, len(pks))})", names))
                for pk in pks
            ]
            model.objects.bulk_create(_consistent(made))
        for pk in _SPECIAL:
            rover.Special(
                pk=pk, **eval(f"dict({writes.row_values(rng, rover.Special, 6)})", names)
            ).save(force_insert=True)
        for item in rover.Item.objects.all():
            item.authors.set(rng.sample(range(1, 7), rng.choice((0, 1, 2))))
            item.alike.set(rng.sample(range(1, 11), rng.choice((0, 0, 1))))


def _consistent(made: list[Any]) -> list[Any]:
    """Keep to what is unique."""
    if isinstance(made[0], rover.Detail):
        for detail in made:
            detail.item_id = detail.pk
    if isinstance(made[0], rover.Role):
        return list({(role.author_id, role.category_id): role for role in made}.values())
    return made


def content() -> Content:
    """Return every row of every table by its key."""
    found: Content = {}
    with connection.cursor() as cursor:
        for model in apps.get_models(include_auto_created=True):
            if model._meta.proxy:
                continue
            columns = [field.column for field in model._meta.local_fields]
            at = columns.index(model._meta.pk.column)
            cursor.execute(
                f"SELECT {', '.join(map(connection.ops.quote_name, columns))} FROM {model._meta.db_table}"
            )
            found[model._meta.db_table] = {row[at]: row for row in cursor.fetchall()}
    return found


def changed(before: Content, after: Content) -> set[tuple[str, Any]]:
    """Return the rows that differ, came or went."""
    found = set()
    for table, rows in after.items():
        old = before[table]
        if old != rows:
            found |= {(table, pk) for pk in old.keys() | rows.keys() if old.get(pk) != rows.get(pk)}
    return found


def _empty(names: set[str]) -> None:
    tables = sorted(names)
    with transaction.atomic(), connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"DELETE FROM {table}")
        if connection.vendor == "postgresql":
            for sequence in _sequences():
                cursor.execute("SELECT setval(%s, %s)", (sequence, _FIRST_OWN_KEY - 1))
            return
        cursor.execute("DELETE FROM sqlite_sequence")
        for table in tables:
            cursor.execute(
                "INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)",
                (table, _FIRST_OWN_KEY - 1),
            )


@cache
def _sequences() -> list[str]:
    """List the sequences that give keys on PostgreSQL."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sequencename FROM pg_sequences WHERE schemaname = 'public'")
        return [name for (name,) in cursor.fetchall()]
