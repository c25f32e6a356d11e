"""Counters of hits, misses, refused fills, and drops by table and shape.

Each process counts for itself. Every `CACHEOPS_ROVER_COUNTERS_SECONDS` (10 by default) it adds its
counts to a hash in Redis, for `manage.py cacheops_counters`, and sends them as the signal
`counted`. Counting costs an addition and a read of the clock.
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
"""How many names a process counts between two reports; others are counted as `other`."""

MOST_KEPT = 5000
"""How many names are kept in Redis; with more it starts anew, as clients can make up shapes."""

counted = Signal()
"""Sent with `counts`, a dict of what this process counted since the last report, by name."""

_counts: Counter[str] = Counter()
_next: float | None = None


def count(name: str, number: int = 1) -> None:
    """Increment a counter."""
    if not on("explain-invalidation"):
        return
    _counts[name if name in _counts or len(_counts) < MOST else "other"] += number
    if _next is None:
        _wait()
    elif time.monotonic() >= _next:
        report()


def dropped(table: str, conjs: Iterable[Conj] | None) -> None:
    """Count the conditions of a table that a write meets; None counts as all of them."""
    if conjs is None:
        count(f"drop {table}: all")
        return
    for entry, number in Counter(conj.entry for conj in conjs if conj.entry).items():
        count(f"drop {table}: {describe.shape(entry)}", number)


def report() -> None:
    """Send this process's counts as a signal and add them to those in Redis.

    If Redis is away, only these counts are lost.
    """
    global _counts
    counts, _counts = _counts, Counter()
    _wait()
    if not counts:
        return
    counted.send(sender=None, counts=dict(counts))
    if pipeline.resting():  # the current request has already waited for Redis
        return
    with suppress(RedisError):
        *_, size = pipeline.run(
            [*(("HINCRBY", KEY, name, number) for name, number in counts.items()), ("HLEN", KEY)]
        )
        if size.value > MOST_KEPT:
            pipeline.unlink([KEY])


def totals() -> dict[str, int]:
    """Return the counts that all processes have reported, the highest first."""
    report()
    found = {
        name.decode(): int(number) for name, number in pipeline.client().hscan_iter(KEY, count=MOST)
    }
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def _wait() -> None:
    """Schedule the next report, by the current value of the setting."""
    global _next  # noqa: PLW0603 - the clock of the process
    _next = time.monotonic() + getattr(settings, "CACHEOPS_ROVER_COUNTERS_SECONDS", 10)
