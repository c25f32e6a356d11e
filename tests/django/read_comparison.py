"""Every read of a test is made plain and cached twice, and the cached ones again after later writes.

The plain read is the one that the test's own counting sees: as many queries as without the cache, whatever is asked beside it.
The test goes on with the cached answer. Without the cache all the reads are plain, so that what the comparing itself breaks
fails there, too.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import committed_test_case
from answer_difference import difference
from django.db import DatabaseError, connections
from django.db.models import QuerySet

MAX_REMEMBERED = 24
"""Reads of a test that are made again at its end."""
REPEATED_PER_READ = 6
"""Of these, the newest, which are made again with the next read after a write."""

figures: Counter[str] = Counter()


class _Local(threading.local):
    """What a thread is doing; `hits` exists once it has compared a read."""

    is_hidden = False


_local = _Local()
_reads: deque[Read] = deque(maxlen=MAX_REMEMBERED)
_state: dict[str, Any] = {"log": None, "cached": False, "test": "", "seen": 0, "installed": False}
_original: dict[str, Any] = {}


@dataclass(frozen=True)
class Answer:
    """What a read gave or raised, and whether it came from the cache."""

    value: Any = None
    error: Exception | None = None
    hit: bool = False


@dataclass(frozen=True)
class Read:
    """A read that can be made again, on a queryset of its own."""

    kind: str
    queryset: Any
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    def run_on(self, queryset: Any) -> Any:
        """Make the read on a queryset; related rows that it prefetches are reads of their own."""
        if self.kind != "_fetch_all":
            return _original[self.kind](queryset, *self.args, **self.kwargs)
        done, queryset._prefetch_done = queryset._prefetch_done, True
        try:
            _original["_fetch_all"](queryset)
        finally:
            queryset._prefetch_done = done
        return queryset._result_cache

    def copy(self) -> Any:
        """Return a queryset like the read's that shares nothing that compiling changes."""
        queryset = self.queryset._clone()
        _detach_selected(queryset.query)
        return queryset


def _detach_selected(query: Any) -> None:
    """Return a cloned query a `selected` of its own: an ordered UNION adds to it when it is compiled (Django 5.2)."""
    if getattr(query, "selected", None) is not None:
        query.selected = dict(query.selected)
    for combined in query.combined_queries:
        _detach_selected(combined)


def install(log: Any, *, cached: bool) -> None:
    """Put the comparing over what cacheops put over Django's own methods."""
    _state.update(log=log, cached=cached, installed=True)
    for name in ("_fetch_all", "count", "exists", "aggregate"):
        _original[name] = QuerySet.__dict__[name]
    QuerySet._fetch_all = _fetch_all  # type: ignore[method-assign]
    QuerySet.count = _hook("count")  # type: ignore[method-assign]
    QuerySet.exists = _hook("exists")  # type: ignore[method-assign]
    QuerySet.aggregate = _hook("aggregate")  # type: ignore[method-assign]
    if cached:
        from cacheops.signals import cache_read

        cache_read.connect(_record_hit, weak=False)


def count_hits() -> None:
    """Count the hits of tests whose reads are made as the tests make them."""
    from cacheops.signals import cache_read

    cache_read.connect(_count_hit, weak=False)


def _count_hit(hit: bool, **_: Any) -> None:
    figures["cached reads"] += 1
    figures["hits"] += hit


def begin_test(test: str) -> None:
    """Take up a test."""
    _state.update(test=test, seen=committed_test_case.writes.total())
    _reads.clear()


def current_test() -> str:
    """Return the id of the test that runs."""
    return str(_state["test"])


def end_test() -> None:
    """Forget a test's reads, and with them what the server keeps of its rows."""
    _reads.clear()
    if _state["installed"] and _state["cached"]:
        from cacheops.redis import redis_client

        with _hidden_from_test():
            redis_client.flushdb()


def repeat_reads(number: int = MAX_REMEMBERED) -> None:
    """Make the newest reads again where something was written since."""
    if not _state["installed"] or _state["seen"] == committed_test_case.writes.total():
        return
    _state["seen"] = committed_test_case.writes.total()
    if any(connection.in_atomic_block for connection in connections.all(initialized_only=True)):
        return
    with _hidden_from_test():
        for read in list(_reads)[-number:]:
            _repeat(read)


def _repeat(read: Read) -> None:
    expected = _plain(read, read.copy())
    if expected.error is None:
        got = _cached(read, read.copy())
        figures["made again"] += 1
        _compare(read, expected, got, "after a write")


def _hook(kind: str) -> Any:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        read = Read(kind, self, args, kwargs)
        if _is_compared(self):
            return _compared(read)
        figures["not compared"] += not _local.is_hidden
        return _original[kind](self, *args, **kwargs)

    method.__name__ = kind
    method.alters_data = False  # type: ignore[attr-defined]
    return method


def _fetch_all(self: Any) -> None:
    if self._result_cache is None and _is_compared(self):
        self._result_cache = _compared(Read("_fetch_all", self))
    _original["_fetch_all"](self)


def _is_compared(queryset: Any) -> bool:
    """Return whether a read may be made several times: not in a transaction that is broken or from which nothing is cached."""
    if _local.is_hidden or queryset._result_cache is not None or queryset._for_write:
        return False
    if queryset.query.select_for_update:
        return False
    connection = connections[queryset.db]
    if not connection.in_atomic_block:
        return True
    if connection.needs_rollback or not _state["cached"]:
        return False
    from cacheops.transaction import transaction_states

    return not transaction_states.is_dirty([queryset.db])


def _compared(read: Read) -> Any:
    """Make a read plain, then cached twice, and return the second cached answer, unless it is wrong."""
    repeat_reads(REPEATED_PER_READ)
    figures["reads"] += 1
    plain = _plain(read, read.copy())
    if isinstance(plain.error, DatabaseError) and connections[read.queryset.db].in_atomic_block:
        raise plain.error
    with _hidden_from_test():
        remembered = read.copy()
        remembered._db = read.queryset.db
        second = read.copy()  # before compiling for the key can change anything
        answers = [_cached(read, read.queryset), _cached(read, second)]
        figures["second hits"] += answers[1].hit
        read.queryset._result_cache = None
        wrong = [_compare(read, plain, answer, "at once") for answer in answers]
        if plain.error is None:
            _reads.append(Read(read.kind, remembered, read.args, read.kwargs))
    if plain.error is not None:
        raise plain.error
    return plain.value if any(wrong) or answers[1].error else answers[1].value


def _plain(read: Read, queryset: Any) -> Answer:
    """Make a read without the cache."""
    _local.is_hidden, before = True, _local.is_hidden
    try:
        with _cache_off():
            return Answer(read.run_on(queryset))
    except Exception as error:
        return Answer(error=error)
    finally:
        _local.is_hidden = before


def _cached(read: Read, queryset: Any) -> Answer:
    """Make a read as the cache does."""
    _local.hits = []
    try:
        value = read.run_on(queryset)
    except Exception as error:
        return Answer(error=error, hit=any(_local.hits))
    return Answer(value, hit=bool(_local.hits) and _local.hits[0])


def _compare(read: Read, expected: Answer, got: Answer, when: str) -> bool:
    """Count a comparison and log it if the answer is wrong; an answer that was not stored is the database's own."""
    figures["hits"] += got.hit
    if got.error is None and expected.error is None and not got.hit:
        return False
    figures["comparisons"] += 1
    found = _difference(expected, got, read.queryset)
    if not found or (got.error is None and _is_unstable(read, expected)):
        return False
    figures["wrong"] += 1
    _state["log"].write(
        wrong=_state["test"],
        kind=read.kind.strip("_"),
        when=when,
        difference=found,
        **_described(read),
    )
    return True


def _difference(expected: Answer, got: Answer, queryset: Any) -> str:
    if type(expected.error) is not type(got.error):
        return f"raised {got.error!r:.200} in place of {expected.error or expected.value!r:.100}"
    if expected.error is not None:
        return ""
    known = {
        id(obj): obj
        for objects in queryset._known_related_objects.values()
        for obj in objects.values()
    }
    return difference(expected.value, got.value, known)


def _is_unstable(read: Read, expected: Answer) -> bool:
    """Return whether the database itself answers otherwise the next time."""
    again = _plain(read, read.copy())
    figures["unstable"] += (found := bool(_difference(expected, again, read.queryset)))
    return found


def _described(read: Read) -> dict[str, str]:
    try:
        sql = str(read.copy().query)
    except Exception as error:
        sql = repr(error)
    return {
        "model": read.queryset.model._meta.label,
        "sql": sql[:600],
        "queryset": type(read.queryset).__qualname__,
    }


def _record_hit(hit: bool, **_: Any) -> None:
    if hasattr(_local, "hits"):
        _local.hits.append(hit)


@contextmanager
def _cache_off() -> Any:
    if not _state["cached"]:
        yield
        return
    from cacheops.conf import settings

    before = settings.CACHEOPS_ENABLED
    settings.CACHEOPS_ENABLED = False
    try:
        yield
    finally:
        settings.CACHEOPS_ENABLED = before


@contextmanager
def _hidden_from_test() -> Any:
    """Keep what is asked in a block out of the test's sight: no log of queries, no wrapper, no count."""
    before = _local.is_hidden
    _local.is_hidden = True
    logger = logging.getLogger("django.db.backends")
    disabled, logger.disabled = logger.disabled, True
    kept = [
        (
            connection,
            connection.queries_log,
            connection.force_debug_cursor,
            connection.execute_wrappers,
        )
        for connection in connections.all(initialized_only=True)
    ]
    for connection, *_ in kept:
        connection.queries_log, connection.force_debug_cursor, connection.execute_wrappers = (
            deque(maxlen=9000),
            False,
            [],
        )
    try:
        yield
    finally:
        for connection, log, force, wrappers in kept:
            connection.queries_log, connection.force_debug_cursor, connection.execute_wrappers = (
                log,
                force,
                wrappers,
            )
        logger.disabled = disabled
        _local.is_hidden = before
