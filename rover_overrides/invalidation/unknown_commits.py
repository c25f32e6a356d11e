"""COMMITs with an unknown outcome: the connection was lost while the database processed them.

Such a COMMIT may become visible at any time, or never. So the writer stays registered for its
tables (see `pending_writes`), which are read from the database, until the transaction is known to
have ended. PostgreSQL is queried, on another connection, about the process that served the lost
one. If that process is gone, the transaction has ended; if it is in a transaction, it has not. If
it is idle, the outcome is unknown, because the COMMIT may still be on its way. The outcome is also
unknown on other databases, and behind a pooler that gives its clients process ids of its own. Then
the changes count as committed after `CACHEOPS_ROVER_UNKNOWN_SECONDS`.

All this happens when the process next queries Redis, without threads.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections

from rover_overrides.cache import pending_writes
from rover_overrides.database import statements
from rover_overrides.database.bypass import existing_connection
from rover_overrides.database.statements import StatementError
from rover_overrides.invalidation import two_phase
from rover_overrides.invalidation.two_phase import PrefixedTable, Prepared
from rover_overrides.transport import pipeline

STEP_SECONDS = 1.0
"""Seconds between two queries about a COMMIT, or two renewals of its registration."""

RETRY_SECONDS = 5.0
"""Seconds between two queries about a COMMIT that each need a new connection."""

CONNECT_SECONDS = 3
"""Connect timeout of such a connection, unless the application's settings have one."""

# Process ids are reused: a process of another role or database is a different one, and so is a
# process that started after the connection was lost.
_OUTCOME_SQL = """
SELECT pg_backend_pid(), pg_is_in_recovery(), pid, state, \
extract(epoch FROM clock_timestamp() - backend_start)
FROM (SELECT 1) AS one
LEFT JOIN pg_stat_activity ON pid = %s AND usename = session_user AND datname = current_database()
"""
_IN_PROGRESS = frozenset(
    {"active", "idle in transaction", "idle in transaction (aborted)", "fastpath function call"}
)


class _Outcome(Enum):
    NOT_QUERIED = "not queried"
    IN_PROGRESS = "in progress"
    ENDED = "ended"
    UNKNOWN = "unknown"


@dataclass(eq=False)
class UnknownCommit:
    """A COMMIT with an unknown outcome."""

    alias: str
    backend: int
    """The id of the process that worked on it, or 0 if it cannot be queried."""
    tables: tuple[tuple[str, str], ...]
    token: str
    lost: float
    has_ended: bool = False
    next_query: float = 0.0
    next_refresh: float = 0.0


open_commits: dict[str, UnknownCommit] = {}
"""The unknown COMMITs of this process, by the tokens of their writers."""


def backend_pid(connection: Any) -> int:
    """Return the id of a connection's server process, from its driver; 0 if there is none."""
    info = (
        getattr(connection.connection, "info", None) if connection.vendor == "postgresql" else None
    )
    return int(getattr(info, "backend_pid", None) or 0)


def remember(
    using: str, backend: int, tables: Collection[PrefixedTable], prepared: Prepared | None
) -> None:
    """Keep results of tables out of the cache until the outcome of a COMMIT is known.

    Raise a RedisError if Redis does not receive that.
    """
    found = tuple(two_phase.with_prefixes(using, tables))
    token = os.urandom(16).hex() if prepared is None else prepared.token
    commit = open_commits[token] = UnknownCommit(using, backend, found, token, time.monotonic())
    two_phase.check_circuit()
    _refresh(commit)


def resolve() -> None:
    """Find out how open COMMITs ended.

    Finish those that have ended, and stay registered for the others.
    """
    for commit in list(open_commits.values()):
        commit.has_ended = commit.has_ended or _has_ended(commit)
        if commit.has_ended:
            _end(commit)
        elif time.monotonic() >= commit.next_refresh:
            _refresh(commit)


def _end(commit: UnknownCommit) -> None:
    """Invalidate as after a COMMIT, and unregister."""
    outdated_keys = [
        key
        for prefixed_table in commit.tables
        for key in two_phase.whole_table_keys(*prefixed_table)
    ]
    pipeline.unlink(
        outdated_keys, then=pending_writes.unregister_commands(commit.tables, commit.token)
    )
    open_commits.pop(commit.token, None)


def _refresh(commit: UnknownCommit) -> None:
    """Renew the registrations of a COMMIT.

    If one was missing, results may have been stored meanwhile, so the tables are invalidated.
    """
    if pending_writes.was_unregistered(
        pipeline.run(pending_writes.register_commands(commit.tables, commit.token))
    ):
        pipeline.unlink(
            [
                key
                for prefixed_table in commit.tables
                for key in two_phase.whole_table_keys(*prefixed_table)
            ]
        )
    commit.next_refresh = time.monotonic() + STEP_SECONDS


def _has_ended(commit: UnknownCommit) -> bool:
    outcome = _query_outcome(commit) if commit.backend else _Outcome.UNKNOWN
    is_over = time.monotonic() - commit.lost >= pending_writes.lifetime_seconds()
    return outcome is _Outcome.ENDED or (outcome is _Outcome.UNKNOWN and is_over)


def _query_outcome(commit: UnknownCommit) -> _Outcome:
    """Query the database, on the alias's own connection if the application has nothing open on it.

    Otherwise use a new connection, but only if no transaction is open that would wait for it.
    """
    now = time.monotonic()
    if now < commit.next_query:
        return _Outcome.NOT_QUERIED
    connection = connections[commit.alias]
    try:
        if statements.is_idle(connection):
            commit.next_query = now + STEP_SECONDS
            return _outcome_on(connection, commit)
        if any(_is_in_use(existing_connection(alias)) for alias in connections):
            return _Outcome.NOT_QUERIED
        commit.next_query = now + RETRY_SECONDS
        other = _new_connection(connection)
        try:
            return _outcome_on(other, commit)
        finally:
            other.close()
    except SynchronousOnlyOperation:  # in an event loop, where no statement may block
        return _Outcome.NOT_QUERIED


def _outcome_on(connection: Any, commit: UnknownCommit) -> _Outcome:
    try:
        [(own, is_replica, pid, state, age)] = statements.read(
            connection, _OUTCOME_SQL, [commit.backend]
        )
    except StatementError:
        return _Outcome.UNKNOWN if statements.is_usable(connection) else _Outcome.NOT_QUERIED
    if own != backend_pid(connection):  # the process id is a pooler's
        commit.backend = 0
        return _Outcome.UNKNOWN
    if is_replica:  # until it is promoted, it may lack what the lost server committed
        return _Outcome.NOT_QUERIED
    if pid is None or (age is not None and float(age) < time.monotonic() - commit.lost):
        return _Outcome.ENDED
    return _Outcome.IN_PROGRESS if state in _IN_PROGRESS else _Outcome.UNKNOWN


def _new_connection(connection: Any) -> Any:
    """Return a new connection to the same database, outside the pool of the application."""
    other = connection.copy()
    options = other.settings_dict["OPTIONS"]
    options.pop("pool", None)
    options.setdefault("connect_timeout", CONNECT_SECONDS)
    return other


def _is_in_use(connection: Any) -> bool:
    return connection is not None and (
        connection.in_atomic_block or statements.has_open_transaction(connection)
    )
