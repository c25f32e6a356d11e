"""Whether what a reader sees may be older than a lease it took: then its result must not be stored.

A lease is taken before the SELECT, which is enough where each statement sees what is committed when it starts. It is not in a
transaction whose snapshot is from its first statement, nor on a replica that lags.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from cacheops.transaction import transaction_states
from django.apps import apps
from django.conf import settings
from django.db import connections, models, router

from rover_overrides.database import statements
from rover_overrides.database.connection_state import state_of
from rover_overrides.database.statements import StatementError

_EACH_STATEMENT = frozenset(
    {"read committed", "read uncommitted"}
)  # sees what is committed when it starts
_bound_by_default: dict[tuple[str, ...], bool] = {}
_KEPT = "rover_snapshot"  # in the context of the outermost transaction: its isolation cannot change after a query


def may_be_old(dbs: Iterable[str], tables: Iterable[str]) -> bool:
    """Tell whether rows of the tables, read now through these aliases, may be from before what others have committed."""
    tables = tuple(tables)
    return any(_is_replica(using, tables) or _has_snapshot(using) for using in dbs)


def may_lack_commits(using: str) -> bool:
    """Tell whether a writer does not see what others have committed since its transaction began; in SQLite nobody else can."""
    return connections[using].vendor != "sqlite" and _has_snapshot(using)


def is_bound(using: str) -> bool:
    """Tell whether a reader sees what was committed when its transaction began: a cached result may be newer than that.

    So that a read of the cache costs no round trip, PostgreSQL is asked for its default once in a process, and in a transaction
    only where raw SQL or the driver has named another level.
    """
    connection = connections[using]
    if connection.connection is None:
        return False
    state = state_of(connection)
    is_named = (
        state.names_isolation or getattr(connection.connection, "isolation_level", None) is not None
    )
    if is_named or connection.vendor != "postgresql":
        return _has_snapshot(using)
    if state.is_bound is None:
        state.is_bound = _is_bound_by_default(connection)
    return state.is_bound is not False


def any_dirty() -> bool:
    """Tell whether this thread has written in a transaction that is not committed, on any alias."""
    return any(state.is_dirty() for state in list(transaction_states._states.values()))


def _is_replica(using: str, tables: tuple[str, ...]) -> bool:
    """Tell whether the alias is read only, by the router's word, the settings' or the server's.

    Without a router nobody says where writes go, and an alias that is named by hand may be a database of its own.
    """
    if connections[using].settings_dict.get("TEST", {}).get("MIRROR"):
        return True
    if getattr(settings, "DATABASE_ROUTERS", ()) and any(
        router.db_for_write(m) != using for t in tables for m in _models(t)
    ):
        return True
    return _in_hot_standby(connections[using].connection)


def _in_hot_standby(raw: Any) -> bool:
    """Ask what a PostgreSQL from 14 on tells its client unasked."""
    info: Any = getattr(raw, "info", None)  # psycopg 3, and psycopg2 from 2.8
    return hasattr(info, "parameter_status") and info.parameter_status("in_hot_standby") == "on"


@lru_cache(maxsize=1024)
def _models(table: str) -> tuple[type[models.Model], ...]:
    return tuple(m for m in apps.get_models(include_auto_created=True) if m._meta.db_table == table)


def _has_snapshot(using: str) -> bool:
    """Tell whether the connection is in a transaction that does not see what others commit."""
    connection = connections[using]
    if connection.connection is None or not statements.in_transaction(connection):
        return False
    contexts = transaction_states[using]
    if not contexts or not statements.has_begun(connection):
        return _keeps_snapshot(connection)
    if _KEPT not in contexts[0]:
        contexts[0][_KEPT] = _keeps_snapshot(connection)
    return bool(contexts[0][_KEPT])


def _keeps_snapshot(connection: Any) -> bool:
    """Ask the database itself, past Django: what its default is, a role's setting or SET TRANSACTION may have changed."""
    if connection.vendor == "postgresql":
        return _ask(connection, "SHOW transaction_isolation") not in _EACH_STATEMENT
    if connection.vendor == "sqlite":
        # Without a write-ahead log nobody can commit while a transaction reads.
        return _ask(connection, "PRAGMA journal_mode") == "wal"
    return True


def _is_bound_by_default(connection: Any) -> bool | None:
    key = tuple(
        str(connection.settings_dict.get(name))
        for name in ("HOST", "PORT", "NAME", "USER", "OPTIONS")
    )
    if key not in _bound_by_default:
        level = _ask(connection, "SHOW default_transaction_isolation")
        if not level:
            return None
        _bound_by_default[key] = level not in _EACH_STATEMENT
    return _bound_by_default[key]


def _ask(connection: Any, sql: str) -> str:
    try:
        ((value, *_), *_) = statements.read(connection, sql)
    except StatementError:
        return ""  # unknown, as in a transaction that has failed
    return str(value).lower()
