"""The old row is read under a lock, in the transaction of its write.

Without it a second writer may read a row before the first has committed, and so not know the value that it replaces.
"""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from rover_overrides.database import statements


def can_lock(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether rows can be kept from others between the look at them and their write."""
    features = connection.features
    row_locks = features.has_select_for_update and features.supports_select_for_update_with_limit
    return bool(features.supports_transactions and (connection.vendor == "sqlite" or row_locks))


def row_lock(connection: BaseDatabaseWrapper, *, deletes: bool = False) -> str | None:
    """Return the lock that a SELECT takes on the rows that are written: never stronger than the write's own.

    An UPDATE keeps off whoever adds rows that lead to its own only if it gives a key another value, and then it does so itself;
    most name their keys and leave them as they are.
    """
    if not connection.features.has_select_for_update:
        return None
    return "update" if deletes or not connection.features.has_select_for_no_key_update else "no key"


def lock_database(connection: BaseDatabaseWrapper, meta: Any) -> None:
    """Take SQLite's write lock before the rows are read; raises StatementError.

    A deferred transaction that reads first fails with "database is locked" when it writes after another one has written; one
    that begins with a write waits its turn. The statement changes no row.
    """
    if connection.vendor != "sqlite":
        return
    quote = connection.ops.quote_name
    fields = meta.concrete_model._meta.local_concrete_fields
    column = quote(next(field.column for field in fields if not getattr(field, "generated", False)))
    statements.lock(connection, f"UPDATE {quote(meta.db_table)} SET {column} = {column} WHERE 0")  # noqa: S608 - names of the model
