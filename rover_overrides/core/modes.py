"""Which invalidation mode is active.

Upstream's modules can use this module while they import each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from cacheops.conf import settings

from rover_overrides.core.switches import is_installed


def is_batching_changes() -> bool:
    """Return whether changes are batched until the commit instead of handled one by one."""
    return bool(settings.CACHEOPS_INSIDEOUT)


def is_tracking_writes() -> bool:
    """Return whether every write is tracked where Django compiles it."""
    return bool(settings.CACHEOPS_INSIDEOUT) and is_installed("track-all-writes")


_write_is_tracked: ContextVar[bool] = ContextVar("rover_write_is_tracked", default=False)


@contextmanager
def write_already_tracked() -> Iterator[None]:
    """Make explicit invalidations do nothing in a block, because their write was tracked."""
    token = _write_is_tracked.set(True)
    try:
        yield
    finally:
        _write_is_tracked.reset(token)


def is_write_already_tracked() -> bool:
    """Return whether an explicit invalidation has nothing left to do."""
    return _write_is_tracked.get()
