"""Writes that are about to commit.

Before its COMMIT a write enters itself for each of its tables, then drops the stamps. While anyone is entered, no lease is given
on the table, so nothing that is read before the COMMIT is stored under stamps made after the drop. After the COMMIT the
write leaves. One that dies in between leaves nothing stale: its entry ends by itself after `CACHEOPS_ROVER_UNKNOWN_SECONDS`, and
until then the table's results are read from the database. Entries are scored by when they end, by the writer's clock.

The entries and the registries of a table share a slot of a cluster, so that the one is seen before the other is read.

The wheel before scored its entries by when they began, and removes what is older than its own 60 seconds, with all entries that a
key holds. So those have a key of their own, which a writer uses too, and a reader looks at, while `CACHEOPS_ROVER_COMPAT` is on.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from django.conf import settings

from rover_overrides.transport import pipeline
from rover_overrides.transport.pipeline import Command, Reply

SECONDS = 60
"""How long an entry of the wheel before lives, and by default one of ours."""

_KEPT_SECONDS = 86_400
"""How long the entries of a table are kept after the last one: longer than any lives, whichever process says how long."""

_SKEW_SECONDS = 600
"""How long an entry that has ended is kept: its writer's clock may be behind that of the one who removes it."""

Places = Iterable[tuple[str, str]]
"""Tables with the prefixes of their keys."""

given_up: dict[str, tuple[float, tuple[tuple[str, str], ...]]] = {}
"""Writers that gave up while their commands may still be on the way: when their entries have ended anyway, and their places."""


def seconds() -> float:
    """Return how long the entry of a write that died keeps results of its tables out of the cache."""
    return float(getattr(settings, "CACHEOPS_ROVER_UNKNOWN_SECONDS", SECONDS))


def key(prefix: str, table: str) -> str:
    """Return the key of the entries, by when they end."""
    return f"{prefix}writers:{{{prefix}{table}}}"


def old_key(prefix: str, table: str) -> str:
    """Return the key of the entries as the wheel before has them, by when they began."""
    return f"{prefix}pending:{{{prefix}{table}}}"


def enter(places: Places, token: str) -> list[Command]:
    """Return the commands by which a write enters itself, or stays entered, and those that died leave."""
    now, lives = time.time(), seconds()
    kept = int(max(_KEPT_SECONDS, lives))
    began = now - SECONDS + min(SECONDS, lives)  # so that it ends when it should
    commands: list[Command] = []
    for place in places:
        commands += _entering(key(*place), now - _SKEW_SECONDS, now + lives, token, kept)
        if _is_compatible():
            commands += _entering(old_key(*place), now - SECONDS, began, token, SECONDS)
    return commands


def was_missing(replies: Sequence[Reply]) -> bool:
    """Return whether one of the entries that `enter` made was not there before."""
    return any(reply.value for reply in replies[1::3])


def leave(places: Places, token: str) -> list[Command]:
    """Return the commands by which a write leaves; each says whether the entry was there."""
    return [("ZREM", name, token) for place in places for name in _keys(*place)]


def ask(prefix: str, table: str) -> list[Command]:
    """Return the commands that count the writes that are entered."""
    now = time.time()
    after = dict(zip(_keys(prefix, table), (now, now - SECONDS)))
    return [("ZCOUNT", name, f"({moment}", "+inf") for name, moment in after.items()]


def may_have_ended(entered: float) -> bool:
    """Return whether an entry that was made then may have ended, though it is kept; the clocks of readers may be ahead."""
    return time.monotonic() - entered >= seconds() / 2


def give_up(places: Places, token: str) -> None:
    """Remember a writer whose entry is to be taken back."""
    now = time.monotonic()
    for other in [name for name, (until, _) in list(given_up.items()) if until < now]:
        given_up.pop(other, None)
    given_up[token] = now + max(SECONDS, seconds()), tuple(places)


def take_back() -> None:
    """Remove the entries of writers that gave up.

    Their commands may be carried out late: by a server that hung, after it has read the first command of another connection. So
    the removal has a round trip of its own, after one that was answered.
    """
    taken = dict(given_up)
    leaving = [command for token, (_, places) in taken.items() for command in leave(places, token)]
    pipeline.run([("ZSCORE", name, token) for _, name, token in leaving])
    pipeline.run(leaving)
    for token in taken:
        given_up.pop(token, None)


def _entering(name: str, ended: float, score: float, token: str, kept: int) -> list[Command]:
    return [
        ("ZREMRANGEBYSCORE", name, "-inf", ended),
        ("ZADD", name, score, token),
        ("EXPIRE", name, kept),
    ]


def _keys(prefix: str, table: str) -> list[str]:
    names = [key(prefix, table)]
    if _is_compatible():
        names.append(old_key(prefix, table))
    return names


def _is_compatible() -> bool:
    return bool(getattr(settings, "CACHEOPS_ROVER_COMPAT", True))
