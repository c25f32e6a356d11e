"""Reads and writes of the cache, as `cacheops.query` asks for them: under CACHEOPS_INSIDEOUT ours, else upstream's."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from cacheops import getset
from cacheops.conf import settings

from rover_overrides.cache import nested_reads, results
from rover_overrides.cache.serialization import UnreadableError, loads
from rover_overrides.transport import pipeline

_ATTEMPTS = 2  # at a result that cannot be read: another process may store one after it was deleted

Found = tuple[Any]
"""What was found, as a tuple, for None is a value too."""


def getting(
    key: str, cond_dnfs: Any, prefix: str, lock: bool = False
) -> AbstractContextManager[Found | None]:
    """Give what is stored under a key, or None; what is stored before the block ends is stored under its lease."""
    if nested_reads.watched.get():
        nested_reads.note(cond_dnfs)
    return (_Ours if settings.CACHEOPS_INSIDEOUT else _Upstreams)(key, cond_dnfs, prefix, lock)


class _Ours(results.getting):
    """Gives a value; what cannot be read is deleted and then a miss as any other, with its lease and its lock."""

    __slots__ = ()

    def __enter__(self) -> Found | None:
        for _ in range(_ATTEMPTS):
            data = results.getting.__enter__(self)
            if data is None:
                return None
            try:
                return (loads(data),)
            except UnreadableError:
                self.__exit__()
                with results.degrading():
                    pipeline.unlink([self._key])
        return None  # without a lease, so nothing is stored


class _Upstreams:
    """The same of upstream's own storage, which has no leases: what is stored next takes the place of what cannot be read."""

    def __init__(self, *arguments: Any) -> None:
        self._reading = getset.getting(*arguments)

    def __enter__(self) -> Found | None:
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
    """Store a result with what it depends on."""
    if settings.CACHEOPS_INSIDEOUT:
        return results.fill(prefix, cache_key, data, cond_dnfs, timeout, dbs, expected_checksum)
    return getset.cache_thing(
        prefix, cache_key, data, cond_dnfs, timeout, dbs, precall_key, expected_checksum
    )
