"""Locks around a result that is being computed: one caller computes it, the others wait for it.

A lock is a key of its own that expires after `CACHEOPS_ROVER_LOCK_SECONDS` (default 5) and is not
renewed. If its holder dies, loses the release or takes longer, another caller computes the result.
No caller waits longer than that in total. A waiting caller is woken by a token in a list, which
stays in the list for the next one.
"""

from __future__ import annotations

import os
import time

import redis

from rover_overrides.core.switches import raw_setting
from rover_overrides.transport import pipeline
from rover_overrides.transport.circuit_breaker import circuit
from rover_overrides.transport.pipeline import Command
from rover_overrides.transport.refusals import refusals_as_connection_errors

SECONDS = 5
"""How many seconds a lock lives unless the setting says otherwise."""

_MAX_WAIT_SECONDS = 1.0  # seconds of one wait, which bounds the cost of a lost wake-up
# Seconds between two checks by a client whose socket timeout is too short for a blocking wait.
_POLL_SECONDS = 0.05
_RELEASE = (
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"
)


def lifetime_seconds() -> float:
    """Return how many seconds a lock lives, and a reader waits in total."""
    return float(raw_setting("CACHEOPS_ROVER_LOCK_SECONDS", SECONDS))


def acquire(key: str) -> str | None:
    """Return the token of a lock, or None if another caller holds it."""
    token = os.urandom(16).hex()
    # Redis refuses an expiry of 0.
    milliseconds = max(1, int(1000 * lifetime_seconds()))
    locked, held = pipeline.run(
        [("SET", _lock(key), token, "NX", "PX", milliseconds), holder_command(key)]
    )
    # A pipeline may be sent twice: then SET NX fails although this caller holds the lock.
    if locked.value is None and held.value != token.encode():
        return None
    # A token that is left of an earlier release would wake the waiting callers at once.
    pipeline.run([("DEL", _signal(key))])
    return token


def holder_command(key: str) -> Command:
    """Return the command that reads the token of a lock's holder."""
    return ("GET", _lock(key))


def wait(key: str, longest: float) -> None:
    """Wait until a lock is released, for a second at most."""
    patience = _socket_timeout() / 2
    # The server checks for expired waits only ten times a second.
    if patience < 5 * _POLL_SECONDS:
        time.sleep(min(longest, _POLL_SECONDS))
        return
    seconds = round(max(_POLL_SECONDS, min(longest, _MAX_WAIT_SECONDS, patience)), 3)
    try:
        with refusals_as_connection_errors():
            # Upstream waits with this command, and its tests expect it.
            pipeline.client().brpoplpush(_signal(key), _signal(key), timeout=seconds)
    except (redis.ConnectionError, redis.TimeoutError):
        # The client is used directly here; elsewhere `pipeline.run` records the failure.
        circuit.record_failure()
        raise


def release(key: str, token: str) -> None:
    """Release a lock if it still has this token, and wake the waiting callers."""
    signal = _signal(key)
    pipeline.run(
        [("EVAL", _RELEASE, 1, _lock(key), token), ("LPUSH", signal, 1), ("EXPIRE", signal, 1)]
    )


def _lock(key: str) -> str:
    return f"{key}:lock"


def _signal(key: str) -> str:
    return f"{key}:signal"


def _socket_timeout() -> float:
    """Return the client's socket timeout in seconds, which a wait must not reach."""
    client = pipeline.client()
    pool = getattr(client, "connection_pool", None)
    kwargs = client.get_connection_kwargs() if pool is None else pool.connection_kwargs
    return float(kwargs.get("socket_timeout") or 2 * _MAX_WAIT_SECONDS)
