"""Locks around a result that is being computed: one caller computes it, others wait for it.

A lock is a key of its own that expires. Whoever waits is woken by a token in a list, which stays in it for the next one.
"""

from __future__ import annotations

import os
import time

import redis

from rover_overrides import transport

SECONDS = 60  # until a lock is given up, as upstream has it

_SLICE = 1.0  # seconds of one wait: a wake-up that got lost costs no more
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


def acquire(key: str) -> str | None:
    """Return the token of a lock, or None where somebody else holds it."""
    token = os.urandom(16).hex()
    locked, held = transport.run([("SET", _lock(key), token, "NX", "EX", SECONDS), ("GET", _lock(key))])
    if locked.value is None and held.value != token.encode():
        return None
    transport.run([("DEL", _signal(key))])
    return token


def wait(key: str) -> None:
    """Wait until a lock is released, for a second at most."""
    limit = _socket_timeout()
    try:
        transport.client().brpoplpush(_signal(key), _signal(key), timeout=max(0.05, min(_SLICE, limit / 2)))
    except redis.TimeoutError:
        time.sleep(0.05)


def release(key: str, token: str) -> None:
    """Release a lock if it is still this one, and wake those who wait."""
    signal = _signal(key)
    transport.run([("EVAL", _RELEASE, 1, _lock(key), token), ("LPUSH", signal, 1), ("EXPIRE", signal, 1)])


def _lock(key: str) -> str:
    return f"{key}:lock"


def _signal(key: str) -> str:
    return f"{key}:signal"


def _socket_timeout() -> float:
    """Return the client's own limit to a wait for a reply, which must not be reached."""
    client = transport.client()
    pool = getattr(client, "connection_pool", None)
    kwargs = client.get_connection_kwargs() if pool is None else pool.connection_kwargs
    return float(kwargs.get("socket_timeout") or 2 * _SLICE)
