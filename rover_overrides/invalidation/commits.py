"""When a write is invalidated: at the COMMIT of its transaction, with all its changes together.

Just before the COMMIT the changes are announced (see `two_phase`), so that a writer that dies after
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
from django.conf import settings as django_settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from redis.exceptions import RedisError

from rover_overrides.core.switches import on
from rover_overrides.core.warned import warn
from rover_overrides.database import statements
from rover_overrides.database.bypass import dirty
from rover_overrides.database.connection_state import state_of
from rover_overrides.invalidation import two_phase, unknown_commits, unsent
from rover_overrides.invalidation.two_phase import Change, RestingError, prefix_at_write
from rover_overrides.transport.circuit_breaker import circuit

__all__ = ["Batch", "dirty", "record", "statement_of_its_own"]

# If a transaction changes more rows of a table than this, the whole table counts as changed.
MAX_ROWS = 10_000

Place = two_phase.Place

unannounced: list[Callable[[BaseDatabaseWrapper, Collection[Place]], None]] = []
"""Called before a COMMIT that could not be announced to Redis, with the tables written."""

unheard: list[Callable[[str, Collection[Place]], None]] = []
"""Called after a write whose end could not be sent to Redis, with its alias and tables."""

_KEY = "rover_batch"  # of the batch in cacheops' outermost context


class Batch:
    """The changes of one transaction, in order.

    A table with more than `MAX_ROWS` changes is kept as one change of the whole table.
    """

    def __init__(self) -> None:
        self._changes: dict[Place, list[Change]] = {}

    def add(self, change: Change) -> None:
        """Add a change, unless the whole table counts as changed already."""
        kept = self._changes.setdefault(change.place, [])
        if kept and _is_coarse(kept[0]):
            return
        if _is_coarse(change) or len(kept) >= MAX_ROWS:
            kept[:] = [change._replace(old=None, new=None)]
        else:
            kept.append(change)

    def changes(self) -> list[Change]:
        """Return the changes."""
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
    change = prefix_at_write(alias, change)
    batch = _batch(alias)
    if batch is None:
        _send(alias, [change])
    else:
        batch.add(change)


@contextmanager
def statement_of_its_own(connection: BaseDatabaseWrapper, changes: list[Change]) -> Iterator[None]:
    """Announce changes before a statement that commits by itself, and invalidate after it.

    They are invalidated even if the statement raised.
    """
    changes = [prefix_at_write(connection.alias, change) for change in changes]
    announced, backend = _announced(connection, changes), unknown_commits.backend_of(connection)
    try:
        yield
    except BaseException as error:
        _finish_raised(connection, error, backend, announced, changes)
        raise
    _finish(connection.alias, announced, changes)


def committing(connection: BaseDatabaseWrapper) -> None:
    """Announce what a connection is about to commit; if Redis does not answer, the write continues.

    Raise the database's error if one of the cache's own statements has ended the transaction: the
    COMMIT would do nothing.
    """
    state = state_of(connection)
    state.is_in_outbox = False
    state.announced = _announced(connection, _waiting_changes(connection))
    state.backend = unknown_commits.backend_of(connection)
    statements.check_commit(connection)


def committed(connection: BaseDatabaseWrapper) -> None:
    """Invalidate what a connection has committed."""
    changes, announced = _taken(connection), _taken_announcement(connection)
    state_of(connection).end_transaction()
    _finish(connection.alias, announced, changes)


def commit_raised(connection: BaseDatabaseWrapper, error: BaseException) -> None:
    """Invalidate what a COMMIT that raised may have committed.

    If the transaction is still open, its changes are also kept for the next COMMIT.
    """
    backend, announced = state_of(connection).backend, _taken_announcement(connection)
    if statements.is_open(connection):
        changes = _waiting_changes(connection)
    else:
        changes = _taken(connection)
        state_of(connection).end_transaction()
    _finish_raised(connection, error, backend, announced, changes)


def not_committed(connection: BaseDatabaseWrapper) -> None:
    """Withdraw the announcement of a transaction that continues."""
    announced = _taken_announcement(connection)
    if announced is not None:
        _complete(connection.alias, announced, _waiting_changes(connection), committed=False)


def forgotten(connection: BaseDatabaseWrapper) -> None:
    """Discard the changes that a connection has rolled back."""
    changes, announced = _taken(connection), _taken_announcement(connection)
    state_of(connection).end_transaction()
    if announced is not None:
        _complete(connection.alias, announced, changes, committed=False)


def wrote(connection: BaseDatabaseWrapper) -> None:
    """Note that a connection in manual mode has written.

    Until it commits, reads bypass the cache.
    """
    if _uncommitted_after_atomic(connection):
        state_of(connection).is_dirty = True


def waits_for_hand(connection: BaseDatabaseWrapper) -> bool:
    """Return whether changes wait for the end of a transaction that raw SQL began."""
    return (
        connection.autocommit
        and not connection.in_atomic_block
        and state_of(connection).batch is not None
    )


def has_waiting(connection: BaseDatabaseWrapper) -> bool:
    """Return whether changes wait for the end of a transaction."""
    return bool(_waiting_changes(connection))


def is_manual(connection: BaseDatabaseWrapper) -> bool:
    """Return whether the application itself ends the transaction.

    Return False inside an atomic block, and for a connection that is not open yet.
    """
    if connection.connection is None or connection.in_atomic_block:
        return False
    return not connection.autocommit or statements.is_begun_by_hand(connection)


def settle() -> None:
    """Make up for what could not be sent to Redis; raise a RedisError if that fails now."""
    two_phase.check_circuit()
    unsent.pay()


def _announced(
    connection: BaseDatabaseWrapper, changes: list[Change]
) -> two_phase.Announced | None:
    """Announce changes; return None if that is turned off, or if Redis did not receive them."""
    if changes and on("two-phase-invalidation") and not _queues():
        try:
            settle()
            return two_phase.announce(connection.alias, changes)
        except RedisError as error:
            # Otherwise the next caller that queries Redis warns.
            if circuit.has_failed and not isinstance(error, RestingError):
                warn(f"The cacheops cache does not hear of writes: {error}", stacklevel=2)
            places = _places(changes)
            for call in unannounced:
                call(connection, places)
    return None


def _finish(alias: str, announced: two_phase.Announced | None, changes: list[Change]) -> None:
    """Invalidate what was committed, and send upstream's signals."""
    if announced is None:
        _send(alias, changes)
    else:
        _complete(alias, announced, changes, committed=True)
        two_phase.tell(changes)


def _finish_raised(
    connection: BaseDatabaseWrapper,
    error: BaseException,
    backend: int,
    announced: two_phase.Announced | None,
    changes: list[Change],
) -> None:
    """Do the same after a statement that raised.

    The application gets the database's error, whether or not the invalidation succeeds.
    """
    with suppress(RedisError):
        if statements.is_lost(connection, error):
            _note_unknown(connection.alias, backend, announced, changes)
        else:
            _finish(connection.alias, announced, changes)


def _note_unknown(
    alias: str, backend: int, announced: two_phase.Announced | None, changes: list[Change]
) -> None:
    if not changes:
        return
    places = _places(changes)
    try:
        unknown_commits.note(alias, backend, places, announced)
    except RedisError:
        _owe(alias, places)
    two_phase.tell(changes)


@redis.handle_connection_failure  # type: ignore[untyped-decorator]
def _send(alias: str, changes: list[Change]) -> None:
    if changes:
        with _owed_on_failure(alias, changes):
            if not _handed_over(alias, changes):
                settle()
                two_phase.invalidate(alias, changes)
        two_phase.tell(changes)


@redis.handle_connection_failure  # type: ignore[untyped-decorator]
def _complete(
    alias: str, announced: two_phase.Announced, changes: list[Change], *, committed: bool
) -> None:
    with _owed_on_failure(alias, changes if committed else []):
        two_phase.complete(alias, announced, changes, committed=committed)


@contextmanager
def _owed_on_failure(alias: str, changes: list[Change]) -> Iterator[None]:
    try:
        yield
    except RestingError:
        _owe(alias, _places(changes))
    except RedisError:
        _owe(alias, _places(changes))
        raise


def _owe(alias: str, places: Collection[Place]) -> None:
    if places:
        unsent.note(alias, places)
        for call in unheard:
            call(alias, places)


def _queues() -> bool:
    """Return whether invalidations are handed over to a queue."""
    return bool(getattr(django_settings, "CACHEOPS_ROVER_QUEUE", None)) and on("queued-work")


def _handed_over(alias: str, changes: list[Change]) -> bool:
    if not _queues():
        return False
    from rover_overrides.invalidation import rq_queue

    return rq_queue.hand_over(alias, changes)


def _is_coarse(change: Change) -> bool:
    return change.old is None and change.new is None


def _places(changes: list[Change]) -> set[Place]:
    return {change.place for change in changes}


def _batch(alias: str) -> Batch | None:
    """Return the batch of the open transaction, or None outside any."""
    contexts = transaction.transaction_states[alias]
    if contexts:
        outermost = contexts[0]
        if _KEY not in outermost:
            batch = outermost[_KEY] = Batch()
            outermost["cbs"].append((_left, (alias, batch), {}))
        found: Batch = outermost[_KEY]
        return found
    connection = connections[alias]
    return _waiting(connection) if is_manual(connection) else None


def _waiting(connection: BaseDatabaseWrapper) -> Batch:
    """Return the batch of manual mode."""
    state = state_of(connection)
    state.batch = state.batch or Batch()
    found: Batch = state.batch
    return found


def _left(alias: str, batch: Batch) -> None:
    """Invalidate at the end of cacheops' outermost context.

    In manual mode that is not the COMMIT yet, so the changes go on waiting.
    """
    connection = connections[alias]
    if not is_manual(connection):
        _send(alias, batch.take())
        return
    for change in batch.take():
        _waiting(connection).add(change)


def _batches(connection: BaseDatabaseWrapper) -> list[Batch]:
    """Return the batches in which changes of a connection wait."""
    contexts = transaction.transaction_states[connection.alias]
    waiting = [state_of(connection).batch, contexts[0].get(_KEY) if contexts else None]
    return [batch for batch in waiting if batch is not None]


def _waiting_changes(connection: BaseDatabaseWrapper) -> list[Change]:
    return [change for batch in _batches(connection) for change in batch.changes()]


def _taken(connection: BaseDatabaseWrapper) -> list[Change]:
    changes = [change for batch in _batches(connection) for change in batch.take()]
    state_of(connection).batch = None
    return changes


def _taken_announcement(connection: BaseDatabaseWrapper) -> two_phase.Announced | None:
    state = state_of(connection)
    announced: two_phase.Announced | None = state.announced
    state.announced = None
    return announced


def _uncommitted_after_atomic(connection: BaseDatabaseWrapper) -> bool:
    return is_manual(connection) or (connection.in_atomic_block and not connection.commit_on_exit)
