"""Work that is handed over to RQ, by those who run it: `CACHEOPS_ROVER_QUEUE` names the queue.

With it an invalidation is a job, and the request that wrote goes on; until a worker has run the job others may read what was
true before. Where the queue is not there either, the invalidation runs at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import redis
from cacheops.conf import settings as cacheops_settings
from django.conf import settings
from redis.exceptions import RedisError

from rover_overrides.drops import Change

INTERVALS = [1, 2, 5, 10, 30, 60, 120, 300, 600]
"""After how many seconds a job that failed is tried again (by a worker that runs with its scheduler)."""


def hand_over(alias: str, changes: Sequence[Change]) -> bool:
    """Have a worker invalidate; tell whether it will."""
    return _enqueue(settings.CACHEOPS_ROVER_QUEUE, "invalidate", alias, [tuple(change) for change in changes])


def retry_later(tables: Sequence[tuple[str, str]]) -> None:
    """Have a worker invalidate tables that Redis did not hear of from here, if `CACHEOPS_ROVER_RETRY_QUEUE` names a queue."""
    name: str = getattr(settings, "CACHEOPS_ROVER_RETRY_QUEUE", None) or ""
    for using in sorted({using for using, _ in tables}) if name else ():
        _enqueue(name, "retry", using, sorted(table for other, table in tables if other == using))


def _enqueue(name: str, job: str, *args: Any) -> bool:
    """Put a job of `rover_overrides.jobs` into a queue; tell whether it is in."""
    from rq import Retry

    with suppress(RedisError):
        queue(name).enqueue(
            f"rover_overrides.jobs.{job}", *args, retry=Retry(max=len(INTERVALS), interval=INTERVALS), result_ttl=0
        )
        return True
    return False


def queue(name: str) -> Any:
    """Return a queue, at `CACHEOPS_ROVER_QUEUE_REDIS`, else where the cache is; RQ cannot be on a cluster."""
    from rq import Queue

    return Queue(name, connection=_connection())


@cache
def _connection() -> Any:
    place = getattr(settings, "CACHEOPS_ROVER_QUEUE_REDIS", None) or cacheops_settings.CACHEOPS_REDIS
    return redis.Redis.from_url(place) if isinstance(place, str) else redis.Redis(**place)
