"""Row locks: the old row is read under a lock, in the transaction of its write.

Without the lock a second writer may read a row before the first one has committed, and miss the
value that it replaces.
"""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from rover_overrides.database import statements
from rover_overrides.database.connection_state import state_of


def can_lock(connection: BaseDatabaseWrapper) -> bool:
    """Return whether rows can be locked from when they are read until they are written."""
    features = connection.features
    # The rows are selected with a limit (see `rows.matching_query`).
    row_locks = features.has_select_for_update and features.supports_select_for_update_with_limit
    return bool(features.supports_transactions and (connection.vendor == "sqlite" or row_locks))


def row_lock(connection: BaseDatabaseWrapper, *, deletes: bool = False) -> str | None:
    """Return the lock that a SELECT takes on rows to be written, or None without row locks.

    It is never stronger than the lock of the write. An UPDATE blocks writers that add rows
    referring to its own only if it changes a key, and then it does so itself; most UPDATEs name
    their keys but leave them as they are.
    """
    if not connection.features.has_select_for_update:
        return None
    return "update" if deletes or not connection.features.has_select_for_no_key_update else "no key"


def begin_with_lock(connection: BaseDatabaseWrapper, atomic: Any) -> bool:
    """Enter an atomic block whose transaction has SQLite's write lock from the start.

    Return False, without entering it, where transactions do not begin as Django begins those of
    SQLite. The statement goes to the driver, so that the application does not see it.
    """
    begin = getattr(type(connection), _BEGIN, None)
    if connection.vendor != "sqlite" or getattr(begin, "__module__", "") != _DJANGO_MODULE:
        return False
    is_exclusive = str(getattr(connection, "transaction_mode", None)).upper() == "EXCLUSIVE"
    statement = "BEGIN EXCLUSIVE" if is_exclusive else "BEGIN IMMEDIATE"

    def begin_immediately() -> None:
        with connection.wrap_database_errors:
            connection.connection.execute(statement)

    setattr(connection, _BEGIN, begin_immediately)
    try:
        atomic.__enter__()
    finally:
        delattr(connection, _BEGIN)
    state_of(connection).locked_tables.add(_ALL_TABLES)
    return True


_BEGIN = "_start_transaction_under_autocommit"
_DJANGO_MODULE = "django.db.backends.sqlite3.base"
_ALL_TABLES = ""


def lock_database(connection: BaseDatabaseWrapper, meta: Any) -> None:
    """Take SQLite's write lock before the rows are read; raise StatementError if that fails.

    A deferred transaction that reads first fails with "database is locked" if it writes after
    another one has written. One that begins with a write waits its turn. The statement changes no
    row.
    """
    if connection.vendor != "sqlite":
        return
    state = state_of(connection)
    is_locked = not state.locked_tables.isdisjoint((_ALL_TABLES, meta.db_table))
    if is_locked and statements.has_open_transaction(connection):
        return
    quote = connection.ops.quote_name
    fields = meta.concrete_model._meta.local_concrete_fields
    column = quote(next(field.column for field in fields if not getattr(field, "generated", False)))
    statements.lock_rows(
        connection,
        # S608: the names are those of the model.
        f"UPDATE {quote(meta.db_table)} SET {column} = {column} WHERE 0",  # noqa: S608
    )
    if statements.in_transaction(connection):  # until then; ROLLBACK TO SAVEPOINT keeps the lock
        state.locked_tables.add(meta.db_table)
