"""What a server says that is there and does nothing for now: it counts as absent, so that the site runs without it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.exceptions import ClusterDownError, ReadOnlyError, RedisClusterException, ResponseError, TryAgainError

# Refusals that redis-py has no class for, or that its callers do not take for an absent server.
_ABSENT = (ClusterDownError, ReadOnlyError, TryAgainError)
_ABSENT_WORDS = ("BUSY ", "MISCONF", "NOREPLICAS", "MASTERDOWN")
_FULL = "OOM "


@contextmanager
def refusals_as_absence() -> Iterator[None]:
    """Raise ConnectionError where the server refuses, or has no memory left."""
    try:
        yield
    except (RedisClusterException, ResponseError) as error:
        if is_refusal(error) or is_full(error):
            raise redis.ConnectionError(str(error)) from error
        raise


def is_refusal(error: Exception) -> bool:
    """Tell whether an error says that a server, or the node of a cluster, does nothing for now."""
    # The first is raised where no node answers or a slot is nobody's. It is no ConnectionError, though nothing else is wrong.
    return isinstance(error, (RedisClusterException, *_ABSENT)) or str(error).startswith(_ABSENT_WORDS)


def is_full(error: Exception) -> bool:
    """Tell whether the server has no memory left."""
    known = getattr(redis.exceptions, "OutOfMemoryError", None)  # redis-py from 5 on, without the word
    return (known is not None and isinstance(error, known)) or str(error).startswith(_FULL)
