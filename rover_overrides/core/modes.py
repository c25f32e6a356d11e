"""Which way upstream works, for its modules to ask while they import each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from cacheops.conf import settings

from rover_overrides.core.switches import applied


def batches() -> bool:
    """Tell whether changes wait for the commit in a batch, not each by itself."""
    return bool(settings.CACHEOPS_INSIDEOUT)


def sees_writes() -> bool:
    """Tell whether every write is seen where it is compiled."""
    return bool(settings.CACHEOPS_INSIDEOUT) and applied("track-all-writes")


_done: ContextVar[bool] = ContextVar("rover_done", default=False)


@contextmanager
def done_already() -> Iterator[None]:
    """Have explicit invalidations do nothing in a block: the write that asks for them was seen."""
    token = _done.set(True)
    try:
        yield
    finally:
        _done.reset(token)


def is_done() -> bool:
    """Tell whether an explicit invalidation has nothing left to do."""
    return _done.get()
