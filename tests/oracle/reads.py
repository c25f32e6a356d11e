"""What can be read of a queryset, as a text that is equal for equal answers; which reads were hits; what the database was asked."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cacheops import cached_as
from cacheops.conf import settings
from cacheops.signals import cache_read
from django.core.exceptions import MultipleObjectsReturned, ObjectDoesNotExist
from django.db import connections, models

LIMIT_SECONDS = 0.5
"""Of processor time for a cached read; upstream's analysis of some queries takes hours."""


class _ThreadHits(threading.local):
    def __init__(self) -> None:
        self.recorded_hits: list[bool] = []


_thread_hits = _ThreadHits()


def _record_hit(*, hit: bool, **_: Any) -> None:
    _thread_hits.recorded_hits.append(hit)


cache_read.connect(_record_hit)


def as_text(value: Any, inside: tuple[int, ...] = ()) -> str:
    """Return a text that two answers share only if they are the same, types and loaded columns included."""

    def each(items: Any) -> list[str]:
        return [as_text(item, (*inside, id(value))) for item in items]

    if id(value) in inside:  # rows that hold each other
        return f"{type(value).__name__} {value.pk} again"
    if isinstance(value, models.Model):
        state, held = value._state, vars(value)
        plain = {name: item for name, item in held.items() if not name.startswith("_")}
        own, near = (
            zip(plain, each(plain.values()), strict=True),
            zip(state.fields_cache, each(state.fields_cache.values()), strict=True),
        )
        far = {
            name: sorted(each(item))
            for name, item in held.get("_prefetched_objects_cache", {}).items()
        }
        return f"{type(value).__name__}({sorted(own)} {sorted(near)} {sorted(far.items())})"
    if isinstance(value, dict):
        pairs = (": ".join(each(pair)) for pair in sorted(value.items(), key=repr))
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(each(value)) + "]"
    return repr(value)


def rows(queryset: Any) -> str:
    """Read all rows; their order does not count."""
    return "\n".join(sorted(map(as_text, queryset)))


def ranked(queryset: Any) -> str:
    """Read all rows; their order counts."""
    return "\n".join(map(as_text, queryset))


def cached(queryset: Any) -> str:
    """Read all rows by a function that is cached as the queryset."""

    def fetch() -> list[str]:
        return [as_text(item) for item in queryset.nocache()]

    answered = (
        cached_as(queryset)(fetch) if settings.CACHEOPS_ENABLED else fetch
    )  # it analyses the query even where the cache is off
    return "\n".join(sorted(answered()))


def count(queryset: Any) -> str:
    """Read the number of rows."""
    return repr(queryset.count())


def exists(queryset: Any) -> str:
    """Read whether there is a row."""
    return repr(queryset.exists())


def total(queryset: Any, aggregate: Any) -> str:
    """Read an aggregate over the rows."""
    return as_text(queryset.aggregate(a=aggregate))


def one(queryset: Any, **more: Any) -> str:
    """Read the one row, or that there is none or are several."""
    try:
        return as_text(queryset.get(**more))
    except (ObjectDoesNotExist, MultipleObjectsReturned) as error:
        return type(error).__name__


def first(queryset: Any) -> str:
    """Read the first row."""
    return as_text(queryset.first())


def last(queryset: Any) -> str:
    """Read the last row."""
    return as_text(queryset.last())


def bulk(queryset: Any, pks: list[int]) -> str:
    """Read rows by their keys."""
    return as_text(queryset.in_bulk(pks))


READ_STEPS = {
    item.__name__: item
    for item in (rows, ranked, cached, count, exists, total, one, first, last, bulk)
}


@contextmanager
def cache_off() -> Iterator[None]:
    """Answer from the database alone."""
    before = settings.CACHEOPS_ENABLED
    settings.CACHEOPS_ENABLED = False
    try:
        yield
    finally:
        settings.CACHEOPS_ENABLED = before


@contextmanager
def recorded_hits() -> Iterator[list[bool]]:
    """Yield the list that the reads of this thread are entered into: whether each was a hit."""
    _thread_hits.recorded_hits = found = []
    yield found


class CpuLimitError(Exception):
    """Says that reading took more processor time than any query is worth."""


def _stop_at_limit(*_: object) -> None:
    raise CpuLimitError


signal.signal(signal.SIGVTALRM, _stop_at_limit)


@contextmanager
def cpu_limited() -> Iterator[None]:
    """Stop the body when it has used up its processor time; in the main thread only, for signals go nowhere else."""
    here = threading.current_thread() is threading.main_thread()
    if here:
        signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT_SECONDS)
    try:
        yield
    finally:
        if here:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)


@contextmanager
def recorded_statements(alias: str = "default") -> Iterator[list[tuple[str, Any]]]:
    """Yield the list that statements and parameters of a connection are entered into."""
    found: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        found.append((sql, params))
        return execute(sql, params, many, context)

    with connections[alias].execute_wrapper(note):
        yield found
