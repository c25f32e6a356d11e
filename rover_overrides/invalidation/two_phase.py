"""Invalidation in two phases: from the rows that a transaction writes to the stamps to delete."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple, Optional

from cacheops.sharding import get_prefix
from cacheops.signals import cache_invalidated
from django.conf import settings
from redis import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from rover_overrides.cache import pending_writes
from rover_overrides.cache.registry import Registry, keys, stamp_key
from rover_overrides.cache.results import is_resting
from rover_overrides.conditions.conditions import (
    TRUE,
    Conj,
    Path,
    Row,
    columns_needed,
    is_blind,
    many_of,
    met,
)
from rover_overrides.core.switches import applied
from rover_overrides.introspection.schema import field_of, model_of
from rover_overrides.rows.related_rows import with_related
from rover_overrides.rows.rows import is_complete, marked
from rover_overrides.transport import pipeline
from rover_overrides.transport.circuit_breaker import circuit
from rover_overrides.transport.pipeline import Command, Result

Rows = Sequence[Row]

_counters: Any = (
    import_module("rover_overrides.metrics.counters") if applied("explain-invalidation") else None
)
_registry = Registry()


Place = tuple[Optional[str], str]
"""A prefix and a table; a prefix of None stands for that of the settings when Redis is queried."""


class Change(NamedTuple):
    """A row of a table before and after a write, by column name; a missing column is unknown.

    Without `old` the row was inserted, without `new` deleted. Without both, anything in the table
    may have changed. `prefix` is the prefix of the keys at the write, for applications that derive
    it from more than the table: from the tenant, say.
    """

    table: str
    old: Mapping[str, Any] | None
    new: Mapping[str, Any] | None
    prefix: str | None = None

    @property
    def place(self) -> Place:
        """The prefix and the table."""
        return self.prefix, self.table


def prefix_at_write(using: str, change: Change) -> Change:
    """Return a change that is about to wait for its COMMIT, with its current prefix."""
    if getattr(settings, "CACHEOPS_PREFIX", None) is None:
        return change
    return change._replace(prefix=prefix_of(using, change.table))


class RestingError(RedisConnectionError):
    """Redis failed a moment ago, and was not queried."""


class Announced(NamedTuple):
    """What was invalidated before a COMMIT, and whether rows must be read again after it."""

    token: str
    places: tuple[tuple[str, str], ...]
    dropped: tuple[str, ...]
    again: bool
    entered: float
    """When the writer registered, on this process's monotonic clock."""


def invalidate(using: str, changes: Iterable[Change]) -> None:
    """Invalidate what depends on rows that have changed.

    Others may have committed since, so nothing is known of rows behind a reverse foreign key (see
    `announce`).
    """
    check_circuit()
    _attempted(partial(_invalidate, using, list(changes)))


def drop_tables(using: str, places: Iterable[Place]) -> None:
    """Invalidate all results that depend on the tables."""
    pipeline.unlink([key for place in resolved(using, places) for key in everything(*place)])


def announce(using: str, changes: Iterable[Change]) -> Announced:
    """Invalidate what depends on rows about to change, and store no result of their tables for now.

    That lasts until `complete`. A call takes two round trips to Redis, three to a cluster, whatever
    the number of rows. Rows behind a reverse foreign key are read twice: before the COMMIT, as they
    were for a writer that commits first, and after it, as they are for one that commits last. Those
    that the transaction itself changes also count as they were before.
    """
    check_circuit()
    rows, places = _by_place(using, changes)
    token = os.urandom(16).hex()
    with _entered(token, places):
        return _attempted(partial(_announce, using, rows, places, token))


def complete(
    using: str, announced: Announced, changes: Iterable[Change], *, committed: bool
) -> None:
    """End an announcement; after a COMMIT, invalidate everything again.

    A registration may be gone or may have ended: it was evicted, Redis was flushed, or the COMMIT
    took long. Then results may have been stored meanwhile, under conditions that were unknown
    before the COMMIT, so the changes are evaluated again.
    """
    with _entered(announced.token, announced.places):
        check_circuit()
        _attempted(partial(_complete, using, announced, list(changes), committed=committed))


def check_circuit() -> None:
    """Raise RestingError if Redis failed a moment ago, instead of waiting for it again."""
    if circuit.has_failed and is_resting():
        raise RestingError("Redis failed a moment ago")


def _attempted(work: Callable[[], Result]) -> Result:
    """Return the result of `work`, repeating it if Redis cannot be reached.

    It is not repeated while Redis is known to be away.
    """
    return work() if circuit.has_failed else pipeline.repeated(work)


@contextmanager
def _entered(token: str, places: Sequence[tuple[str, str]]) -> Iterator[None]:
    """Remember a writer that fails in the block, so that its registrations are removed later."""
    try:
        yield
    except RedisError:
        pending_writes.give_up(places, token)
        raise


def _invalidate(using: str, changes: Sequence[Change]) -> None:
    rows, places = _by_place(using, changes)
    pipeline.unlink(_stamps(using, places, rows, _entries(rows), _Everything(), known={}))


def _announce(
    using: str, rows: Mapping[tuple[str, str], Rows], places: Sequence[tuple[str, str]], token: str
) -> Announced:
    entered, entering = time.monotonic(), pending_writes.enter(places, token)
    # While its slot moves, the registration may reach another node than the registries, and later.
    if pipeline.is_sharded():
        pipeline.run(entering)
        entering = []
    entries = _entries(rows, first=entering)
    dropped = _stamps(using, places, rows, entries, _tables(places), known=_known(rows))
    pipeline.unlink(dropped)
    again = any(many_of(entry) for some in entries.values() for entry in some)
    return Announced(token, tuple(places), tuple(dropped), again, entered)


def _complete(
    using: str, announced: Announced, changes: Sequence[Change], *, committed: bool
) -> None:
    if committed and announced.again:
        rows, _ = _by_place(using, changes)
        changed = _tables(rows)
        pipeline.unlink(
            _stamps(
                using, list(rows), rows, _entries(rows), changed, known=_known(rows), again=True
            )
        )
    leaving = pending_writes.leave(announced.places, announced.token)
    left = pipeline.unlink(announced.dropped if committed else (), then=leaving)
    if committed and (
        pending_writes.may_have_ended(announced.entered) or not all(reply.value for reply in left)
    ):
        _invalidate(using, changes)


class _Everything:
    """A container of all tables."""

    def __contains__(self, table: object) -> bool:
        return True


def tell(changes: Iterable[Change]) -> None:
    """Send upstream's signal for each old and new row, by attribute names, or once for a table."""
    for table, old, new, _ in changes:
        model = model_of(table)
        told: list[Any] = [_by_attribute(table, row) for row in (old, new) if row is not None]
        told = told or [None]
        for row in told if model is not None else ():
            cache_invalidated.send(sender=model, obj_dict=row)


def _by_attribute(table: str, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        getattr(field_of(table, column), "attname", column): value for column, value in row.items()
    }


def everything(prefix: str, table: str) -> Iterable[str]:
    """Return the keys without which no result that depends on a table is valid."""
    return (*keys(prefix, table), stamp_key(prefix, table, TRUE))


def prefix_of(using: str, table: str) -> str:
    """Return the prefix of a table's keys."""
    prefix: str = get_prefix(tables=[table], dbs=[using])
    return prefix


def resolved(using: str, places: Iterable[Place]) -> list[tuple[str, str]]:
    """Return tables with the prefixes of their keys, each once and in order."""
    return sorted(
        {(prefix_of(using, table) if prefix is None else prefix, table) for prefix, table in places}
    )


def _tables(places: Iterable[tuple[str, str]]) -> set[str]:
    return {table for _, table in places}


def _known(rows: Mapping[tuple[str, str], Rows]) -> dict[str, list[Row]]:
    """Return the rows by table, under any prefix."""
    found: dict[str, list[Row]] = defaultdict(list)
    for (_, table), some in rows.items():
        found[table] += some
    return dict(found)


def _entries(
    places: Iterable[tuple[str, str]], first: Sequence[Command] = ()
) -> dict[tuple[str, str], list[str]]:
    """Return the templates in use on tables, in a round trip that starts with `first`."""
    wanted = {place: keys(*place) for place in places}
    found = iter(_registry.read([key for pair in wanted.values() for key in pair], first))
    return {place: [entry for _ in pair for entry in next(found)] for place, pair in wanted.items()}


def _stamps(
    using: str,
    places: Sequence[tuple[str, str]],
    rows: Mapping[tuple[str, str], Rows],
    entries: Mapping[tuple[str, str], Sequence[str]],
    changed: Container[str],
    *,
    known: Mapping[str, Rows],
    again: bool = False,
) -> list[str]:
    """Return the keys to delete: the stamps of the conditions that the rows meet.

    For a table in which anything may have changed, these are the keys that `everything` returns.
    """
    dropped: set[str] = set()
    for place in places:
        prefix, table = place
        conjs = (
            _met(using, table, entries[place], rows[place], changed, known)
            if place in rows
            else None
        )
        if _counters is not None and not again:
            _counters.dropped(table, conjs)
        dropped.update(
            everything(prefix, table)
            if conjs is None
            else (stamp_key(prefix, table, conj) for conj in conjs)
        )
    return sorted(dropped)


def _by_place(
    using: str, changes: Iterable[Change]
) -> tuple[dict[tuple[str, str], list[Row]], list[tuple[str, str]]]:
    """Return the rows to evaluate by prefix and table, and all places in order.

    A table that changed as a whole has no rows. A row that did not change is left out.
    """
    changes = list(changes)
    found = {place: resolved(using, [place])[0] for place in {change.place for change in changes}}
    rows: dict[tuple[str, str], list[Row]] = defaultdict(list)
    coarse: set[tuple[str, str]] = set()
    for change in changes:
        place, table, old, new = found[change.place], change.table, change.old, change.new
        if old is None and new is None:
            coarse.add(place)
        elif old != new or not is_complete(table, old):
            rows[place] += marked(table, old, new)
    return {place: some for place, some in rows.items() if place not in coarse}, sorted(
        {*rows, *coarse}
    )


def _met(
    using: str,
    table: str,
    entries: Sequence[str],
    rows: Rows,
    changed: Container[str],
    known: Mapping[str, Rows],
) -> set[Conj] | None:
    """Return the conditions that any of the rows meets, or None for all."""
    found: set[Conj] = {TRUE}
    try:
        groups = _grouped(entries, changed, known)
    except (LookupError, TypeError, ValueError):  # a template of another version
        return None
    for (many, blind), some in groups.items():
        columns = () if blind else columns_needed(some)
        others = known.get(many[0][1], ()) if many else ()
        for row in with_related(using, many, columns, rows, others):
            conjs = met(table, some, row)
            if conjs is None:
                return None
            found |= conjs
    return found


def _grouped(
    entries: Sequence[str], changed: Container[str], known: Container[str]
) -> dict[tuple[Path, bool], list[str]]:
    """Group templates by their hop to many rows, and by whether they may miss changes of those.

    They may if those rows have changed too.
    """
    groups: dict[tuple[Path, bool], list[str]] = defaultdict(list)
    for entry in entries:
        many = many_of(entry)
        groups[many, bool(many) and is_blind(entry, changed, known)].append(entry)
    return groups
