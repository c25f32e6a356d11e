"""Reads and writes of the cache, as `cacheops.query` asks for them: under CACHEOPS_INSIDEOUT ours, else upstream's."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from cacheops import getset
from cacheops.conf import settings

from rover_overrides import storage


def getting(key: str, cond_dnfs: Any, prefix: str, lock: bool = False) -> AbstractContextManager[Any]:
    """Give the data under a key or None; what is stored before the block ends is stored under its lease."""
    if settings.CACHEOPS_INSIDEOUT:
        return storage.getting(key, cond_dnfs, prefix, lock)
    upstreams: AbstractContextManager[Any] = getset.getting(key, cond_dnfs, prefix, lock=lock)
    return upstreams


def cache_thing(
    prefix: str,
    cache_key: str,
    data: Any,
    cond_dnfs: Any,
    timeout: int,
    dbs: Sequence[str] = (),
    precall_key: str = "",
    expected_checksum: str = "",
) -> Any:
    """Store a result with what it depends on."""
    if settings.CACHEOPS_INSIDEOUT:
        return storage.fill(prefix, cache_key, data, cond_dnfs, timeout, dbs, expected_checksum)
    return getset.cache_thing(prefix, cache_key, data, cond_dnfs, timeout, dbs, precall_key, expected_checksum)
