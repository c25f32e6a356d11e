"""The outbox: tables of writes that could not be prepared in Redis, stored in the database.

With `CACHEOPS_ROVER_OUTBOX = True` (the default database; or a tuple of aliases) a writer whose
preparation failed inserts the names of its tables into the table `rover_outbox`, in the same
transaction. A process that reaches Redis invalidates all results of these tables: each reading
process checks the outbox once every `CACHEOPS_ROVER_OUTBOX_SECONDS` (5) before it queries Redis,
and so does `manage.py drainoutbox`. Thus no reader gets results that such a write has outdated for
longer than that. `manage.py migrate` creates the table.

A reader inside a transaction deletes the rows after its transaction has ended. If it deleted them
inside, others would wait for these rows, and it might wait for them on a second connection.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from django.apps.registry import Apps
from django.conf import settings
from django.core.exceptions import SynchronousOnlyOperation
from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.models.signals import post_migrate
from redis.exceptions import RedisError

from rover_overrides.cache import results
from rover_overrides.core.operator_warnings import warn
from rover_overrides.core.site_settings import site_settings
from rover_overrides.core.switches import is_enabled
from rover_overrides.database import snapshots, statements
from rover_overrides.database.connection_state import state_of
from rover_overrides.database.statements import StatementError
from rover_overrides.invalidation import commits, transaction_ends, two_phase
from rover_overrides.invalidation.prefixed_tables import decode_table, encode_table
from rover_overrides.invalidation.two_phase import PrefixedTable

TABLE = "rover_outbox"
STEP = 500  # rows that are read and deleted at a time: SQLite allows 999 parameters

# S608: all names in the statement are our own.
_SELECT = f"SELECT id, name FROM {TABLE} WHERE id > %s ORDER BY id LIMIT {STEP}"  # noqa: S608

_next_check = 0.0
_is_unread = False  # whether the last check failed


def install() -> None:
    """Make writers use the outbox if Redis does not answer, and make readers check it."""
    if _insert not in commits.on_prepare_failed:
        commits.on_prepare_failed.append(_insert)
        commits.on_invalidate_failed.append(_insert_after_failure)
        transaction_ends.after_transaction.append(_after_transaction)
        results.before_read.append(_before_read)
        post_migrate.connect(_create, dispatch_uid="rover_outbox")


def drain(using: str) -> int:
    """Invalidate the tables in the outbox of a database, and return how many rows there were.

    Raise StatementError if the outbox cannot be read.
    """
    connection = connections[using]
    # It reads on by id, because rows may stay: in a transaction, or without the right to delete.
    drained = last = 0
    while rows := statements.read(connection, _SELECT, [last]):
        two_phase.invalidate_tables(using, {decode_table(name) for _, name in rows})
        _delete(connection, [number for number, _ in rows])
        drained, last = drained + len(rows), rows[-1][0]
        if len(rows) < STEP:
            break
    return drained


def aliases() -> tuple[str, ...]:
    """Return the aliases of the databases that have an outbox."""
    wanted = getattr(settings, "CACHEOPS_ROVER_OUTBOX", False) if is_enabled("outbox") else False
    return (DEFAULT_DB_ALIAS,) if wanted is True else tuple(wanted or ())


def _before_read() -> bool:
    """Check the outbox once every few seconds; return whether the cache may be read.

    The cache may not be read while the content of the outbox is unknown: after a check that failed,
    or if a check is due and can see nothing new, as in a transaction with a snapshot.
    """
    if not getattr(site_settings(), "CACHEOPS_ROVER_OUTBOX", False):  # asked at each read
        return True
    if time.monotonic() >= _next_check:
        return _drain_all()
    return not _is_unread


def _drain_all() -> bool:
    global _next_check, _is_unread  # noqa: PLW0603 - of the process
    if not all(map(_sees_commits, aliases())):
        return False
    # Set before the check, so that one that fails is not repeated at each read.
    before, _next_check = (
        _next_check,
        time.monotonic() + getattr(settings, "CACHEOPS_ROVER_OUTBOX_SECONDS", 5),
    )
    try:
        # A list, so that one outbox that cannot be read does not keep others from being drained.
        _is_unread = False in [_drain_one(using) for using in aliases()]
    except RedisError:
        _next_check = before  # the check is still due
        raise
    return not _is_unread


def _sees_commits(using: str) -> bool:
    """Return whether a statement would see what others have committed.

    The first statement of a transaction does.
    """
    connection = connections[using]
    if connection.needs_rollback:
        return False
    return not (statements.has_run_statement(connection) and snapshots.is_bound_to_snapshot(using))


def _drain_one(using: str) -> bool:
    """Drain a database and return whether that succeeded; a missing table counts as empty."""
    try:
        drain(using)
    except StatementError as error:
        warn(f"The outbox of {using} cannot be read: {error}", stacklevel=2)
        return statements.is_missing_table(error)
    except SynchronousOnlyOperation:  # in an event loop, where no statement may block
        return False
    return True


def _insert(connection: Any, tables: Collection[PrefixedTable], *, apart: bool = False) -> None:
    """Insert tables in the transaction that is about to commit, or at once outside any.

    If that fails, warn and continue.
    """
    if connection.alias not in aliases():
        return
    now = int(time.time())
    values = [value for name in sorted(map(encode_table, tables)) for value in (name, now)]
    rows = ", ".join(["(%s, %s)"] * len(tables))
    sql = f"INSERT INTO {TABLE} (name, made) VALUES {rows}"  # noqa: S608 - placeholders
    is_open = statements.in_transaction(connection) and not apart
    try:
        (statements.write if is_open else statements.write_and_commit)(connection, sql, values)
        state_of(connection).is_in_outbox = is_open
    except StatementError as error:
        warn(f"The outbox of {connection.alias} cannot be written: {error}", stacklevel=2)


def _insert_after_failure(using: str, tables: Collection[PrefixedTable]) -> None:
    """Insert what could not be sent to Redis after the COMMIT, unless the COMMIT included it."""
    connection = connections[using]
    if state_of(connection).is_in_outbox:
        state_of(connection).is_in_outbox = False
    elif statements.is_usable(connection) or connection.connection is None:
        _insert(connection, tables, apart=True)


def _delete(connection: Any, numbers: Collection[int]) -> None:
    """Delete rows whose tables are invalidated; inside a transaction, later."""
    if statements.in_transaction(connection):
        state_of(connection).has_drained_outbox = True
        return
    placeholders = ", ".join(["%s"] * len(numbers))
    with suppress(StatementError):  # others may be deleting them
        statements.write(
            connection,
            f"DELETE FROM {TABLE} WHERE id IN ({placeholders})",  # noqa: S608 - placeholders
            tuple(numbers),
        )


def _after_transaction(connection: Any) -> None:
    """Delete the rows that were read in the transaction that has ended."""
    if state_of(connection).has_drained_outbox:
        state_of(connection).has_drained_outbox = False
        with suppress(StatementError, RedisError):
            drain(connection.alias)


def _create(using: str = DEFAULT_DB_ALIAS, **_: Any) -> None:
    """Create the table after `migrate`."""
    connection = connections[using]
    if using in aliases() and TABLE not in connection.introspection.table_names():
        with connection.schema_editor() as editor:
            editor.create_model(_model())


def _model() -> Any:
    """Return the table as a model of no application, so that no migrations are made for it."""
    fields: dict[str, Any] = {
        "id": models.BigAutoField(primary_key=True),
        "name": models.CharField(max_length=255),
        "made": models.BigIntegerField(),
    }
    meta = type("Meta", (), {"apps": Apps(), "app_label": "rover", "db_table": TABLE})
    return type("Outbox", (models.Model,), {"__module__": __name__, "Meta": meta, **fields})
