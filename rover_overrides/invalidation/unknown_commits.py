"""COMMITs of which nobody knows how they ended: the connection was lost while the database worked on them.

Such a COMMIT may become visible at any time, or never. So the writer stays entered for its tables (see `pending`), which are read
from the database, until the transaction is known to have ended. PostgreSQL is asked about the process that worked for the lost
connection, on another connection: if it is gone the transaction has ended, and in a transaction it has not. If it is idle
nobody can say, for the COMMIT may still be on its way to it; nor can anybody about other databases, or behind a pooler, which
gives its clients process ids of its own. Then the changes count as committed after `CACHEOPS_ROVER_UNKNOWN_SECONDS`.

All this happens when the process asks Redis for something, without threads.
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
"""From one question about a COMMIT, or one refresh of its entries, to the next."""

RETRY_SECONDS = 5.0
"""From a question that the database did not answer to the next."""

CONNECT_SECONDS = 3
"""How long a connection that is made for a question may take, where the application's settings do not say."""

# A process id is used again: that of another role or database is another process, and so is one that has begun since the loss.
_ASK = """
SELECT pg_backend_pid(), pg_is_in_recovery(), pid, state, extract(epoch FROM clock_timestamp() - backend_start)
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
    """A COMMIT of which it is not known how it ended."""

    alias: str
    backend: int
    """The id of the process that worked on it, 0 if nobody can be asked about it."""
    places: tuple[tuple[str, str], ...]
    token: str
    lost: float
    has_ended: bool = False
    next_question: float = 0.0
    next_refresh: float = 0.0


open_commits: dict[str, Commit] = {}
"""Those of this process, by the names of their writers."""


def backend_of(connection: Any) -> int:
    """Return the id of the process that works for a connection, which its driver knows; 0 where there is none."""
    info = (
        getattr(connection.connection, "info", None) if connection.vendor == "postgresql" else None
    )
    return int(getattr(info, "backend_pid", None) or 0)


def note(using: str, backend: int, places: Collection[Place], announced: Announced | None) -> None:
    """Keep results of tables out of the cache until it is known how a COMMIT ended; raises where Redis does not hear that."""
    found = tuple(two_phase.resolved(using, places))
    token = os.urandom(16).hex() if announced is None else announced.token
    commit = open_commits[token] = Commit(using, backend, found, token, time.monotonic())
    two_phase.check_circuit()
    _refresh(commit)


def settle() -> None:
    """Find out how open COMMITs ended; end what has, and stay entered for the others."""
    for commit in list(open_commits.values()):
        commit.has_ended = commit.has_ended or _has_ended(commit)
        if commit.has_ended:
            _end(commit)
        elif time.monotonic() >= commit.next_refresh:
            _refresh(commit)


def _end(commit: Commit) -> None:
    """Invalidate as after a COMMIT, and leave."""
    dropped = [key for place in commit.places for key in two_phase.everything(*place)]
    pipeline.unlink(dropped, then=pending_writes.leave(commit.places, commit.token))
    open_commits.pop(commit.token, None)


def _refresh(commit: Commit) -> None:
    """Stay entered; where an entry had gone, results may have been stored meanwhile."""
    if pending_writes.was_missing(pipeline.run(pending_writes.enter(commit.places, commit.token))):
        pipeline.unlink([key for place in commit.places for key in two_phase.everything(*place)])
    commit.next_refresh = time.monotonic() + STEP_SECONDS


def _has_ended(commit: Commit) -> bool:
    fate = _ask(commit) if commit.backend else _Fate.UNKNOWABLE
    is_over = time.monotonic() - commit.lost >= pending_writes.seconds()
    return fate is _Fate.ENDED or (fate is _Fate.UNKNOWABLE and is_over)


def _ask(commit: Commit) -> _Fate:
    """Ask the database, on a connection on which the application has nothing open; a new one waits for no transaction."""
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
    except SynchronousOnlyOperation:  # in an event loop, where no statement may wait
        return _Fate.UNASKED


def _asked(connection: Any, commit: Commit) -> _Fate:
    try:
        [(own, is_replica, pid, state, age)] = statements.read(connection, _ASK, [commit.backend])
    except StatementError:
        return _Fate.UNKNOWABLE if statements.is_usable(connection) else _Fate.UNASKED
    if own != backend_of(connection):  # the id is a pooler's
        commit.backend = 0
        return _Fate.UNKNOWABLE
    if is_replica:  # until it is promoted it may lack what the lost server has committed
        return _Fate.UNASKED
    if pid is None or (age is not None and float(age) < time.monotonic() - commit.lost):
        return _Fate.ENDED
    return _Fate.IN_PROGRESS if state in _IN_PROGRESS else _Fate.UNKNOWABLE


def _another(connection: Any) -> Any:
    """Return a connection to the same database that is not the application's, nor from its pool."""
    other = connection.copy()
    options = other.settings_dict["OPTIONS"]
    options.pop("pool", None)
    options.setdefault("connect_timeout", CONNECT_SECONDS)
    return other


def _is_in_use(connection: Any) -> bool:
    return connection is not None and (connection.in_atomic_block or statements.is_open(connection))
