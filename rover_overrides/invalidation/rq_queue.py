"""Work that is handed over to RQ, for sites that run it: `CACHEOPS_ROVER_QUEUE` names the queue.

With it an invalidation is a job, and the request that wrote continues. Until a worker has run the
job, others may read outdated results. If the queue cannot be reached either, the invalidation runs
at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import redis
from cacheops.conf import settings as cacheops_settings
from django.conf import settings
from redis.exceptions import RedisError

from rover_overrides.invalidation.prefixed_tables import encode_table
from rover_overrides.invalidation.two_phase import Change, PrefixedTable
from rover_overrides.transport.circuit_breaker import CircuitBreaker

_circuit = CircuitBreaker()  # of the queue's Redis, which may be another one than the cache's

INTERVALS = [1, 2, 5, 10, 30, 60, 120, 300, 600]
"""Seconds before each retry of a failed job, by a worker that runs with its scheduler."""


def enqueue_invalidation(alias: str, changes: Sequence[Change]) -> bool:
    """Enqueue an invalidation; return whether a worker will run it."""
    # A change without a prefix has the previous wheel's format: its workers may run the job.
    encoded = [tuple(change if change.prefix is not None else change[:3]) for change in changes]
    return _enqueue(settings.CACHEOPS_ROVER_QUEUE, "invalidate", alias, encoded)


def enqueue_retry(using: str, tables: Iterable[PrefixedTable]) -> None:
    """Enqueue the invalidation of tables that could not be sent to Redis from here.

    This needs `CACHEOPS_ROVER_RETRY_QUEUE` to name a queue.
    """
    name: str = getattr(settings, "CACHEOPS_ROVER_RETRY_QUEUE", None) or ""
    if name:
        _enqueue(name, "retry", using, sorted(map(encode_table, tables)))


def _enqueue(name: str, job: str, *args: Any) -> bool:
    """Put a job of `rover_overrides.jobs` into a queue; return whether that succeeded."""
    # Only sites that use the queue have RQ installed.
    from rq import Retry

    if _circuit.is_open():
        return False
    retry = Retry(max=len(INTERVALS), interval=INTERVALS)
    try:
        queue(name).enqueue(f"rover_overrides.jobs.{job}", *args, retry=retry, result_ttl=0)
    except RedisError:
        _circuit.record_failure()
        return False
    _circuit.record_success()
    return True


def queue(name: str) -> Any:
    """Return a queue at `CACHEOPS_ROVER_QUEUE_REDIS`, by default on the cache's own Redis.

    RQ cannot run on a cluster.
    """
    from rq import Queue

    return Queue(name, connection=_connection())


@cache
def _connection() -> Any:
    url_or_options = (
        getattr(settings, "CACHEOPS_ROVER_QUEUE_REDIS", None) or cacheops_settings.CACHEOPS_REDIS
    )
    return (
        redis.Redis.from_url(url_or_options)
        if isinstance(url_or_options, str)
        else redis.Redis(**url_or_options)
    )
