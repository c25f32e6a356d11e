"""Follows the master that a Sentinel names, also while the old one still serves who is connected to it.

redis-py asks the Sentinels where a connection is made, and no more. After a failover the old master answers those that it has for
some seconds, until a Sentinel makes it a replica: they would read there what others have dropped on the new one, and drop
there what others read on it. So writers ask before each drop, and readers once a second.
"""

from __future__ import annotations

import time
from typing import Any
from weakref import WeakKeyDictionary

SECONDS = 1.0  # from one look of a reader to the next

_next: WeakKeyDictionary[Any, float] = WeakKeyDictionary()


def follow(pool: Any, *, at_once: bool = False) -> None:
    """Have a pool close its connections to a server that is the master no more.

    Raises redis.ConnectionError or redis.TimeoutError where no Sentinel answers: the next connection would wait for them again.
    """
    ask = getattr(pool, "get_master_address", None)
    if ask is None or not getattr(pool, "is_master", True):
        return
    now = time.monotonic()
    if at_once or now >= _next.get(pool, 0.0):
        ask()
        _next[pool] = now + SECONDS
