"""The rows of a queryset, from the database or from the cache.

What belongs to one reader is not stored with a result. It is attached after each read, as Django
does: the known related objects, the database alias, and the peers of the fetch mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any
from weakref import ref

import django
from cacheops.conf import settings
from django.db import connections
from django.db.models import Model
from django.db.models.query import ModelIterable

from rover_overrides.cache import nested_reads, results, row_values
from rover_overrides.cache.getset import getting
from rover_overrides.cache.storability import is_being_checked, is_storable
from rover_overrides.keys.compile_copies import compile_copy

_HAS_FETCH_MODES = django.VERSION >= (6, 1)
_SKIPS_DEFERRED = django.VERSION >= (6, 1)
"""Whether Django skips an object whose foreign key is not loaded; earlier versions load the key."""


def fetch(queryset: Any, key: str) -> list[Any]:
    """Return the rows from the database, and store them with dependencies on all that was read.

    Building the objects may run further queries. If these read tables that are not among the
    dependencies yet, the rows are read again under a lease on those tables; another process may
    have stored the result by then.
    """
    rows, is_covered = _fetch(queryset, key)
    if not is_covered:
        queryset._cond_dnfs = nested_reads.with_learned_tables(key, queryset._cond_dnfs)
        with getting(key, queryset._cond_dnfs, queryset._prefix) as data:
            if data is not None:
                return complete_rows(queryset, data[0])
            if results.has_lease(key):
                rows, _ = _fetch(queryset, key)
    if _has_known_related(queryset):
        _attach_known_related(queryset, rows)
    return rows


def _fetch(queryset: Any, key: str) -> tuple[list[Any], bool]:
    """Return the rows, and whether the dependencies cover all that was read for them.

    Rows that are not covered are not stored.
    """
    kind = queryset._iterable_class
    # These belong to the reader's related manager: others share the stored rows.
    source = _without_known_related(queryset) if _has_known_related(queryset) else queryset
    # Without a lease the rows are not stored, so nobody needs to know what else was read.
    if settings.CACHEOPS_INSIDEOUT and results.has_lease(key):
        with nested_reads.recording_reads() as reads:
            rows = list(kind(source))
        if not nested_reads.covers_reads(
            key, queryset._cond_dnfs, reads, None if _is_djangos(kind) else _sql(queryset)
        ):
            return rows, False
    else:
        rows = list(kind(source))
    if is_being_checked():
        return rows, True
    stored = row_values.pack(queryset, rows) if settings.CACHEOPS_INSIDEOUT else None
    if stored is not None or is_storable(rows):
        queryset._cache_results(key, rows if stored is None else stored)
    return rows, True


def complete_rows(queryset: Any, found: Any) -> list[Any]:
    """Return stored rows, completed with what belongs to their reader."""
    is_packed = type(found) is tuple
    rows: list[Any] = row_values.build(found, queryset.db) if is_packed else found
    if not rows or not isinstance(rows[0], Model):
        return rows
    # Aliases of one database share results.
    if not is_packed and len(connections.settings) > 1 and rows[0]._state.db != queryset.db:
        for _, row in _with_related(rows):
            row._state.db = queryset.db
    if _HAS_FETCH_MODES and queryset._fetch_mode.track_peers:
        _link_peers(rows)
    if queryset._known_related_objects and queryset._iterable_class is ModelIterable:
        _attach_known_related(queryset, rows)
    return rows


def _has_known_related(queryset: Any) -> bool:
    return bool(queryset._known_related_objects) and queryset._iterable_class is ModelIterable


def _is_djangos(kind: type) -> bool:
    return kind.__module__ == ModelIterable.__module__


def _sql(queryset: Any) -> str:
    sql: str = compile_copy(queryset.query).get_compiler(queryset.db).as_sql()[0]
    return sql


def _without_known_related(queryset: Any) -> Any:
    """Return the queryset without its known related objects.

    This copies the attributes, because a clone would compile the query again.
    """
    bare = object.__new__(type(queryset))
    bare.__dict__.update(queryset.__dict__, _known_related_objects={})
    return bare


def _attach_known_related(queryset: Any, rows: Sequence[Any]) -> None:
    """Set the known related object on each row, unless select_related() has already set one."""
    for field, objects in queryset._known_related_objects.items():
        names = [_attname(queryset, field, name) for name in field.from_fields]
        key_of = attrgetter(*names)
        for row in rows:
            if field.is_cached(row) or (
                _SKIPS_DEFERRED and any(name not in row.__dict__ for name in names)
            ):
                continue
            key = key_of(row)
            # A key may be missing if querysets were combined.
            if key in objects:
                setattr(row, field.name, objects[key])


def _attname(queryset: Any, field: Any, name: str) -> str:
    found: str = field.attname if name == "self" else queryset.model._meta.get_field(name).attname
    return found


def _link_peers(rows: Sequence[Any]) -> None:
    """Link the objects of each kind as peers, which their fetch mode loads together.

    These links cannot be stored with a result.
    """
    groups: dict[tuple[str, ...], list[Any]] = {}
    for path, row in _with_related(rows):
        peers = groups.setdefault(path, [])
        peers.append(ref(row))
        row._state.peers = peers


def _with_related(rows: Sequence[Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each object and its related objects once, with the path of field names to it."""
    seen: set[int] = set()
    waiting: list[tuple[tuple[str, ...], Any]] = [((), row) for row in reversed(rows)]
    while waiting:
        path, row = waiting.pop()
        if id(row) in seen:
            continue
        seen.add(id(row))
        yield path, row
        waiting += (
            ((*path, name), each)
            for name, each in row._state.fields_cache.items()
            if isinstance(each, Model)
        )
