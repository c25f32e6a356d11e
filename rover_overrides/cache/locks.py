"""Locks around a result that is being computed: one caller computes it, others wait for it.

A lock is a key of its own that expires after `CACHEOPS_ROVER_LOCK_SECONDS` (5 unless set) and is not renewed: where its holder
died, or its release was lost, or it takes longer, somebody else computes. Nobody waits longer than that in all. Whoever waits is
woken by a token in a list, which stays in it for the next one.
"""

from __future__ import annotations

import os
import time

import redis

from rover_overrides.core.switches import stated
from rover_overrides.transport import pipeline
from rover_overrides.transport.circuit_breaker import circuit
from rover_overrides.transport.pipeline import Command
from rover_overrides.transport.refusals import refusals_as_absence

SECONDS = 5
"""How long a lock lives unless the setting says otherwise."""

_SLICE = 1.0  # seconds of one wait: a wake-up that got lost costs no more
_POLL = (
    0.05  # seconds between two looks of a client that waits for no reply long enough to be woken
)
_RELEASE = (
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"
)


def seconds() -> float:
    """Return how long a lock lives, and how long a reader waits in all."""
    return float(stated("CACHEOPS_ROVER_LOCK_SECONDS", SECONDS))


def acquire(key: str) -> str | None:
    """Return the token of a lock, or None where somebody else holds it."""
    token = os.urandom(16).hex()
    milliseconds = max(1, int(1000 * seconds()))
    locked, held = pipeline.run([("SET", _lock(key), token, "NX", "PX", milliseconds), holder(key)])
    if locked.value is None and held.value != token.encode():
        return None
    pipeline.run([("DEL", _signal(key))])
    return token


def holder(key: str) -> Command:
    """Return the command that reads the token of whoever holds a lock."""
    return ("GET", _lock(key))


def wait(key: str, longest: float) -> None:
    """Wait until a lock is released, for a second at most."""
    patience = _socket_timeout() / 2
    if patience < 5 * _POLL:  # the server looks for waits that are over only ten times a second
        time.sleep(min(longest, _POLL))
        return
    seconds = round(max(_POLL, min(longest, _SLICE, patience)), 3)
    try:
        with refusals_as_absence():
            pipeline.client().brpoplpush(
                _signal(key), _signal(key), timeout=seconds
            )  # as upstream waits, and its tests look for
    except (redis.ConnectionError, redis.TimeoutError):
        circuit.failed()
        raise


def release(key: str, token: str) -> None:
    """Release a lock if it is still this one, and wake those who wait."""
    signal = _signal(key)
    pipeline.run(
        [("EVAL", _RELEASE, 1, _lock(key), token), ("LPUSH", signal, 1), ("EXPIRE", signal, 1)]
    )


def _lock(key: str) -> str:
    return f"{key}:lock"


def _signal(key: str) -> str:
    return f"{key}:signal"


def _socket_timeout() -> float:
    """Return the client's own limit to a wait for a reply, which must not be reached."""
    client = pipeline.client()
    pool = getattr(client, "connection_pool", None)
    kwargs = client.get_connection_kwargs() if pool is None else pool.connection_kwargs
    return float(kwargs.get("socket_timeout") or 2 * _SLICE)
