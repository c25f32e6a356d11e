"""Invalidation in two phases: from the rows that a transaction writes to the stamps to delete."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple, Optional

from cacheops.sharding import get_prefix
from cacheops.signals import cache_invalidated
from django.db import connections
from redis import ConnectionError as RedisConnectionError

from rover_overrides.cache import pending_writes
from rover_overrides.cache.registry import (
    RegistryCopies,
    registry_keys,
    stamp_key,
    stamp_keys,
)
from rover_overrides.cache.results import is_redis_skipped
from rover_overrides.conditions.conditions import (
    TRUE,
    Column,
    Conj,
    Row,
    may_miss_changes,
)
from rover_overrides.core.switches import is_installed, raw_setting
from rover_overrides.introspection.schema import field_of, model_of
from rover_overrides.invalidation.plans import Group, Plan, plan_of
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


Templates = dict[tuple[str, str], tuple[str, ...]]
"""The templates in use on prefixed tables."""

ConjsByTable = dict[tuple[str, str], Optional[set[Conj]]]
"""The conditions on prefixed tables that a write meets, None for all of a table."""

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
    if raw_setting("CACHEOPS_PREFIX", None) is None:
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

    That lasts until `finish`. Whatever the number of rows, a call takes one round trip to Redis if
    the templates in use are still those last seen, else two, and to a cluster three. Rows behind a
    reverse foreign key are read twice: before the COMMIT, as they were for a writer that commits
    first, and after it, as they are for one that commits last. Those that the transaction itself
    changes also count as they were before.
    """
    check_circuit()
    rows, tables = _group_rows(using, changes)
    token = os.urandom(16).hex()
    try:
        return _run_with_retry(partial(_prepare, using, rows, tables, token))
    except BaseException:  # a signal handler may raise while this waits for Redis
        pending_writes.mark_abandoned(tables, token)
        raise


def finish(
    using: str, prepared: Prepared, changes: Iterable[Change], *, was_committed: bool
) -> None:
    """Unregister a prepared writer; after a COMMIT, invalidate its changes again first.

    A registration may be gone or may have ended: it was evicted, Redis was flushed, or the COMMIT
    took long. Then results may have been stored meanwhile, under conditions that were unknown
    before the COMMIT, so the changes are evaluated again.
    """
    try:
        check_circuit()
        _run_with_retry(
            partial(_finish, using, prepared, list(changes), was_committed=was_committed)
        )
    except BaseException:  # as above
        pending_writes.mark_abandoned(prepared.tables, prepared.token)
        raise


def check_circuit() -> None:
    """Raise CircuitOpenError if Redis failed a moment ago, instead of waiting for it again."""
    if circuit.has_failed and is_redis_skipped():
        raise CircuitOpenError("Redis failed a moment ago")


def _run_with_retry(work: Callable[[], Result]) -> Result:
    """Return the result of `work`, repeating it if Redis cannot be reached.

    It is not repeated while Redis is known to be away.
    """
    return work() if circuit.has_failed else pipeline.run_with_retries(work)


def _invalidate(using: str, changes: Sequence[Change]) -> None:
    rows, tables = _group_rows(using, changes)
    met = _conjs_by_table(using, tables, rows, _read_templates(rows), _AllTables(), {})
    _count(met)
    pipeline.unlink(_keys_to_delete(met))


def _prepare(
    using: str, rows: Mapping[tuple[str, str], Rows], tables: Sequence[tuple[str, str]], token: str
) -> Prepared:
    registered_at, registering = time.monotonic(), pending_writes.register_commands(tables, token)
    expected = None
    # While its slot moves, the registration may reach another node than the registries, and later.
    if pipeline.is_cluster():
        pipeline.run(registering)
        registering = []
    else:
        expected = _expected_templates(using, rows)
    names, known = _table_names(tables), _rows_by_name(rows)
    met = {} if expected is None else _conjs_by_table(using, tables, rows, expected, names, known)
    deleted_keys = _keys_to_delete(met)
    sent = deleted_keys[: pipeline.MAX_KEYS_PER_PIPELINE]
    templates = _read_templates(rows, first=registering, unlink_keys=sent)
    if templates != expected:  # there are others, or a registry was among the keys
        others = _conjs_by_table(using, tables, rows, templates, names, known)
        deleted_keys = sorted({*deleted_keys, *_keys_to_delete(others)})
        # What was deleted as a whole has no templates any more.
        whole = [each for each, conjs in met.items() if conjs is None]
        met = {**others, **dict.fromkeys(whole)}
    _count(met)
    if len(sent) < len(deleted_keys):
        pipeline.unlink(sorted({*deleted_keys}.difference(sent)))
    plans = [plan_of(*each) for each in templates.items()]
    must_reread = any(plan is not None and plan.by_hop for plan in plans)
    return Prepared(token, tuple(tables), tuple(deleted_keys), must_reread, registered_at)


def _expected_templates(using: str, tables: Iterable[tuple[str, str]]) -> Templates | None:
    """Return the templates that were last seen in use on tables; None if they must not be used yet.

    Related rows must not be read before the writer is registered, because others may change them
    until then. On SQLite nobody else can commit meanwhile.
    """
    found = {each: _registry.known_templates(registry_keys(*each)) for each in tables}
    if connections[using].vendor == "sqlite":
        return found
    plans = [plan_of(*each) for each in found.items()]
    return None if any(plan is None or plan.reads_related_rows for plan in plans) else found


def _finish(
    using: str, prepared: Prepared, changes: Sequence[Change], *, was_committed: bool
) -> None:
    if was_committed and prepared.must_reread:
        rows, _ = _group_rows(using, changes)
        templates, changed = _read_templates(rows), _table_names(rows)
        met = _conjs_by_table(using, list(rows), rows, templates, changed, _rows_by_name(rows))
        pipeline.unlink(_keys_to_delete(met))  # they were counted before the COMMIT
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
    tables: Iterable[tuple[str, str]],
    first: Sequence[Command] = (),
    unlink_keys: Sequence[str] = (),
) -> Templates:
    """Return the templates in use on tables.

    It takes a round trip that starts with `first` and then unlinks keys.
    """
    wanted = {prefixed_table: registry_keys(*prefixed_table) for prefixed_table in tables}
    keys = [key for pair in wanted.values() for key in pair]
    found = _registry.read(keys, first, unlink_keys)
    return {
        prefixed_table: found[2 * number] + found[2 * number + 1]
        for number, prefixed_table in enumerate(wanted)
    }


def _conjs_by_table(
    using: str,
    tables: Iterable[tuple[str, str]],
    rows: Mapping[tuple[str, str], Rows],
    templates: Templates,
    changed: Container[str],
    known: Mapping[str, Rows],
) -> ConjsByTable:
    """Return the conditions that the rows of each table meet."""
    found: ConjsByTable = {}
    for each in tables:
        plan = plan_of(each, templates[each]) if each in rows else None
        found[each] = None if plan is None else _conjs_met(using, plan, rows[each], changed, known)
    return found


def _keys_to_delete(met: ConjsByTable) -> list[str]:
    """Return the keys to delete: the stamps of conditions.

    For a table in which anything may have changed, these are its `whole_table_keys`.
    """
    deleted_keys: set[str] = set()
    for (prefix, table), conjs in met.items():
        deleted_keys.update(
            whole_table_keys(prefix, table) if conjs is None else stamp_keys(prefix, table, conjs)
        )
    return sorted(deleted_keys)


def _count(met: ConjsByTable) -> None:
    if _counters is not None:
        for (_, table), conjs in met.items():
            _counters.count_invalidated(table, conjs)


def _group_rows(
    using: str, changes: Iterable[Change]
) -> tuple[dict[tuple[str, str], list[Row]], list[tuple[str, str]]]:
    """Return the rows to evaluate by prefix and table, and all changed tables in order.

    A table that changed as a whole has no rows. A row that did not change is left out.
    """
    rows: dict[tuple[str, str], list[Row]] = {}
    coarse: set[tuple[str, str]] = set()
    found: dict[PrefixedTable, tuple[str, str]] = {}
    for table, old, new, prefix in changes:
        prefixed_table = found.get((prefix, table))
        if prefixed_table is None:
            [prefixed_table] = with_prefixes(using, [(prefix, table)])
            found[prefix, table] = prefixed_table
        if old is None and new is None:
            coarse.add(prefixed_table)
        # Equal rows that lack columns may differ in those.
        elif old != new or not is_complete(table, old):
            rows.setdefault(prefixed_table, []).extend(with_changed_columns(table, old, new))
    tables = sorted({*rows, *coarse})
    for prefixed_table in coarse:
        rows.pop(prefixed_table, None)
    return rows, tables


def _conjs_met(
    using: str,
    plan: Plan,
    rows: Rows,
    changed: Container[str],
    known: Mapping[str, Rows],
) -> set[Conj] | None:
    """Return the conditions that any of the rows meets, or None for all."""
    found = plan.without_hop.matcher.conjs_met_by(
        with_related(using, (), plan.without_hop.columns, rows, ())
        if plan.without_hop.columns
        else rows
    )
    for hop, groups in plan.by_hop.items():
        others = known.get(hop[0].table, ())
        for some, columns in _split_groups(groups, changed, known):
            extended = list(with_related(using, hop, columns, rows, others))
            for group in some:
                conjs = group.matcher.conjs_met_by(extended)
                if found is None or conjs is None:
                    return None
                found |= conjs
    return found


def _split_groups(
    groups: Iterable[Group], changed: Container[str], known: Container[str]
) -> Iterator[tuple[list[Group], Collection[Column]]]:
    """Yield groups with a reverse hop, and the columns of related rows to read for them.

    Values that are not read are unknown, which invalidates the conj with wildcards. That is so
    where the related rows may have changed too.
    """
    by_risk: dict[bool, list[Group]] = defaultdict(list)
    for group in groups:
        by_risk[may_miss_changes(group.templates[0], changed, known)].append(group)
    for may_miss, some in by_risk.items():
        yield some, () if may_miss else frozenset().union(*[group.columns for group in some])
