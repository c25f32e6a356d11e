"""Decides which statements are tracked, and records their row changes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from cacheops import invalidation
from cacheops.conf import settings
from cacheops.utils import family_has_profile
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from rover_overrides.core.switches import is_enabled
from rover_overrides.database import query_log, statements
from rover_overrides.database.connection_state import state_of
from rover_overrides.invalidation import commits
from rover_overrides.invalidation.two_phase import Change
from rover_overrides.rows import rows
from rover_overrides.rows.rows import Row


def is_tracking_enabled() -> bool:
    """Return whether writes invalidate anything, here and now."""
    return bool(
        settings.CACHEOPS_INSIDEOUT
        and settings.CACHEOPS_ENABLED
        and not invalidation.no_invalidation.active
    )


def in_own_transaction(
    connection: BaseDatabaseWrapper, write: Callable[[], Any], *, reads_old_rows: bool = True
) -> Any:
    """Call `write`, which writes in autocommit mode, in a transaction.

    So its rows are known together, and their invalidation is prepared before its COMMIT.
    """
    state = state_of(connection)
    atomic = transaction.atomic(using=connection.alias, savepoint=False)
    _begin(connection, atomic)
    state.is_own_transaction, state.reads_old_rows = True, reads_old_rows
    try:
        written = write()
    except BaseException:
        state.is_own_transaction, state.reads_old_rows = False, True
        _end(connection, atomic, *sys.exc_info())
        raise
    state.is_own_transaction, state.reads_old_rows = False, True
    _end(connection, atomic, None, None, None)
    return written


def _begin(connection: BaseDatabaseWrapper, atomic: Any) -> None:
    """Enter an atomic block that the application's query log does not show."""
    if is_enabled("serial-saves"):
        # The module goes with its feature, so it is imported only where that is enabled.
        from rover_overrides.writes.row_locks import begin_with_lock

        if begin_with_lock(connection, atomic):
            return
    if query_log.is_needed(connection):
        with query_log.hide_begin(connection):
            atomic.__enter__()
    else:
        atomic.__enter__()


def _end(connection: BaseDatabaseWrapper, atomic: Any, *error: Any) -> None:
    if query_log.is_needed(connection):
        with query_log.hide_end(connection):
            atomic.__exit__(*error)
    else:
        atomic.__exit__(*error)


def needs_own_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a write would be a transaction by itself."""
    return bool(
        connection.features.supports_transactions and not statements.in_transaction(connection)
    )


def tracks_rows(model: Any) -> bool:
    """Return whether the rows of a model are tracked one by one.

    Without a profile they are not: such rows are cached only as parts of other results.
    """
    return bool(
        is_enabled("track-all-writes")
        # The models of migrations are in a module named `__fake__`.
        and model.__module__ != "__fake__"
        and family_has_profile(model)
    )


def record_row(compiler: Any, old: Row | None, new: Row | None) -> None:
    """Record how a statement changed a row, unless it left the row as it was."""
    if old is not None and new is not None and rows.is_same_row(old, new):
        if is_enabled("unchanged-rows"):
            return
        new = None  # as if it were deleted: what depends on it is invalidated
    commits.record(compiler.connection.alias, Change(_table(compiler), old, new))


def record_table(compiler: Any, table: str | None = None) -> None:
    """Record that anything may have changed in a statement's table, or in another one."""
    commits.record(compiler.connection.alias, Change(table or _table(compiler), None, None))


def _table(compiler: Any) -> str:
    table: str = compiler.query.get_meta().db_table
    return table
