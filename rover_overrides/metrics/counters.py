"""What the cache does, in numbers: hits, misses, fills that were refused for want of a lease, and drops by table and shape.

A process counts for itself and now and then adds what it counted to a hash in Redis, for `manage.py cacheops_counters`, and sends
it as the signal `counted`. Counting costs an addition and a look at the clock.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress

from django.conf import settings
from django.dispatch import Signal
from redis.exceptions import RedisError

from rover_overrides.conditions import describe
from rover_overrides.conditions.conditions import Conj
from rover_overrides.core.switches import on
from rover_overrides.transport import pipeline

KEY = "cacheops:counters"

MOST = 500
"""Of how many things a process counts between two reports; what is more is counted as `other`."""

MOST_KEPT = 5000
"""How many things are kept in Redis; with more it starts anew, for clients make up shapes."""

counted = Signal()
"""Sent with `counts`, a dict of what this process counted since the last time, by name."""

_counts: Counter[str] = Counter()
_next: float | None = None


def count(name: str, number: int = 1) -> None:
    """Count something that happened."""
    if not on("explain-invalidation"):
        return
    _counts[name if name in _counts or len(_counts) < MOST else "other"] += number
    if _next is None:
        _wait()
    elif time.monotonic() >= _next:
        report()


def dropped(table: str, conjs: Iterable[Conj] | None) -> None:
    """Count the conditions of a table that a write has met, or that it met them all."""
    if conjs is None:
        count(f"drop {table}: all")
        return
    for entry, number in Counter(conj.entry for conj in conjs if conj.entry).items():
        count(f"drop {table}: {describe.shape(entry)}", number)


def report() -> None:
    """Add what was counted to what Redis has and tell who listens; where Redis is away nothing is lost but these numbers."""
    global _counts
    counts, _counts = _counts, Counter()
    _wait()
    if not counts:
        return
    counted.send(sender=None, counts=dict(counts))
    if pipeline.resting():  # whoever is being served has waited for Redis already
        return
    with suppress(RedisError):
        *_, size = pipeline.run(
            [*(("HINCRBY", KEY, name, number) for name, number in counts.items()), ("HLEN", KEY)]
        )
        if size.value > MOST_KEPT:
            pipeline.unlink([KEY])


def totals() -> dict[str, int]:
    """Return what all processes have reported, the most frequent first."""
    report()
    found = {
        name.decode(): int(number) for name, number in pipeline.client().hscan_iter(KEY, count=MOST)
    }
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def _wait() -> None:
    """Put the next report off; after a change of the setting, by the new time."""
    global _next  # noqa: PLW0603 - the clock of the process
    _next = time.monotonic() + getattr(settings, "CACHEOPS_ROVER_COUNTERS_SECONDS", 10)
