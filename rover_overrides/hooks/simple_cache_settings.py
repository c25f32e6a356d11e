"""Settings for upstream's simple and file caches, with a serializer whose failures are misses."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from cacheops import conf

from rover_overrides.cache.serialization import (
    UnreadableError,
    UnwritableError,
    dumps_of_release,
    loads_of_release,
)

_UNSTORABLE = b""
"""Stored for a value that cannot be stored: it replaces the old value and is a miss."""


class _Serializer:
    """Reads and writes the values of the simple caches."""

    def loads(self, data: bytes) -> Any:
        """Return the value; raise CacheMiss if it cannot be read here."""
        if data == _UNSTORABLE:
            _raise_miss()
        try:
            return loads_of_release(data)
        except UnreadableError:
            _raise_miss()

    def load(self, file: BinaryIO) -> Any:
        """Return the value in a file; raise CacheMiss if it cannot be read here.

        The file is then deleted, because a file is never overwritten.
        """
        try:
            return loads_of_release(file.read())
        except UnreadableError:
            Path(file.name).unlink(missing_ok=True)
            _raise_miss()

    def dumps(self, value: Any) -> bytes:
        """Return the bytes to store for a value."""
        try:
            return dumps_of_release(value)
        except UnwritableError:
            return _UNSTORABLE


class _Settings:
    """Upstream's settings, except for the serializer."""

    CACHEOPS_SERIALIZER = _Serializer()

    def __getattr__(self, name: str) -> Any:
        return getattr(conf.settings, name)


settings = _Settings()


def _raise_miss() -> NoReturn:
    # Imported late, because upstream's module imports this one.
    from cacheops.simple import CacheMiss

    raise CacheMiss
