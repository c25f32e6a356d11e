"""Serializes values for the cache, and restores them.

A stored value that cannot be read is a miss: a deploy has moved its class, or the application or
the library version that wrote it is not installed here. A value that cannot be serialized is not
stored. Both are counted, and each kind of failure is warned of once.
"""

from __future__ import annotations

from hashlib import blake2b
from importlib import import_module
from typing import Any

from cacheops.conf import settings

from rover_overrides.core import switches
from rover_overrides.core.operator_warnings import warn

_MOST_WARNED = 100  # kinds of failures that a process remembers
_LONGEST_WARNING = 1000  # characters; the text of an error may contain a whole value

# The module comes with a patch that this tree may lack.
_counters: Any = (
    import_module("rover_overrides.metrics.counters")
    if switches.is_installed("explain-invalidation")
    else None
)
_warned: set[str] = set()


class UnreadableError(Exception):
    """A stored value cannot be read here: a miss."""


class UnwritableError(Exception):
    """A value cannot be stored."""


def loads(data: bytes) -> Any:
    """Return the value that is stored as `data`; raise UnreadableError if it cannot be read."""
    try:
        return settings.CACHEOPS_SERIALIZER.loads(data)
    except MemoryError:
        raise
    except Exception as error:  # unpickling runs the code of any class
        _report_failure(
            "results unreadable",
            "A result in the cacheops cache cannot be read here, which makes it a miss",
            error,
        )
        raise UnreadableError(str(error)) from error


def dumps(value: Any) -> bytes:
    """Return the bytes to store for a value; raise UnwritableError if it cannot be stored."""
    try:
        data: bytes = settings.CACHEOPS_SERIALIZER.dumps(value)
    except MemoryError:
        raise
    except Exception as error:
        _report_failure(
            "results unwritable", "A result cannot be stored in the cacheops cache", error
        )
        raise UnwritableError(str(error)) from error
    return data


def loads_of_release(data: bytes) -> Any:
    """Return a value of the simple cache; raise UnreadableError if another release stored it.

    The key is the application's own, and each release must be able to delete what another one
    stored. So the value names the release.
    """
    mark = _mark()
    if not mark:
        return loads(data)
    if not data.startswith(mark):
        raise UnreadableError("another release stored the value")
    return loads(data[len(mark) :])


def dumps_of_release(value: Any) -> bytes:
    """Return the bytes that the simple cache stores for a value; raise UnwritableError."""
    return _mark() + dumps(value)


def _mark() -> bytes:
    salt = switches.raw_setting("CACHEOPS_ROVER_KEY_SALT", "")
    return b"rover:" + blake2b(str(salt).encode(), digest_size=16).digest() if salt else b""


def _report_failure(counted: str, happened: str, error: Exception) -> None:
    if _counters is not None:
        _counters.count(counted)
    message = f"{happened}: {type(error).__name__}: {error}"[:_LONGEST_WARNING]
    if message not in _warned and len(_warned) < _MOST_WARNED:
        _warned.add(message)
        warn(message, stacklevel=4)
