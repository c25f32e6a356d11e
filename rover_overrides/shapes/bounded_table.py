"""A table of a process that stays below a number of bytes by dropping its oldest entries."""

from __future__ import annotations

import sys
import threading
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


class BoundedTable(Generic[Value]):
    """Values by their keys. Sizes are approximate: of nested tuples, and of the text they hold."""

    def __init__(self, limit: int) -> None:
        self.limit = limit  # bytes
        self.bytes = 0
        self._sizes: dict[Hashable, int] = {}
        self._values: dict[Hashable, Value] = {}
        self._lock = threading.Lock()
        # Read at each cache hit, so without a method between.
        self.get = self._values.get

    def add(self, key: Hashable, value: Value, size: int) -> None:
        """Add a value whose size in bytes is known; that of the key is added to it."""
        with self._lock:
            if key in self._values:
                self._drop(key)
            self._values[key] = value
            self._sizes[key] = size = size + size_of(key)
            self.bytes += size
            while self.bytes > self.limit and len(self._values) > 1:
                self._drop(next(iter(self._values)))

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._values.clear()
            self._sizes.clear()
            self.bytes = 0

    def __len__(self) -> int:
        return len(self._values)

    def _drop(self, key: Hashable) -> None:
        self._values.pop(key, None)
        self.bytes -= self._sizes.pop(key, 0)


def size_of(value: Any) -> int:
    """Return the approximate size of a value in bytes, with what its tuples hold."""
    size = sys.getsizeof(value)
    return (
        size + sum(map(size_of, value))
        if type(value) in {tuple, frozenset}
        else size
        if isinstance(value, (str, bytes, int, float))
        else 8
    )
