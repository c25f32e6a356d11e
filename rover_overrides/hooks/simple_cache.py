"""The connection of the simple cache (`cacheops.cache` and `@cached`), with the transport's limits.

Upstream's simple cache uses the client directly: it waits as long as the client is set to, again at
each call, and recognizes fewer ways in which a server can be away. Here all of these are
ConnectionErrors. A server that failed a moment ago is not queried again, neither to read nor to
store a value; a queryset's read may have been what failed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from cacheops.conf import settings

from rover_overrides.cache.results import is_redis_skipped
from rover_overrides.core.switches import is_enabled
from rover_overrides.invalidation import unsent
from rover_overrides.transport import pipeline
from rover_overrides.transport.circuit_breaker import circuit


class SimpleCacheClient:
    """Implements the client methods that the simple cache calls, and delegates all others."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def get(self, key: str) -> Any:
        """Return a value or None; also None if the server was away a moment ago."""
        return _degrading(self._get)(key)

    def _get(self, key: str) -> Any:
        if not _uses_transport():
            return self._client.get(key)
        return None if _circuit_is_open() else _run_command("GET", key)

    def set(self, key: str, value: bytes) -> None:
        """Store a value without a timeout."""
        if not _uses_transport():
            self._client.set(key, value)
        elif not _circuit_is_open():
            _run_command("SET", key, value)

    def setex(self, key: str, timeout: Any, value: bytes) -> None:
        """Store a value for some seconds."""
        if not _uses_transport():
            self._client.setex(key, timeout, value)
        elif not _circuit_is_open():
            # redis-py's own method takes a timedelta too.
            seconds = int(timeout.total_seconds()) if isinstance(timeout, timedelta) else timeout
            _run_command("SET", key, value, "EX", seconds)

    def delete(self, key: str) -> None:
        """Delete a value.

        This is tried even if the server was away a moment ago, because it is not retried later.
        """
        if _uses_transport():
            _run_command("UNLINK", key)
        else:
            self._client.delete(key)


def _degrading(call: Callable[..., Any]) -> Callable[..., Any]:
    """Make a call return None if Redis is away, provided that upstream is set to degrade."""
    from cacheops.redis import handle_connection_failure

    wrapped: Callable[..., Any] = handle_connection_failure(call)
    return wrapped


def _run_command(*command: Any) -> Any:
    unsent.flush()
    return pipeline.run([command])[0].value


def _uses_transport() -> bool:
    return bool(settings.CACHEOPS_INSIDEOUT) and is_enabled("refusing-redis")


def _circuit_is_open() -> bool:
    return circuit.has_failed and is_redis_skipped()
