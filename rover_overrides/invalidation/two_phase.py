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

from rover_overrides.cache import pending_writes
from rover_overrides.cache.registry import RegistryCopies, registry_keys, stamp_key
from rover_overrides.cache.results import is_redis_skipped
from rover_overrides.conditions.conditions import (
    TRUE,
    Conj,
    Path,
    Row,
    conditions_met_by,
    may_miss_changes,
    related_columns,
    reverse_hop,
)
from rover_overrides.core.switches import is_installed
from rover_overrides.introspection.schema import field_of, model_of
from rover_overrides.rows.related_rows import with_related
from rover_overrides.rows.rows import is_complete, with_changed_columns
from rover_overrides.transport import pipeline
from rover_overrides.transport.circuit_breaker import circuit
from rover_overrides.transport.pipeline import Command, Result

Rows = Sequence[Row]

# The module comes with a patch that this tree may lack.
_counters: Any = (
    import_module("rover_overrides.metrics.counters")
    if is_installed("explain-invalidation")
    else None
)
_registry = RegistryCopies()


PrefixedTable = tuple[Optional[str], str]
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
    def prefixed_table(self) -> PrefixedTable:
        """The prefix and the table."""
        return self.prefix, self.table


def with_current_prefix(using: str, change: Change) -> Change:
    """Return a change that is about to wait for its COMMIT, with its current prefix."""
    # Without a prefix a queued change keeps the previous wheel's format (see `rq_queue`).
    if getattr(settings, "CACHEOPS_PREFIX", None) is None:
        return change
    return change._replace(prefix=prefix_of(using, change.table))


class CircuitOpenError(RedisConnectionError):
    """Redis failed a moment ago, and was not queried."""


class Prepared(NamedTuple):
    """What was invalidated before a COMMIT, and whether rows must be read again after it."""

    token: str
    tables: tuple[tuple[str, str], ...]
    deleted_keys: tuple[str, ...]
    must_reread: bool
    registered_at: float
    """When the writer registered, on this process's monotonic clock."""


def invalidate(using: str, changes: Iterable[Change]) -> None:
    """Invalidate what depends on rows that have changed.

    Others may have committed since, so nothing is known of rows behind a reverse foreign key (see
    `prepare`).
    """
    check_circuit()
    _run_with_retry(partial(_invalidate, using, list(changes)))


def invalidate_tables(using: str, tables: Iterable[PrefixedTable]) -> None:
    """Invalidate all results that depend on the tables."""
    pipeline.unlink(
        [
            key
            for prefixed_table in with_prefixes(using, tables)
            for key in whole_table_keys(*prefixed_table)
        ]
    )


def prepare(using: str, changes: Iterable[Change]) -> Prepared:
    """Invalidate what depends on rows about to change, and store no result of their tables for now.

    That lasts until `finish`. A call takes two round trips to Redis, three to a cluster, whatever
    the number of rows. Rows behind a reverse foreign key are read twice: before the COMMIT, as they
    were for a writer that commits first, and after it, as they are for one that commits last. Those
    that the transaction itself changes also count as they were before.
    """
    check_circuit()
    rows, tables = _group_rows(using, changes)
    token = os.urandom(16).hex()
    with _abandon_on_failure(token, tables):
        return _run_with_retry(partial(_prepare, using, rows, tables, token))


def finish(
    using: str, prepared: Prepared, changes: Iterable[Change], *, was_committed: bool
) -> None:
    """Unregister a prepared writer; after a COMMIT, invalidate its changes again first.

    A registration may be gone or may have ended: it was evicted, Redis was flushed, or the COMMIT
    took long. Then results may have been stored meanwhile, under conditions that were unknown
    before the COMMIT, so the changes are evaluated again.
    """
    with _abandon_on_failure(prepared.token, prepared.tables):
        check_circuit()
        _run_with_retry(
            partial(_finish, using, prepared, list(changes), was_committed=was_committed)
        )


def check_circuit() -> None:
    """Raise CircuitOpenError if Redis failed a moment ago, instead of waiting for it again."""
    if circuit.has_failed and is_redis_skipped():
        raise CircuitOpenError("Redis failed a moment ago")


def _run_with_retry(work: Callable[[], Result]) -> Result:
    """Return the result of `work`, repeating it if Redis cannot be reached.

    It is not repeated while Redis is known to be away.
    """
    return work() if circuit.has_failed else pipeline.run_with_retries(work)


@contextmanager
def _abandon_on_failure(token: str, tables: Sequence[tuple[str, str]]) -> Iterator[None]:
    """Remember a writer that fails in the block, so that its registrations are removed later."""
    try:
        yield
    except BaseException:  # a signal handler may raise while this waits for Redis
        pending_writes.mark_abandoned(tables, token)
        raise


def _invalidate(using: str, changes: Sequence[Change]) -> None:
    rows, tables = _group_rows(using, changes)
    pipeline.unlink(
        _keys_to_delete(using, tables, rows, _read_templates(rows), _AllTables(), known={})
    )


def _prepare(
    using: str, rows: Mapping[tuple[str, str], Rows], tables: Sequence[tuple[str, str]], token: str
) -> Prepared:
    registered_at, registering = time.monotonic(), pending_writes.register_commands(tables, token)
    # While its slot moves, the registration may reach another node than the registries, and later.
    if pipeline.is_cluster():
        pipeline.run(registering)
        registering = []
    templates = _read_templates(rows, first=registering)
    deleted_keys = _keys_to_delete(
        using, tables, rows, templates, _table_names(tables), known=_rows_by_name(rows)
    )
    pipeline.unlink(deleted_keys)
    must_reread = any(reverse_hop(template) for some in templates.values() for template in some)
    return Prepared(token, tuple(tables), tuple(deleted_keys), must_reread, registered_at)


def _finish(
    using: str, prepared: Prepared, changes: Sequence[Change], *, was_committed: bool
) -> None:
    if was_committed and prepared.must_reread:
        rows, _ = _group_rows(using, changes)
        changed = _table_names(rows)
        pipeline.unlink(
            _keys_to_delete(
                using,
                list(rows),
                rows,
                _read_templates(rows),
                changed,
                known=_rows_by_name(rows),
                again=True,
            )
        )
    unregistering = pending_writes.unregister_commands(prepared.tables, prepared.token)
    left = pipeline.unlink(prepared.deleted_keys if was_committed else (), then=unregistering)
    if was_committed and (
        pending_writes.may_have_ended(prepared.registered_at)
        or not all(reply.value for reply in left)
    ):
        _invalidate(using, changes)


class _AllTables:
    """A container of all tables."""

    def __contains__(self, table: object) -> bool:
        return True


def send_signals(changes: Iterable[Change]) -> None:
    """Send upstream's signal for each old and new row, by attribute names, or once for a table."""
    for table, old, new, _ in changes:
        model = model_of(table)
        sent: list[Any] = [_by_attribute(table, row) for row in (old, new) if row is not None]
        sent = sent or [None]
        for row in sent if model is not None else ():
            cache_invalidated.send(sender=model, obj_dict=row)


def _by_attribute(table: str, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        getattr(field_of(table, column), "attname", column): value for column, value in row.items()
    }


def whole_table_keys(prefix: str, table: str) -> Iterable[str]:
    """Return the keys without which no result that depends on a table is valid."""
    return (*registry_keys(prefix, table), stamp_key(prefix, table, TRUE))


def prefix_of(using: str, table: str) -> str:
    """Return the prefix of a table's keys."""
    prefix: str = get_prefix(tables=[table], dbs=[using])
    return prefix


def with_prefixes(using: str, tables: Iterable[PrefixedTable]) -> list[tuple[str, str]]:
    """Return tables with the prefixes of their keys, each once and in order."""
    return sorted(
        {(prefix_of(using, table) if prefix is None else prefix, table) for prefix, table in tables}
    )


def _table_names(tables: Iterable[tuple[str, str]]) -> set[str]:
    return {table for _, table in tables}


def _rows_by_name(rows: Mapping[tuple[str, str], Rows]) -> dict[str, list[Row]]:
    """Return the rows by table, under any prefix."""
    found: dict[str, list[Row]] = defaultdict(list)
    for (_, table), some in rows.items():
        found[table] += some
    return dict(found)


def _read_templates(
    tables: Iterable[tuple[str, str]], first: Sequence[Command] = ()
) -> dict[tuple[str, str], list[str]]:
    """Return the templates in use on tables, in a round trip that starts with `first`."""
    wanted = {prefixed_table: registry_keys(*prefixed_table) for prefixed_table in tables}
    found = iter(_registry.read([key for pair in wanted.values() for key in pair], first))
    return {
        prefixed_table: [template for _ in pair for template in next(found)]
        for prefixed_table, pair in wanted.items()
    }


def _keys_to_delete(
    using: str,
    tables: Sequence[tuple[str, str]],
    rows: Mapping[tuple[str, str], Rows],
    templates: Mapping[tuple[str, str], Sequence[str]],
    changed: Container[str],
    *,
    known: Mapping[str, Rows],
    again: bool = False,
) -> list[str]:
    """Return the keys to delete: the stamps of the conditions that the rows meet.

    For a table in which anything may have changed, these are its `whole_table_keys`.
    """
    deleted_keys: set[str] = set()
    for prefixed_table in tables:
        prefix, table = prefixed_table
        conjs = (
            _conjs_met(
                using, table, templates[prefixed_table], rows[prefixed_table], changed, known
            )
            if prefixed_table in rows
            else None
        )
        # The same changes were counted before the COMMIT.
        if _counters is not None and not again:
            _counters.count_invalidated(table, conjs)
        deleted_keys.update(
            whole_table_keys(prefix, table)
            if conjs is None
            else (stamp_key(prefix, table, conj) for conj in conjs)
        )
    return sorted(deleted_keys)


def _group_rows(
    using: str, changes: Iterable[Change]
) -> tuple[dict[tuple[str, str], list[Row]], list[tuple[str, str]]]:
    """Return the rows to evaluate by prefix and table, and all changed tables in order.

    A table that changed as a whole has no rows. A row that did not change is left out.
    """
    changes = list(changes)
    found = {
        prefixed_table: with_prefixes(using, [prefixed_table])[0]
        for prefixed_table in {change.prefixed_table for change in changes}
    }
    rows: dict[tuple[str, str], list[Row]] = defaultdict(list)
    coarse: set[tuple[str, str]] = set()
    for change in changes:
        prefixed_table, table, old, new = (
            found[change.prefixed_table],
            change.table,
            change.old,
            change.new,
        )
        if old is None and new is None:
            coarse.add(prefixed_table)
        # Equal rows that lack columns may differ in those.
        elif old != new or not is_complete(table, old):
            rows[prefixed_table] += with_changed_columns(table, old, new)
    return {
        prefixed_table: some
        for prefixed_table, some in rows.items()
        if prefixed_table not in coarse
    }, sorted({*rows, *coarse})


def _conjs_met(
    using: str,
    table: str,
    templates: Sequence[str],
    rows: Rows,
    changed: Container[str],
    known: Mapping[str, Rows],
) -> set[Conj] | None:
    """Return the conditions that any of the rows meets, or None for all."""
    found: set[Conj] = {TRUE}
    try:
        groups = _group_templates(templates, changed, known)
    except (LookupError, TypeError, ValueError):  # a template of another version
        return None
    for (hop, may_miss), some in groups.items():
        # Related values that are not read are unknown, which invalidates the conj with wildcards.
        columns = () if may_miss else related_columns(some)
        others = known.get(hop[0].table, ()) if hop else ()
        for row in with_related(using, hop, columns, rows, others):
            conjs = conditions_met_by(table, some, row)
            if conjs is None:
                return None
            found |= conjs
    return found


def _group_templates(
    templates: Sequence[str], changed: Container[str], known: Container[str]
) -> dict[tuple[Path, bool], list[str]]:
    """Group templates by their reverse hop, and by whether they may miss changes of those.

    They may if those rows have changed too.
    """
    groups: dict[tuple[Path, bool], list[str]] = defaultdict(list)
    for template in templates:
        hop = reverse_hop(template)
        groups[hop, bool(hop) and may_miss_changes(template, changed, known)].append(template)
    return groups
