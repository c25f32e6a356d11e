"""Reads that happen while the rows of a query are turned into objects.

An iterable, a model or a field may run queries of its own. The tables that these read, from the
database or from the cache, are dependencies of the result too. They are known only afterwards, when
it is too late for a lease, so the result is read again with a lease on those tables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from typing import Any

from django.apps import apps
from django.db import connections

from rover_overrides.conditions.conditions import TRUE, UNCACHED
from rover_overrides.core.bounded_table import BoundedTable

REMEMBERED_BYTES = 2_000_000
"""In how many bytes a process remembers the tables that were read for results."""

_WORD = re.compile(r"\w+")
_START = re.compile(r"[\s(]*(\w+)")
_NEITHER = frozenset({"pragma", "release", "rollback", "savepoint", "set", "show"})

# The tables that were read, by the key of the result; None if it is unknown which.
_learned: BoundedTable[str, frozenset[str] | None] = BoundedTable(REMEMBERED_BYTES)


class Reads:
    """What was read in a block.

    Holds the statements, and the dependencies of results that were read from the cache or stored
    there.
    """

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.tables: set[str] = set()
        self.are_tables_known = True
        self.is_complete = True
        self.has_connected = False

    def add(self, deps: Any) -> None:
        """Add the dependencies of a cached result."""
        self.tables.update(deps)
        self.are_tables_known = self.are_tables_known and not any(
            UNCACHED in conjs for conjs in deps.values()
        )

    def execute(self, execute: Callable[..., Any], sql: Any, *more: Any) -> Any:
        """Record a statement and execute it.

        A statement of a nested queryset is not recorded, because the dependencies of that queryset
        are.
        """
        if active_reads.get()[-1:] == (self,) and _kind(sql) is not _Kind.NEITHER:
            self.statements.append(sql)
        return execute(sql, *more)


active_reads: ContextVar[tuple[Reads, ...]] = ContextVar("rover_reads", default=())
"""The watched blocks around the running code."""


def note_cached_read(deps: Any) -> None:
    """Add the dependencies of a read from the cache to the watched blocks around it."""
    for reads in active_reads.get():
        reads.add(deps)


@contextmanager
def recording_reads() -> Iterator[Reads]:
    """Yield a `Reads` that records what is read in the block."""
    reads = Reads()
    token = active_reads.set((*active_reads.get(), reads))
    opened = _opened()
    closed = [connection for connection in opened if connection.connection is None]
    for connection in opened:
        connection.execute_wrappers.append(reads.execute)
    try:
        yield reads
    finally:
        for connection in opened:
            connection.execute_wrappers.remove(reads.execute)
        active_reads.reset(token)
    reads.is_complete = len(_opened()) == len(opened)
    reads.has_connected = any(connection.connection is not None for connection in closed)


def _opened() -> list[Any]:
    """Return the connections that this thread has.

    It opens no others: their database may not exist.
    """
    found = (
        getattr(connections._connections, alias, None)  # type: ignore[attr-defined]
        for alias in connections
    )
    return [connection for connection in found if connection is not None]


def with_learned_tables(key: str, deps: Any) -> Any:
    """Return dependencies with the tables that were read for this result before."""
    if not _learned or key not in _learned:
        return deps
    tables = _learned.get(key, frozenset())  # another thread may have dropped it
    if tables is None:
        # One UNCACHED, under whatever name, keeps the result out of the cache.
        return {**deps, "": [UNCACHED]}
    return {**deps, **{table: [TRUE] for table in tables}}


def covers_reads(key: str, deps: Any, reads: Reads, statement: str | None) -> bool:
    """Return whether dependencies cover all that was read besides the query's own statement.

    If not, remember the missing tables. `statement` is the own SQL, or None for an iterable of
    Django's, which runs it first.
    """
    others = _without_own(reads.statements, statement)
    # A connection that was opened in the block was not watched.
    if not reads.is_complete:
        return False
    if not others and not reads.tables and reads.are_tables_known:
        return True
    tables = reads.tables.union(*map(_tables, others))
    known = reads.are_tables_known and all(map(_tables, others))
    if known and all(deps.get(table) == [TRUE] for table in tables):
        return True
    # Queries that set up a new connection (for its types, for example) do not run again.
    if reads.has_connected:
        return False
    before = _learned.get(key, frozenset())
    _learned.put(key, before | tables if known and before is not None else None)
    return False


def _without_own(statements: list[Any], own: str | None) -> list[Any]:
    found = next(
        (number for number, sql in enumerate(statements) if own is None or sql == own), None
    )
    return statements if found is None else statements[:found] + statements[found + 1 :]


class _Kind(Enum):
    READ, WRITE, NEITHER = range(3)


def _kind(sql: Any) -> _Kind:
    start = _START.match(sql) if isinstance(sql, str) else None
    first = start.group(1).casefold() if start else ""
    if first in _NEITHER:
        return _Kind.NEITHER
    return _Kind.READ if first in {"select", "with"} else _Kind.WRITE


def _tables(sql: Any) -> set[str]:
    """Return the tables of models that a read-only statement may read; empty if unknown."""
    if _kind(sql) is not _Kind.READ:
        return set()
    words = set(_WORD.findall(sql.casefold()))
    models = apps.get_models(include_auto_created=True)
    return {
        model._meta.db_table
        for model in models
        if words.issuperset(_WORD.findall(model._meta.db_table.casefold()))
    }
