"""The reads and writes that `cacheops.query` calls: ours under INSIDEOUT, else upstream's."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from cacheops import getset
from cacheops.conf import settings

from rover_overrides.cache import nested_reads, results, row_values
from rover_overrides.cache.serialization import UnreadableError, loads
from rover_overrides.transport import pipeline

# Attempts at an unreadable result: another process may store a new one after the deletion.
_ATTEMPTS = 2

CachedValue = tuple[Any]
"""A cached value in a tuple, because None is a value too."""


def getting(
    key: str, cond_dnfs: Any, prefix: str, lock: bool = False
) -> AbstractContextManager[CachedValue | None]:
    """Return a context manager that yields the cached value of a key in a tuple, or None on a miss.

    On a miss it takes a lease; a result that is stored before the block ends is stored under it.
    """
    if nested_reads.active_reads.get():
        nested_reads.note_cached_read(cond_dnfs)
    return (_LeasedGetting if settings.CACHEOPS_INSIDEOUT else _UpstreamGetting)(
        key, cond_dnfs, prefix, lock
    )


class _LeasedGetting(results.getting):
    """Yields a value; one that cannot be read is deleted and becomes a miss with lease and lock."""

    __slots__ = ()

    def __enter__(self) -> CachedValue | None:
        for _ in range(_ATTEMPTS):
            data = results.getting.__enter__(self)
            if data is None:
                return None
            try:
                found = loads(data)
                # Under the key of a queryset, a tuple can only be what `row_values` made of rows.
                is_packed = type(found) is tuple and self._key.startswith(f"{self._prefix}q:")
                return (row_values.unpack(found) if is_packed else found,)
            except UnreadableError:
                self.__exit__()
                with results.degrading():
                    pipeline.unlink([self._key])
        return None  # no lease is left, so nothing is stored


class _UpstreamGetting:
    """The same with upstream's own storage, which has no leases.

    The next stored result replaces one that cannot be read.
    """

    def __init__(self, *arguments: Any) -> None:
        self._reading = getset.getting(*arguments)

    def __enter__(self) -> CachedValue | None:
        data = self._reading.__enter__()
        try:
            return None if data is None else (loads(data),)
        except UnreadableError:
            return None

    def __exit__(self, *raised: object) -> Any:
        return self._reading.__exit__(*raised)


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
    """Store a result with its dependencies."""
    if settings.CACHEOPS_INSIDEOUT:
        return results.fill(prefix, cache_key, data, cond_dnfs, timeout, dbs, expected_checksum)
    return getset.cache_thing(
        prefix, cache_key, data, cond_dnfs, timeout, dbs, precall_key, expected_checksum
    )
