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
from rover_overrides.database.bypass import opened
from rover_overrides.database.statements import StatementError
from rover_overrides.invalidation import two_phase
from rover_overrides.invalidation.two_phase import Announced, Place
from rover_overrides.transport import pipeline

STEP_SECONDS = 1.0
"""Seconds between two queries about a COMMIT, or two renewals of its registration."""

RETRY_SECONDS = 5.0
"""Seconds between two queries about a COMMIT that each need a new connection."""

CONNECT_SECONDS = 3
"""Connect timeout of such a connection, unless the application's settings have one."""

# Process ids are reused: a process of another role or database is a different one, and so is a
# process that started after the connection was lost.
_ASK = """
SELECT pg_backend_pid(), pg_is_in_recovery(), pid, state, \
extract(epoch FROM clock_timestamp() - backend_start)
FROM (SELECT 1) AS one
LEFT JOIN pg_stat_activity ON pid = %s AND usename = session_user AND datname = current_database()
"""
_IN_PROGRESS = frozenset(
    {"active", "idle in transaction", "idle in transaction (aborted)", "fastpath function call"}
)


class _Fate(Enum):
    UNASKED = "nobody was asked just now"
    IN_PROGRESS = "in progress"
    ENDED = "ended"
    UNKNOWABLE = "nobody can say"


@dataclass(eq=False)
class Commit:
    """A COMMIT with an unknown outcome."""

    alias: str
    backend: int
    """The id of the process that worked on it, or 0 if it cannot be queried."""
    places: tuple[tuple[str, str], ...]
    token: str
    lost: float
    has_ended: bool = False
    next_question: float = 0.0
    next_refresh: float = 0.0


open_commits: dict[str, Commit] = {}
"""The unknown COMMITs of this process, by the tokens of their writers."""


def backend_of(connection: Any) -> int:
    """Return the id of a connection's server process, from its driver; 0 if there is none."""
    info = (
        getattr(connection.connection, "info", None) if connection.vendor == "postgresql" else None
    )
    return int(getattr(info, "backend_pid", None) or 0)


def note(using: str, backend: int, places: Collection[Place], announced: Announced | None) -> None:
    """Keep results of tables out of the cache until the outcome of a COMMIT is known.

    Raise a RedisError if Redis does not receive that.
    """
    found = tuple(two_phase.resolved(using, places))
    token = os.urandom(16).hex() if announced is None else announced.token
    commit = open_commits[token] = Commit(using, backend, found, token, time.monotonic())
    two_phase.check_circuit()
    _refresh(commit)


def settle() -> None:
    """Find out how open COMMITs ended.

    Finish those that have ended, and stay registered for the others.
    """
    for commit in list(open_commits.values()):
        commit.has_ended = commit.has_ended or _has_ended(commit)
        if commit.has_ended:
            _end(commit)
        elif time.monotonic() >= commit.next_refresh:
            _refresh(commit)


def _end(commit: Commit) -> None:
    """Invalidate as after a COMMIT, and unregister."""
    dropped = [key for place in commit.places for key in two_phase.everything(*place)]
    pipeline.unlink(dropped, then=pending_writes.leave(commit.places, commit.token))
    open_commits.pop(commit.token, None)


def _refresh(commit: Commit) -> None:
    """Renew the registrations of a COMMIT.

    If one was missing, results may have been stored meanwhile, so the tables are invalidated.
    """
    if pending_writes.was_missing(pipeline.run(pending_writes.enter(commit.places, commit.token))):
        pipeline.unlink([key for place in commit.places for key in two_phase.everything(*place)])
    commit.next_refresh = time.monotonic() + STEP_SECONDS


def _has_ended(commit: Commit) -> bool:
    fate = _ask(commit) if commit.backend else _Fate.UNKNOWABLE
    is_over = time.monotonic() - commit.lost >= pending_writes.seconds()
    return fate is _Fate.ENDED or (fate is _Fate.UNKNOWABLE and is_over)


def _ask(commit: Commit) -> _Fate:
    """Query the database, on the alias's own connection if the application has nothing open on it.

    Otherwise use a new connection, but only if no transaction is open that would wait for it.
    """
    now = time.monotonic()
    if now < commit.next_question:
        return _Fate.UNASKED
    connection = connections[commit.alias]
    try:
        if statements.is_idle(connection):
            commit.next_question = now + STEP_SECONDS
            return _asked(connection, commit)
        if any(_is_in_use(opened(alias)) for alias in connections):
            return _Fate.UNASKED
        commit.next_question = now + RETRY_SECONDS
        other = _another(connection)
        try:
            return _asked(other, commit)
        finally:
            other.close()
    except SynchronousOnlyOperation:  # in an event loop, where no statement may block
        return _Fate.UNASKED


def _asked(connection: Any, commit: Commit) -> _Fate:
    try:
        [(own, is_replica, pid, state, age)] = statements.read(connection, _ASK, [commit.backend])
    except StatementError:
        return _Fate.UNKNOWABLE if statements.is_usable(connection) else _Fate.UNASKED
    if own != backend_of(connection):  # the process id is a pooler's
        commit.backend = 0
        return _Fate.UNKNOWABLE
    if is_replica:  # until it is promoted, it may lack what the lost server committed
        return _Fate.UNASKED
    if pid is None or (age is not None and float(age) < time.monotonic() - commit.lost):
        return _Fate.ENDED
    return _Fate.IN_PROGRESS if state in _IN_PROGRESS else _Fate.UNKNOWABLE


def _another(connection: Any) -> Any:
    """Return a new connection to the same database, outside the pool of the application."""
    other = connection.copy()
    options = other.settings_dict["OPTIONS"]
    options.pop("pool", None)
    options.setdefault("connect_timeout", CONNECT_SECONDS)
    return other


def _is_in_use(connection: Any) -> bool:
    return connection is not None and (connection.in_atomic_block or statements.is_open(connection))
