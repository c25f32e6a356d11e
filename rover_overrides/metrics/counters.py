"""Counters of hits, misses, refused fills, and invalidations by table and comparison.

Each process counts for itself. Every `CACHEOPS_ROVER_COUNTERS_SECONDS` (10 by default) it adds its
counts to a hash in Redis, for `manage.py cacheops_counters`, and sends them as the signal
`counted`. Counting costs an addition and a read of the clock.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress

from django.conf import settings
from django.dispatch import Signal
from redis.exceptions import RedisError

from rover_overrides.conditions import describe
from rover_overrides.conditions.conditions import Conj, parse_template
from rover_overrides.core.switches import is_enabled
from rover_overrides.transport import pipeline

KEY = "cacheops:counters"

MAX_NAMES = 500
"""How many names a process counts between two reports; others are counted as `other`."""

MAX_STORED_NAMES = 5000
"""How many names are kept in Redis; with more it starts anew. Clients can make up comparisons."""

counted = Signal()
"""Sent with `counts`, a dict of what this process counted since the last report, by name."""

_counts: Counter[str] = Counter()
_next_report: float | None = None


def count(name: str, number: int = 1) -> None:
    """Increment a counter."""
    if is_enabled("explain-invalidation"):
        _count({name: number})


def count_invalidated(table: str, conjs: Iterable[Conj] | None) -> None:
    """Count the conditions of a table that a write meets; None counts as all of them."""
    if not is_enabled("explain-invalidation"):
        return
    if conjs is None:
        _count({f"drop {table}: all": 1})
        return
    numbers: dict[str, int] = {}
    for conj in conjs:
        if conj.template:
            known = parse_template(conj.template).comparisons
            name = f"drop {table}: {known or describe.comparisons(conj.template)}"
            numbers[name] = numbers.get(name, 0) + 1
    _count(numbers)


def _count(numbers: Mapping[str, int]) -> None:
    for name, number in numbers.items():
        _counts[name if name in _counts or len(_counts) < MAX_NAMES else "other"] += number
    if _next_report is None:
        _schedule_report()
    elif time.monotonic() >= _next_report:
        report()


def report() -> None:
    """Send this process's counts as a signal and add them to those in Redis.

    If Redis is away, only these counts are lost.
    """
    global _counts
    counts, _counts = _counts, Counter()
    _schedule_report()
    if not counts:
        return
    counted.send(sender=None, counts=dict(counts))
    if pipeline.circuit_is_open():  # the current request has already waited for Redis
        return
    with suppress(RedisError):
        *_, size = pipeline.run(
            [*(("HINCRBY", KEY, name, number) for name, number in counts.items()), ("HLEN", KEY)]
        )
        if size.value > MAX_STORED_NAMES:
            pipeline.unlink([KEY])


def totals() -> dict[str, int]:
    """Return the counts that all processes have reported, the highest first."""
    report()
    found = {
        name.decode(): int(number)
        for name, number in pipeline.client().hscan_iter(KEY, count=MAX_NAMES)
    }
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def _schedule_report() -> None:
    """Schedule the next report, by the current value of the setting."""
    global _next_report  # noqa: PLW0603 - the clock of the process
    _next_report = time.monotonic() + getattr(settings, "CACHEOPS_ROVER_COUNTERS_SECONDS", 10)
