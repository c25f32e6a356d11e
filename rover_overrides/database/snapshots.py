"""Whether a reader may see data older than its lease: then its result must not be stored.

A lease is taken before the SELECT. That is enough if each statement sees what is committed when
it starts. It is not enough in a transaction whose snapshot dates from its first statement, nor on
a replica that lags.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import connections, models, router

from rover_overrides.database import statements
from rover_overrides.database.connection_state import state_of
from rover_overrides.database.statements import StatementError

# Isolation levels in which each statement sees what is committed when it starts.
_STATEMENT_LEVELS = frozenset({"read committed", "read uncommitted"})
_default_is_snapshot: dict[tuple[str, ...], bool] = {}
# In the context of the outermost transaction, whose isolation level cannot change after a query.
_SNAPSHOT_KEY = "rover_snapshot"


def may_read_stale(dbs: Iterable[str], tables: Iterable[str]) -> bool:
    """Return whether rows read now through these aliases may lack what others have committed."""
    tables = tuple(tables)
    return any(_is_replica(using, tables) or _has_snapshot(using) for using in dbs)


def sees_snapshot_only(using: str) -> bool:
    """Return whether a writer cannot see what others have committed since its transaction began.

    On SQLite nobody else can commit meanwhile.
    """
    connection = connections[using]
    return (
        connection.vendor != "sqlite"
        and statements.in_transaction(connection)
        and is_bound_to_snapshot(using)
    )


def is_bound_to_snapshot(using: str) -> bool:
    """Return whether a reader sees only what was committed when its transaction began.

    A cached result may be newer than that. To save round trips at each read of the cache and at
    each write, PostgreSQL's default level is queried once per process, and the level of a
    transaction only if raw SQL or the driver has named another one.
    """
    connection = connections[using]
    if connection.connection is None:
        return False
    state = state_of(connection)
    is_named = (
        state.has_explicit_isolation_level
        or getattr(connection.connection, "isolation_level", None) is not None
    )
    if is_named or connection.vendor != "postgresql":
        return _has_snapshot(using)
    # Kept on the connection, because each hit would otherwise make the key of the cache anew.
    if state.defaults_to_snapshot is None:
        state.defaults_to_snapshot = _defaults_to_snapshot(connection)
    return state.defaults_to_snapshot is not False  # unknown counts as bound


def any_uncommitted_writes() -> bool:
    """Return whether this thread has uncommitted writes on any alias."""
    return any(state.is_dirty() for state in list(transaction.transaction_states._states.values()))


def _is_replica(using: str, tables: tuple[str, ...]) -> bool:
    """Return whether an alias is read-only according to the router, the settings or the server.

    Without a router it is unknown where writes go, and an alias that the application names
    explicitly may be a separate database.
    """
    if connections[using].settings_dict.get("TEST", {}).get("MIRROR"):
        return True
    if getattr(settings, "DATABASE_ROUTERS", ()) and any(
        router.db_for_write(m) != using for t in tables for m in _models_of_table(t)
    ):
        return True
    return _in_hot_standby(connections[using].connection)


def _in_hot_standby(raw: Any) -> bool:
    """Return whether the server is a hot standby, which PostgreSQL reports unasked since 14."""
    info: Any = getattr(raw, "info", None)  # psycopg 3, and psycopg2 from 2.8
    return hasattr(info, "parameter_status") and info.parameter_status("in_hot_standby") == "on"


@lru_cache(maxsize=1024)
def _models_of_table(table: str) -> tuple[type[models.Model], ...]:
    return tuple(m for m in apps.get_models(include_auto_created=True) if m._meta.db_table == table)


def _has_snapshot(using: str) -> bool:
    """Return whether the connection is in a transaction that does not see what others commit."""
    connection = connections[using]
    if connection.connection is None or not statements.in_transaction(connection):
        return False
    contexts = transaction.transaction_states[using]
    # Not kept before the first statement: until then the isolation level may still change.
    if not contexts or not statements.has_run_statement(connection):
        return _query_keeps_snapshot(connection)
    if _SNAPSHOT_KEY not in contexts[0]:
        contexts[0][_SNAPSHOT_KEY] = _query_keeps_snapshot(connection)
    return bool(contexts[0][_SNAPSHOT_KEY])


def _query_keeps_snapshot(connection: Any) -> bool:
    """Return whether the current transaction keeps one snapshot, by a query past Django.

    Its level may differ from the default by a role's setting or SET TRANSACTION.
    """
    if connection.vendor == "postgresql":
        return _query_value(connection, "SHOW transaction_isolation") not in _STATEMENT_LEVELS
    if connection.vendor == "sqlite":
        # Without a write-ahead log nobody can commit while a transaction reads.
        return _query_value(connection, "PRAGMA journal_mode") == "wal"
    # On other databases it is unknown, which counts as a snapshot.
    return True


def _defaults_to_snapshot(connection: Any) -> bool | None:
    key = tuple(
        str(connection.settings_dict.get(name))
        for name in ("HOST", "PORT", "NAME", "USER", "OPTIONS")
    )
    if key not in _default_is_snapshot:
        level = _query_value(connection, "SHOW default_transaction_isolation")
        if not level:
            return None
        _default_is_snapshot[key] = level not in _STATEMENT_LEVELS
    return _default_is_snapshot[key]


def _query_value(connection: Any, sql: str) -> str:
    try:
        ((value, *_), *_) = statements.read(connection, sql)
    except StatementError:
        return ""  # unknown, for example in a failed transaction
    return str(value).lower()


# At the end, because upstream's module imports this one while it is imported itself.
from cacheops import transaction  # noqa: E402
