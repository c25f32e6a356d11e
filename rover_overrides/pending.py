"""Writes that are about to commit.

Before its COMMIT a write enters itself for each of its tables, then drops the stamps. While anyone is entered, no lease is given
on the table, so nothing that is read before the COMMIT is stored under stamps made after the drop. After the COMMIT the
write leaves. One that dies in between leaves nothing stale: its entry ends by itself, and until then the table's results are
read from the database.

The entry and the registries of a table share a slot of a cluster, so that the one is seen before the other is read.
"""

from __future__ import annotations

import time

from rover_overrides.transport import Command

SECONDS = 60
"""How long the entry of a write that died keeps results of its tables out of the cache."""


def key(prefix: str, table: str) -> str:
    """Return the key of the sorted set of writes, by when they entered."""
    return f"{prefix}pending:{{{prefix}{table}}}"


def enter(prefix: str, table: str, token: str) -> list[Command]:
    """Return the commands by which a write enters itself, and those that died leave."""
    now, name = time.time(), key(prefix, table)
    return [("ZREMRANGEBYSCORE", name, "-inf", now - SECONDS), ("ZADD", name, now, token), ("EXPIRE", name, SECONDS)]


def leave(prefix: str, table: str, token: str) -> Command:
    """Return the command by which a write leaves."""
    return ("ZREM", key(prefix, table), token)


def ask(prefix: str, table: str) -> Command:
    """Return the command that counts the writes that are entered."""
    return ("ZCARD", key(prefix, table))
