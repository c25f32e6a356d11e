"""Pending writes: writers that are registered because they are about to commit.

Before its COMMIT a writer registers for each of its tables, then deletes the stamps. While any
writer is registered, no reader gets a lease on the table, so nothing that is read before the COMMIT
is stored under stamps created after the deletion. After the COMMIT the writer unregisters. A writer
that dies in between leaves nothing stale: its registration ends after
`CACHEOPS_ROVER_UNKNOWN_SECONDS`, and until then the table's results are read from the database. The
score of a registration is the time when it ends, by the writer's clock.

The registrations and the registries of a table share a cluster slot, so that a registration takes
effect before the registries are read.

The previous wheel scored registrations by their start, and removes all that are older than its own
60 seconds from a key. So its registrations have a key of their own, which writers also use and
readers also check while `CACHEOPS_ROVER_COMPAT` is on.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from rover_overrides.core.switches import raw_setting
from rover_overrides.transport import pipeline
from rover_overrides.transport.pipeline import Command, Reply

SECONDS = 60
"""How many seconds a registration of the previous wheel lives, and one of ours by default."""

_KEPT_SECONDS = 86_400
"""How many seconds the registrations of a table are kept after the last one.

This is longer than any registration lives, whichever process sets its lifetime.
"""

_SKEW_SECONDS = 600
"""How many seconds a registration is kept after its end.

The clock of its writer may be behind that of the process that removes it.
"""

PrefixedTables = Iterable[tuple[str, str]]
"""Tables, each with the prefix of its keys first."""

abandoned_writers: dict[str, tuple[float, tuple[tuple[str, str], ...]]] = {}
"""Writers that gave up while their commands may still arrive, by token.

Each has the time when its registrations have ended anyway, and its tables.
"""


def lifetime_seconds() -> float:
    """Return how many seconds the registration of a dead writer keeps its tables uncached."""
    return float(raw_setting("CACHEOPS_ROVER_UNKNOWN_SECONDS", SECONDS))


def key(prefix: str, table: str) -> str:
    """Return the key of a table's registrations, scored by their end."""
    return f"{prefix}writers:{{{prefix}{table}}}"


def previous_wheel_key(prefix: str, table: str) -> str:
    """Return the key of a table's registrations for the previous wheel, scored by their start."""
    return f"{prefix}pending:{{{prefix}{table}}}"


def register_commands(tables: PrefixedTables, token: str) -> list[Command]:
    """Return the commands that register a writer, or renew it, and remove expired registrations."""
    now, lives = time.time(), lifetime_seconds()
    kept = int(max(_KEPT_SECONDS, lives))
    began = now - SECONDS + min(SECONDS, lives)  # makes it end at the same time
    is_compatible = _is_compatible()
    commands: list[Command] = []
    for prefixed_table in tables:
        commands += _registration_commands(
            key(*prefixed_table), now - _SKEW_SECONDS, now + lives, token, kept
        )
        if is_compatible:
            commands += _registration_commands(
                previous_wheel_key(*prefixed_table), now - SECONDS, began, token, SECONDS
            )
    return commands


def was_unregistered(replies: Sequence[Reply]) -> bool:
    """Return whether a registration that `register_commands` renews did not exist before."""
    return any(reply.value for reply in replies[1::3])  # ZADD returns 1 for a new member


def unregister_commands(tables: PrefixedTables, token: str) -> list[Command]:
    """Return the commands that unregister a writer; each returns whether it was registered."""
    return [("ZREM", name, token) for prefixed_table in tables for name in _keys(*prefixed_table)]


def count_commands(prefix: str, table: str) -> list[Command]:
    """Return the commands that count the registered writers of a table."""
    now = time.time()
    after = dict(zip(_keys(prefix, table), (now, now - SECONDS)))
    return [("ZCOUNT", name, f"({moment}", "+inf") for name, moment in after.items()]


def may_have_ended(registered_at: float) -> bool:
    """Return whether a registration of that time may have ended, although it still exists.

    The clocks of readers may be ahead.
    """
    return time.monotonic() - registered_at >= lifetime_seconds() / 2


def mark_abandoned(tables: PrefixedTables, token: str) -> None:
    """Remember a writer whose registrations must be removed."""
    now = time.monotonic()
    for other in [name for name, (until, _) in list(abandoned_writers.items()) if until < now]:
        abandoned_writers.pop(other, None)
    abandoned_writers[token] = now + max(SECONDS, lifetime_seconds()), tuple(tables)


def unregister_abandoned() -> None:
    """Remove the registrations of writers that gave up.

    A server that hung may run their commands late, even after it has read the first command of
    another connection. So the removal is a round trip of its own, after one that was answered.
    """
    taken = dict(abandoned_writers)
    unregistering = [
        command
        for token, (_, tables) in taken.items()
        for command in unregister_commands(tables, token)
    ]
    pipeline.run([("ZSCORE", name, token) for _, name, token in unregistering])
    pipeline.run(unregistering)
    for token in taken:
        abandoned_writers.pop(token, None)


def _registration_commands(
    name: str, ended: float, score: float, token: str, kept: int
) -> list[Command]:
    return [
        ("ZREMRANGEBYSCORE", name, "-inf", ended),
        ("ZADD", name, score, token),
        ("EXPIRE", name, kept),
    ]


def _keys(prefix: str, table: str) -> list[str]:
    names = [key(prefix, table)]
    if _is_compatible():
        names.append(previous_wheel_key(prefix, table))
    return names


def _is_compatible() -> bool:
    return bool(raw_setting("CACHEOPS_ROVER_COMPAT", True))
