"""The old row is read under a lock, in the transaction of its write.

Without it a second writer may read a row before the first has committed, and so not know the value that it replaces.
"""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from rover_overrides import statements


def can_lock(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether rows can be kept from others between the look at them and their write."""
    features = connection.features
    row_locks = features.has_select_for_update and features.supports_select_for_update_with_limit
    return bool(features.supports_transactions and (connection.vendor == "sqlite" or row_locks))


def row_lock(connection: BaseDatabaseWrapper, fields: list[Any] | None = None) -> str | None:
    """Return the lock a SELECT takes on rows of which these fields are written, all if none: as strong as the write's own."""
    if not connection.features.has_select_for_update:
        return None
    touches_key = fields is None or any(field.primary_key or field.unique for field in fields)
    return "no key" if connection.features.has_select_for_no_key_update and not touches_key else "update"


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
