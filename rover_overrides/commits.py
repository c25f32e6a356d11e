"""When the invalidation of a write runs: at the commit of its transaction, all its changes in one go.

Just before the COMMIT the changes are announced (see `drops`), so that a writer that dies after it leaves nothing stale;
where Redis does not answer then, they are sent after it. They wait in the outermost context of cacheops'
`transaction_states`, so that a rollback forgets them with it. A savepoint that is rolled back may leave changes of what
never happened, which is coarser and no more. In manual mode (`set_autocommit(False)`) cacheops sees no transaction; there
the changes wait on the connection, until it commits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Any

from cacheops import invalidation, redis, transaction
from cacheops.conf import settings
from django.conf import settings as django_settings
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from redis.exceptions import RedisError

from rover_overrides import drops, snapshots, statements
from rover_overrides.connection_state import state_of
from rover_overrides.drops import Change, prefix_at_write
from rover_overrides.switches import on

# A transaction that changed more rows of a table than this changed the table.
MAX_ROWS = 10_000

Place = drops.Place

_Step = Callable[[BaseDatabaseWrapper], None]

unannounced: list[Callable[[BaseDatabaseWrapper, Collection[Place]], None]] = []
"""What is called before a COMMIT that Redis did not hear of, with the tables that were written."""

unheard: list[Callable[[str, Collection[Place]], None]] = []
"""What is called after a write that Redis did not hear of at all, with its alias and tables."""

after_transaction: list[_Step] = []
"""What is called with a connection that is back in autocommit mode, after its transaction has ended."""

_KEY = "rover_batch"  # of the changes in cacheops' outermost context
_ENDING = "_rover_ending"
_SAME_DATABASE = ("ENGINE", "HOST", "PORT", "NAME")


class Batch:
    """The changes of one transaction, in order; a table with too many of them is kept as one coarse change."""

    def __init__(self) -> None:
        self._changes: dict[Place, list[Change]] = {}

    def add(self, change: Change) -> None:
        """Add a change, unless its table is all changed already."""
        kept = self._changes.setdefault(change.place, [])
        if kept and _is_coarse(kept[0]):
            return
        if _is_coarse(change) or len(kept) >= MAX_ROWS:
            kept[:] = [change._replace(old=None, new=None)]
        else:
            kept.append(change)

    def changes(self) -> list[Change]:
        """Return what is in it."""
        return [change for kept in self._changes.values() for change in kept]

    def take(self) -> list[Change]:
        """Return what is in it and leave it empty."""
        changes = self.changes()
        self._changes = {}
        return changes


def record(using: str | None, change: Change) -> None:
    """Have a change invalidated at the commit of the transaction it is in; outside any, at once."""
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
    """Announce changes before a statement that commits by itself, and invalidate after it, also where it raised."""
    changes = [prefix_at_write(connection.alias, change) for change in changes]
    announced = _announced(connection, changes)
    try:
        yield
    finally:
        _finish(connection.alias, announced, changes)


def dirty(using: str | None) -> bool:
    """Tell whether this thread's reads bypass the cache: they may see what is not committed, or only what their snapshot has.

    An alias counts that goes to the same database as one with an open transaction: as a test mirror it shares its connection,
    and elsewhere its reader expects to see the writes of its own thread.
    """
    alias = using or DEFAULT_DB_ALIAS
    if len(connections.settings) == 1:
        return _writing(alias)
    return any(_writing(other) and _same_database(alias, other) for other in _used_aliases(alias))


def committed(connection: BaseDatabaseWrapper) -> None:
    """Invalidate what a connection has committed: it comes before any `on_commit` callback, which might raise."""
    state = state_of(connection)
    changes, announced = _taken(connection), state.announced
    state.announced = None
    state.end_transaction()
    was_usable = statements.is_usable(connection)
    try:
        _finish(connection.alias, announced, changes)
    finally:
        if was_usable and transaction.transaction_states[connection.alias] and not statements.is_usable(connection):
            _reconnect(connection)


def _reconnect(connection: Any) -> None:
    """Replace a connection that a look-up after the COMMIT found lost, and keep the `on_commit` callbacks that are about to run.

    Django uses the connection once more before it runs them, and would report a failure of what is committed.
    """
    callbacks = connection.run_on_commit
    connection.run_commit_hooks_on_set_autocommit_on = False
    connection.close()
    with suppress(Error):
        connection.connect()
    connection.run_on_commit, connection.run_commit_hooks_on_set_autocommit_on = callbacks, True


def forgotten(connection: BaseDatabaseWrapper) -> None:
    """Forget what a connection has rolled back."""
    state = state_of(connection)
    changes, announced = _taken(connection), state.announced
    state.announced = None
    state.end_transaction()
    if announced is not None:
        _complete(connection.alias, announced, changes, committed=False)


def committing(connection: BaseDatabaseWrapper) -> None:
    """Announce what a connection is about to commit; the write goes on where Redis does not answer.

    Raises the database's error where a statement of the cache's own has ended the transaction: the COMMIT would do nothing.
    """
    changes = [change for batch in _batches(connection) for change in batch.changes()]
    state_of(connection).announced = _announced(connection, changes)
    statements.check_commit(connection)


def wrote(connection: BaseDatabaseWrapper) -> None:
    """Note that a connection in manual mode has written: until its commit, reads bypass the cache."""
    if _uncommitted_after_atomic(connection):
        state_of(connection).is_dirty = True


@contextmanager
def ended_by_hand(connection: BaseDatabaseWrapper, *, commits: bool) -> Iterator[None]:
    """Invalidate around a statement that may end a transaction which raw SQL began."""
    if commits:
        committing(connection)
    try:
        yield
    finally:
        if not statements.is_begun_by_hand(connection):
            committed(connection)


def waits_for_hand(connection: BaseDatabaseWrapper) -> bool:
    """Return whether changes wait for the end of a transaction that raw SQL began."""
    return connection.autocommit and not connection.in_atomic_block and state_of(connection).batch is not None


def install() -> None:
    """Have every commit and rollback seen, those of manual mode too."""
    wrapper: Any = BaseDatabaseWrapper
    if hasattr(wrapper.commit, _ENDING):
        return
    wrapper.commit = _ending(wrapper.commit, committed, first=committing)
    wrapper.rollback = _ending(wrapper.rollback, forgotten)
    wrapper.close = _ending(wrapper.close, _closed, first=_closing)
    wrapper.set_autocommit = _ending(wrapper.set_autocommit, _autocommit_set, first=_autocommit_setting)
    transaction.TransactionStates.is_dirty = lambda _states, dbs: any(map(dirty, dbs))
    transaction.TransactionState.commit = _once(transaction.TransactionState.commit)


def _announced(connection: BaseDatabaseWrapper, changes: list[Change]) -> drops.Announced | None:
    """Announce changes; None where that is not wanted, or Redis did not hear it."""
    if changes and on("announced-commits") and not _queues():
        try:
            return drops.announce(connection.alias, changes)
        except RedisError:
            _call(unannounced, connection, changes)
    return None


def _finish(alias: str, announced: drops.Announced | None, changes: list[Change]) -> None:
    """Invalidate what was committed, and send upstream's signals."""
    if announced is None:
        _send(alias, changes)
    else:
        _complete(alias, announced, changes, committed=True)
        drops.tell(changes)


def _is_coarse(change: Change) -> bool:
    return change.old is None and change.new is None


def _batch(alias: str) -> Batch | None:
    """Return where the changes of the open transaction wait, None outside any."""
    contexts = transaction.transaction_states[alias]
    if contexts:
        outermost = contexts[0]
        if _KEY not in outermost:
            batch = outermost[_KEY] = Batch()
            outermost["cbs"].append((_left, (alias, batch), {}))
        found: Batch = outermost[_KEY]
        return found
    connection = connections[alias]
    return _waiting(connection) if _manual(connection) else None


def _waiting(connection: BaseDatabaseWrapper) -> Batch:
    """Return where the changes of manual mode wait."""
    state = state_of(connection)
    state.batch = state.batch or Batch()
    found: Batch = state.batch
    return found


def _left(alias: str, batch: Batch) -> None:
    """Invalidate at the end of cacheops' outermost context; in manual mode that is not the commit yet."""
    connection = connections[alias]
    if not _manual(connection):
        _send(alias, batch.take())
        return
    waiting = _waiting(connection)
    for change in batch.take():
        waiting.add(change)


@redis.handle_connection_failure  # type: ignore[untyped-decorator]
def _send(alias: str, changes: list[Change]) -> None:
    if changes:
        try:
            if not _handed_over(alias, changes):
                drops.invalidate(alias, changes)
        except RedisError:
            _call(unheard, alias, changes)
            raise
        drops.tell(changes)


def _queues() -> bool:
    """Tell whether invalidations are handed over to a queue."""
    return bool(getattr(django_settings, "CACHEOPS_ROVER_QUEUE", None)) and on("queued-work")


def _handed_over(alias: str, changes: list[Change]) -> bool:
    if not _queues():
        return False
    from rover_overrides import queueing

    return queueing.hand_over(alias, changes)


def _call(hooks: list[Callable[[Any, Collection[Place]], None]], where: Any, changes: list[Change]) -> None:
    places = {change.place for change in changes}
    for hook in hooks:
        hook(where, places)


@redis.handle_connection_failure  # type: ignore[untyped-decorator]
def _complete(alias: str, announced: drops.Announced, changes: list[Change], *, committed: bool) -> None:
    drops.complete(alias, announced, changes, committed=committed)


def _batches(connection: BaseDatabaseWrapper) -> list[Batch]:
    """Return where changes of a connection wait."""
    contexts = transaction.transaction_states[connection.alias]
    waiting = [state_of(connection).batch, contexts[0].get(_KEY) if contexts else None]
    return [batch for batch in waiting if batch is not None]


def _taken(connection: BaseDatabaseWrapper) -> list[Change]:
    changes = [change for batch in _batches(connection) for change in batch.take()]
    state_of(connection).batch = None
    return changes


def _manual(connection: BaseDatabaseWrapper) -> bool:
    """Return whether the application itself ends the transaction; a connection that is not open yet says nothing."""
    if connection.connection is None or connection.in_atomic_block:
        return False
    return not connection.autocommit or statements.is_begun_by_hand(connection)


def _uncommitted_after_atomic(connection: BaseDatabaseWrapper) -> bool:
    return _manual(connection) or (connection.in_atomic_block and not connection.commit_on_exit)


def _writing(alias: str) -> bool:
    if transaction.transaction_states[alias].is_dirty():
        return True
    connection = _opened(alias)
    if connection is None:
        return False
    state = state_of(connection)
    if state.is_dirty or state.batch is not None:
        return True
    is_in_transaction = connection.in_atomic_block or not connection.autocommit or state.names_isolation
    return bool(is_in_transaction and snapshots.is_bound(alias))


def _opened(alias: str) -> Any:
    """Return the thread's connection of an alias without making one."""
    return getattr(connections._connections, alias, None)  # type: ignore[attr-defined]


def _used_aliases(alias: str) -> Iterator[str]:
    yield alias
    yield from (other for other in connections if other != alias)


def _same_database(alias: str, other: str) -> bool:
    if alias == other:
        return True
    one, two = _database(alias), _database(other)
    return one == two


def _database(alias: str) -> tuple[Any, ...]:
    opened = _opened(alias)
    found: Any = connections.settings[alias] if opened is None else opened.settings_dict
    return tuple(str(found.get(name) or "") for name in _SAME_DATABASE)


def _closing(connection: BaseDatabaseWrapper) -> None:
    """Invalidate what the driver itself has committed, after a transaction that raw SQL or the driver began."""
    if connection.connection is not None and waits_for_hand(connection) and not statements.is_begun_by_hand(connection):
        committed(connection)


def _closed(connection: BaseDatabaseWrapper) -> None:
    if connection.connection is None:
        state_of(connection).names_isolation = False
        forgotten(connection)


def _autocommit_setting(connection: BaseDatabaseWrapper) -> None:
    """Announce what turning autocommit on will commit."""
    if state_of(connection).batch is not None and _manual(connection):
        committing(connection)


def _autocommit_set(connection: BaseDatabaseWrapper) -> None:
    """Invalidate what turning autocommit on has committed: what manual mode had open."""
    if not connection.autocommit:
        return
    state = state_of(connection)
    if state.batch is not None:
        committed(connection)
    state.end_transaction()
    for step in after_transaction:
        step(connection)


def _once(original: Callable[..., None]) -> Callable[..., None]:
    """Return upstream's end of a context for where on_commit() calls it late, without autocommit: there is none left then."""

    @wraps(original)
    def method(self: Any) -> None:
        if self:
            original(self)

    return method


def _nothing(connection: BaseDatabaseWrapper) -> None:
    """Do nothing before a method of a connection."""


def _ending(original: Callable[..., Any], then: _Step, first: _Step = _nothing) -> Callable[..., Any]:
    """Return a method of a connection that goes on with `then`, also when it raised: a commit that did may have committed."""

    @wraps(original)
    def method(self: BaseDatabaseWrapper, *args: Any, **kwargs: Any) -> Any:
        first(self)
        try:
            return original(self, *args, **kwargs)
        finally:
            then(self)

    setattr(method, _ENDING, True)
    return method
