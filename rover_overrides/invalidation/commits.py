"""When a write is invalidated: at the COMMIT of its transaction, with all its changes together.

Just before the COMMIT the changes are prepared (see `two_phase`), so that a writer that dies after
it leaves nothing stale. If Redis does not answer then, they are sent after the COMMIT. They wait in
the outermost context of cacheops' `transaction_states`, so that a rollback discards them too. A
savepoint that is rolled back may leave changes that never happened, which only invalidates more. In
manual mode (`set_autocommit(False)`) cacheops sees no transaction, so the changes wait on the
connection until it commits.

After Redis failed, writers do not query it for a moment either: what they could not send is kept
(see `unsent`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress

from cacheops import invalidation, redis, transaction
from cacheops.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from redis.exceptions import RedisError

from rover_overrides.core.operator_warnings import warn
from rover_overrides.core.switches import is_enabled, raw_setting
from rover_overrides.database import statements
from rover_overrides.database.bypass import reads_bypass_cache
from rover_overrides.database.connection_state import state_of
from rover_overrides.invalidation import two_phase, unknown_commits, unsent
from rover_overrides.invalidation.two_phase import Change, CircuitOpenError, with_current_prefix
from rover_overrides.transport.circuit_breaker import circuit

__all__ = ["Batch", "autocommit_statement", "reads_bypass_cache", "record"]

# If a transaction changes more rows of a table than this, the whole table counts as changed.
MAX_ROWS = 10_000

PrefixedTable = two_phase.PrefixedTable

on_prepare_failed: list[Callable[[BaseDatabaseWrapper, Collection[PrefixedTable]], None]] = []
"""Called before a COMMIT that could not be prepared in Redis, with the tables written."""

on_invalidate_failed: list[Callable[[str, Collection[PrefixedTable]], None]] = []
"""Called after a write whose end could not be sent to Redis, with its alias and tables."""

_BATCH_KEY = "rover_batch"  # of the batch in cacheops' outermost context


class Batch:
    """The changes of one transaction, in order.

    A table with more than `MAX_ROWS` changes is kept as one change of the whole table.
    """

    def __init__(self) -> None:
        self._changes: dict[PrefixedTable, list[Change]] = {}

    def add(self, change: Change) -> None:
        """Add a change, unless the whole table counts as changed already."""
        kept = self._changes.setdefault((change.prefix, change.table), [])
        if kept and _is_coarse(kept[0]):
            return
        if _is_coarse(change) or len(kept) >= MAX_ROWS:
            kept[:] = [change._replace(old=None, new=None)]
        else:
            kept.append(change)

    def changes(self) -> list[Change]:
        """Return the changes."""
        if len(self._changes) == 1:
            [kept] = self._changes.values()
            return [*kept]
        return [change for kept in self._changes.values() for change in kept]

    def take(self) -> list[Change]:
        """Return the changes and leave the batch empty."""
        changes = self.changes()
        self._changes = {}
        return changes


def record(using: str | None, change: Change) -> None:
    """Invalidate a change at the COMMIT of its transaction, or at once outside any."""
    if not settings.CACHEOPS_ENABLED or invalidation.no_invalidation.active:
        return
    alias = using or DEFAULT_DB_ALIAS
    change = with_current_prefix(alias, change)
    batch = _batch(alias)
    if batch is None:
        _send(alias, [change])
    else:
        batch.add(change)


@contextmanager
def autocommit_statement(connection: BaseDatabaseWrapper, changes: list[Change]) -> Iterator[None]:
    """Prepare changes before a statement that commits by itself, and invalidate after it.

    They are invalidated even if the statement raised.
    """
    changes = [with_current_prefix(connection.alias, change) for change in changes]
    prepared, backend = _prepare(connection, changes), unknown_commits.backend_pid(connection)
    try:
        yield
    except BaseException as error:
        _invalidate_after_error(connection, error, backend, prepared, changes)
        raise
    _invalidate_committed(connection.alias, prepared, changes)


def before_commit(connection: BaseDatabaseWrapper) -> None:
    """Prepare what a connection is about to commit; if Redis does not answer, the write continues.

    Raise the database's error if one of the cache's own statements has ended the transaction: the
    COMMIT would do nothing.
    """
    state = state_of(connection)
    state.is_in_outbox = False
    state.prepared = _prepare(connection, _waiting_changes(connection))
    state.backend_pid = unknown_commits.backend_pid(connection)
    # PostgreSQL would answer the COMMIT by ROLLBACK without an error, so save() would return.
    statements.raise_if_aborted(connection)


def after_commit(connection: BaseDatabaseWrapper) -> None:
    """Invalidate what a connection has committed."""
    changes, prepared = _take_changes(connection), _take_prepared(connection)
    state_of(connection).end_transaction()
    _invalidate_committed(connection.alias, prepared, changes)


def after_commit_raised(connection: BaseDatabaseWrapper, error: BaseException) -> None:
    """Invalidate what a COMMIT that raised may have committed.

    If the transaction is still open, its changes are also kept for the next COMMIT.
    """
    backend, prepared = state_of(connection).backend_pid, _take_prepared(connection)
    if statements.has_open_transaction(connection):
        changes = _waiting_changes(connection)
    else:
        changes = _take_changes(connection)
        state_of(connection).end_transaction()
    _invalidate_after_error(connection, error, backend, prepared, changes)


def cancel_prepared(connection: BaseDatabaseWrapper) -> None:
    """Unregister the prepared writer of a transaction that continues."""
    prepared = _take_prepared(connection)
    if prepared is not None:
        _finish_prepared(
            connection.alias, prepared, _waiting_changes(connection), was_committed=False
        )


def after_rollback(connection: BaseDatabaseWrapper) -> None:
    """Discard the changes that a connection has rolled back."""
    changes, prepared = _take_changes(connection), _take_prepared(connection)
    state_of(connection).end_transaction()
    if prepared is not None:
        _finish_prepared(connection.alias, prepared, changes, was_committed=False)


def mark_written(connection: BaseDatabaseWrapper) -> None:
    """Note that a connection in manual mode has written.

    Until it commits, reads bypass the cache.
    """
    if _uncommitted_after_atomic(connection):
        state_of(connection).has_uncommitted_writes = True


def waits_for_raw_commit(connection: BaseDatabaseWrapper) -> bool:
    """Return whether changes wait for the end of a transaction that raw SQL began."""
    return (
        connection.autocommit
        and not connection.in_atomic_block
        and state_of(connection).batch is not None
    )


def has_waiting_changes(connection: BaseDatabaseWrapper) -> bool:
    """Return whether changes wait for the end of a transaction."""
    return bool(_waiting_changes(connection))


def is_in_manual_mode(connection: BaseDatabaseWrapper) -> bool:
    """Return whether the application itself ends the transaction.

    Return False inside an atomic block, and for a connection that is not open yet.
    """
    if connection.connection is None or connection.in_atomic_block:
        return False
    return not connection.autocommit or statements.has_raw_transaction(connection)


def flush_unsent() -> None:
    """Make up for what could not be sent to Redis; raise a RedisError if that fails now."""
    two_phase.check_circuit()
    unsent.flush()


def _prepare(connection: BaseDatabaseWrapper, changes: list[Change]) -> two_phase.Prepared | None:
    """Prepare changes; return None if that is turned off, or if Redis did not receive them."""
    if changes and is_enabled("two-phase-invalidation") and not _is_queue_enabled():
        try:
            flush_unsent()
            return two_phase.prepare(connection.alias, changes)
        except RedisError as error:
            # Otherwise the next caller that queries Redis warns.
            if circuit.has_failed and not isinstance(error, CircuitOpenError):
                warn(f"The cacheops cache does not hear of writes: {error}", stacklevel=2)
            tables = _tables_of(changes)
            for call in on_prepare_failed:
                call(connection, tables)
    return None


def _invalidate_committed(
    alias: str, prepared: two_phase.Prepared | None, changes: list[Change]
) -> None:
    """Invalidate what was committed, and send upstream's signals."""
    if prepared is None:
        _send(alias, changes)
    else:
        _finish_prepared(alias, prepared, changes, was_committed=True)
        two_phase.send_signals(changes)


def _invalidate_after_error(
    connection: BaseDatabaseWrapper,
    error: BaseException,
    backend: int,
    prepared: two_phase.Prepared | None,
    changes: list[Change],
) -> None:
    """Do the same after a statement that raised.

    The application gets the database's error, whether or not the invalidation succeeds.
    """
    with suppress(RedisError):
        if statements.is_outcome_unknown(connection, error):
            _note_unknown(connection.alias, backend, prepared, changes)
        else:
            _invalidate_committed(connection.alias, prepared, changes)


def _note_unknown(
    alias: str, backend: int, prepared: two_phase.Prepared | None, changes: list[Change]
) -> None:
    if not changes:
        return
    tables = _tables_of(changes)
    try:
        unknown_commits.remember(alias, backend, tables, prepared)
    except RedisError:
        _remember_unsent(alias, tables)
    two_phase.send_signals(changes)


def _send(alias: str, changes: list[Change]) -> None:
    if changes:
        _send_changes(alias, changes)


@redis.handle_connection_failure  # type: ignore[untyped-decorator]
def _send_changes(alias: str, changes: list[Change]) -> None:
    try:
        if not _try_enqueue(alias, changes):
            flush_unsent()
            two_phase.invalidate(alias, changes)
    except CircuitOpenError:  # the failure that opened the circuit was reported
        _remember_unsent(alias, _tables_of(changes))
    except BaseException:  # a signal handler may raise while this waits for Redis
        _remember_unsent(alias, _tables_of(changes))
        raise
    two_phase.send_signals(changes)


def _finish_prepared(
    alias: str, prepared: two_phase.Prepared, changes: list[Change], *, was_committed: bool
) -> None:
    written = changes if was_committed else []
    try:
        two_phase.finish(alias, prepared, changes, was_committed=was_committed)
    except CircuitOpenError:  # as above
        _remember_unsent(alias, _tables_of(written))
    except BaseException as error:  # noqa: BLE001 - it is raised again, unless upstream goes on
        _remember_unsent(alias, _tables_of(written))
        _raise_unless_degrading(error)


@redis.handle_connection_failure  # type: ignore[untyped-decorator]
def _raise_unless_degrading(error: BaseException) -> None:
    raise error


def _remember_unsent(alias: str, tables: Collection[PrefixedTable]) -> None:
    if tables:
        unsent.remember(alias, tables)
        for call in on_invalidate_failed:
            call(alias, tables)


def _is_queue_enabled() -> bool:
    """Return whether invalidations are handed over to a queue."""
    return bool(raw_setting("CACHEOPS_ROVER_QUEUE", None)) and is_enabled("queued-work")


def _try_enqueue(alias: str, changes: list[Change]) -> bool:
    if not _is_queue_enabled():
        return False
    from rover_overrides.invalidation import rq_queue

    return rq_queue.enqueue_invalidation(alias, changes)


def _is_coarse(change: Change) -> bool:
    return change.old is None and change.new is None


def _tables_of(changes: list[Change]) -> set[PrefixedTable]:
    return {change.prefixed_table for change in changes}


def _batch(alias: str) -> Batch | None:
    """Return the batch of the open transaction, or None outside any."""
    contexts = transaction.transaction_states[alias]
    if contexts:
        outermost = contexts[0]
        if _BATCH_KEY not in outermost:
            batch = outermost[_BATCH_KEY] = Batch()
            outermost["cbs"].append((_on_outermost_exit, (alias, batch), {}))
        found: Batch = outermost[_BATCH_KEY]
        return found
    connection = connections[alias]
    return _manual_batch(connection) if is_in_manual_mode(connection) else None


def _manual_batch(connection: BaseDatabaseWrapper) -> Batch:
    """Return the batch of manual mode."""
    state = state_of(connection)
    state.batch = state.batch or Batch()
    found: Batch = state.batch
    return found


def _on_outermost_exit(alias: str, batch: Batch) -> None:
    """Invalidate at the end of cacheops' outermost context.

    In manual mode that is not the COMMIT yet, so the changes go on waiting.
    """
    changes = batch.take()
    if not changes:  # the COMMIT has taken them
        return
    connection = connections[alias]
    if not is_in_manual_mode(connection):
        _send(alias, changes)
        return
    for change in changes:
        _manual_batch(connection).add(change)


def _batches(connection: BaseDatabaseWrapper) -> list[Batch]:
    """Return the batches in which changes of a connection wait."""
    contexts = transaction.transaction_states[connection.alias]
    waiting = [state_of(connection).batch, contexts[0].get(_BATCH_KEY) if contexts else None]
    return [batch for batch in waiting if batch is not None]


def _waiting_changes(connection: BaseDatabaseWrapper) -> list[Change]:
    return [change for batch in _batches(connection) for change in batch.changes()]


def _take_changes(connection: BaseDatabaseWrapper) -> list[Change]:
    changes = [change for batch in _batches(connection) for change in batch.take()]
    state_of(connection).batch = None
    return changes


def _take_prepared(connection: BaseDatabaseWrapper) -> two_phase.Prepared | None:
    state = state_of(connection)
    prepared: two_phase.Prepared | None = state.prepared
    state.prepared = None
    return prepared


def _uncommitted_after_atomic(connection: BaseDatabaseWrapper) -> bool:
    return is_in_manual_mode(connection) or (
        connection.in_atomic_block and not connection.commit_on_exit
    )
