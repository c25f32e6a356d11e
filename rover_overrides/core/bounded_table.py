"""Tables of a process that are bounded in bytes, whatever queries and templates put into them."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

_ENTRY = 250
"""Bytes that an entry takes in the table itself."""
_OWN = "rover_overrides."
_COLLECTIONS = (frozenset, list, set, tuple)

_lock = threading.RLock()
"""Of all tables. A fork waits for it, else the child might wait forever for a thread it lacks."""
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )


class BoundedTable(dict[Key, Value]):
    """A dict that drops its oldest entries rather than hold more than `limit` bytes, roughly.

    Entries are added by `put` only, and read as those of any dict. With `make`, `table[key]` makes
    a missing entry. An entry that is larger than the limit is returned and not kept.
    """

    def __init__(self, limit: int, make: Callable[[Key], Value] | None = None) -> None:
        super().__init__()
        self.limit = limit
        self.used = 0
        self._make = make
        self._sizes: dict[Key, int] = {}  # in the order of the entries

    def __missing__(self, key: Key) -> Value:
        if self._make is None:
            raise KeyError(key)
        return self.put(key, self._make(key))

    def put(self, key: Key, value: Value, size: int | None = None) -> Value:
        """Add or replace an entry and return its value; `size` is its bytes if they are known."""
        if size is None:
            size = approximate_bytes((key, value))
        with _lock:
            self._drop(key)
            self[key], self._sizes[key] = value, size + _ENTRY
            self.used += size + _ENTRY
            self._shrink()
        return value

    def grow(self, key: Key, more: int) -> None:
        """Count more bytes for an entry, if it is still there."""
        with _lock:
            if key in self._sizes:
                self._sizes[key] += more
                self.used += more
                self._shrink()

    def size(self, key: Key) -> int:
        """Return the bytes that are counted for an entry; 0 if there is none."""
        return max(0, self._sizes.get(key, 0) - _ENTRY)

    def discard(self, key: Key) -> None:
        """Remove an entry if there is one."""
        with _lock:
            self._drop(key)

    def _shrink(self) -> None:
        while self.used > self.limit:
            self._drop(next(iter(self._sizes)))

    def _drop(self, key: Key) -> None:
        self.used -= self._sizes.pop(key, 0)
        self.pop(key, None)


def approximate_bytes(value: Any) -> int:
    """Return about how many bytes a value takes with all that it holds, each object once.

    Classes count nothing, because they exist anyway, and so do the attributes of Django's objects.
    """
    found, seen, waiting = 0, set(), [value]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type):
            continue
        seen.add(id(one))
        found += sys.getsizeof(one)
        if isinstance(one, dict):
            waiting += [*one, *one.values()]
        elif isinstance(one, _COLLECTIONS):
            waiting += one
        if type(one).__module__.startswith(_OWN) and hasattr(one, "__dict__"):
            waiting.append(vars(one))
    return found
