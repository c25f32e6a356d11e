"""Decides which statements are tracked, and records their row changes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cacheops import invalidation
from cacheops.conf import settings
from cacheops.utils import family_has_profile
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from rover_overrides.core.switches import on
from rover_overrides.database import statements
from rover_overrides.database.connection_state import state_of
from rover_overrides.database.query_log import begins_unseen, ends_unseen
from rover_overrides.invalidation import commits
from rover_overrides.invalidation.two_phase import Change
from rover_overrides.rows import rows
from rover_overrides.rows.rows import Row


def is_watched() -> bool:
    """Return whether writes invalidate anything, here and now."""
    return bool(
        settings.CACHEOPS_INSIDEOUT
        and settings.CACHEOPS_ENABLED
        and not invalidation.no_invalidation.active
    )


@contextmanager
def own_transaction(connection: BaseDatabaseWrapper, *, looks: bool = True) -> Iterator[None]:
    """Open a transaction around a write in autocommit mode.

    So its rows are known together, and announced before its COMMIT.
    """
    state = state_of(connection)
    with _unseen_atomic(connection):
        state.is_own_transaction, state.looks = True, looks
        try:
            yield
        finally:
            state.is_own_transaction, state.looks = False, True


@contextmanager
def _unseen_atomic(connection: BaseDatabaseWrapper) -> Iterator[None]:
    atomic = transaction.atomic(using=connection.alias, savepoint=False)
    with begins_unseen(connection):
        atomic.__enter__()
    try:
        yield
    except BaseException:
        with ends_unseen(connection):
            atomic.__exit__(*sys.exc_info())
        raise
    with ends_unseen(connection):
        atomic.__exit__(None, None, None)


def needs_own_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a write would be a transaction by itself."""
    return bool(
        connection.features.supports_transactions and not statements.in_transaction(connection)
    )


def is_precise(model: Any) -> bool:
    """Return whether the rows of a model are tracked one by one.

    Without a profile they are not: such rows are cached only as parts of other results.
    """
    return bool(
        on("track-all-writes") and model.__module__ != "__fake__" and family_has_profile(model)
    )


def record_row(compiler: Any, old: Row | None, new: Row | None) -> None:
    """Record how a statement changed a row, unless it left the row as it was."""
    if old is not None and new is not None and rows.is_unchanged(old, new):
        if on("unchanged-rows"):
            return
        new = None  # as if it were deleted: what depends on it is invalidated
    commits.record(compiler.connection.alias, Change(_table(compiler), old, new))


def record_table(compiler: Any, table: str | None = None) -> None:
    """Record that anything may have changed in a statement's table, or in another one."""
    commits.record(compiler.connection.alias, Change(table or _table(compiler), None, None))


def _table(compiler: Any) -> str:
    table: str = compiler.query.get_meta().db_table
    return table
