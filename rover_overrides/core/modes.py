"""Which invalidation mode is active.

Upstream's modules can use this module while they import each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from cacheops.conf import settings

from rover_overrides.core.switches import applied


def batches() -> bool:
    """Return whether changes are batched until the commit instead of handled one by one."""
    return bool(settings.CACHEOPS_INSIDEOUT)


def sees_writes() -> bool:
    """Return whether every write is tracked where Django compiles it."""
    return bool(settings.CACHEOPS_INSIDEOUT) and applied("track-all-writes")


_done: ContextVar[bool] = ContextVar("rover_done", default=False)


@contextmanager
def done_already() -> Iterator[None]:
    """Make explicit invalidations do nothing in a block, because their write was tracked."""
    token = _done.set(True)
    try:
        yield
    finally:
        _done.reset(token)


def is_done() -> bool:
    """Return whether an explicit invalidation has nothing left to do."""
    return _done.get()
