"""Follows the master that the Sentinels name, even while the old one serves open connections.

redis-py queries the Sentinels only when it opens a connection. After a failover the old master
serves its open connections for some seconds, until a Sentinel makes it a replica. Readers would
read there what others have deleted on the new master, and writers would delete there what others
read on the new one. So writers query the Sentinels before each deletion, and readers once a second.
"""

from __future__ import annotations

import time
from typing import Any
from weakref import WeakKeyDictionary

CHECK_SECONDS = 1.0  # between two checks of a reader

_next_checks: WeakKeyDictionary[Any, float] = WeakKeyDictionary()


def follow_master(pool: Any, *, at_once: bool = False) -> None:
    """Close a pool's connections to a server that is no longer the master.

    Raise redis.ConnectionError or redis.TimeoutError if no Sentinel answers, because the next
    connection would wait for them again.
    """
    get_master_address = getattr(pool, "get_master_address", None)
    # There are no Sentinels, or it is a pool of replicas.
    if get_master_address is None or not getattr(pool, "is_master", True):
        return
    now = time.monotonic()
    if at_once or now >= _next_checks.get(pool, 0.0):
        get_master_address()  # disconnects the pool if the master's address has changed
        _next_checks[pool] = now + CHECK_SECONDS
