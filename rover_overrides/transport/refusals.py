"""Errors of a server that is there but refuses for now: it counts as away.

A missing permission or a failed login is reported once, together with its remedy. The site runs
without the cache until the permission is granted, whatever `CACHEOPS_DEGRADE_ON_FAILURE` is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.exceptions import (
    ClusterDownError,
    NoPermissionError,
    ReadOnlyError,
    RedisClusterException,
    ResponseError,
    TryAgainError,
)

from rover_overrides.core.warned import warn
from rover_overrides.transport.circuit_breaker import circuit

# Refusals that redis-py has no class for, or that its callers do not treat as an absent server.
_ABSENT = (ClusterDownError, ReadOnlyError, TryAgainError)
_ABSENT_WORDS = (
    "BUSY ",
    "CLUSTERDOWN",
    "DENIED",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "NOREPLICAS",
    "TRYAGAIN",
)
_FULL = "OOM "

# Redis 6.2 puts its own text before the error of a command in a script. The error keeps its code,
# except for a missing permission.
_IN_SCRIPT = re.compile(r"(?:ERR )?Error running script .*@user_script: \d+: -?(.*)", re.DOTALL)
# Of Redis 7 and Valkey; the last one of Redis 6.2.
_NO_RIGHT_IN_SCRIPT = (
    "ACL failure in script",
    "NOPERM",
    "The user executing the script can't",
)
_COMMAND = re.compile(r"the '([^']+)' command")
_USER = re.compile(r"User (\S+) has")

_MOST_TOLD = 100  # a process warns of at most this many different errors
_told: set[str] = set()


class MissingRightError(redis.AuthenticationError):
    """The user that the cache logs in as lacks the permission for a command or a key."""


@contextmanager
def failures_as_absence() -> Iterator[None]:
    """Warn, and continue after the block, if the server is away, refuses or is out of memory.

    The warning has upstream's text and is never raised.
    """
    try:
        with refusals_as_absence():
            yield
    except redis.TimeoutError as error:
        warn(f"The cacheops cache timed out! Error: {error}", stacklevel=6)
    except redis.ConnectionError as error:
        warn(f"The cacheops cache is unreachable! Error: {error}", stacklevel=6)


@contextmanager
def refusals_as_absence() -> Iterator[None]:
    """Raise redis.ConnectionError if the server refuses or is out of memory.

    If a permission is missing, continue after the block.
    """
    with missing_rights_as_absence():
        try:
            yield
        except (RedisClusterException, ResponseError) as error:
            if is_refusal(error) or is_full(error):
                raise redis.ConnectionError(str(error)) from error
            raise


@contextmanager
def missing_rights_as_absence() -> Iterator[None]:
    """Continue after the block if a permission is missing."""
    try:
        yield
    except redis.AuthenticationError as error:
        do_without(error)


def answered(call: Callable[[], Any]) -> Any:
    """Return what a call to Redis returns, or None if the server is away or refuses."""
    with failures_as_absence():
        return call()


def is_refusal(error: Exception) -> bool:
    """Return whether an error means that a server or a cluster node refuses for now."""
    # RedisClusterException is raised if no node answers or a slot has no node. It is not a
    # ConnectionError, though nothing else is wrong.
    return isinstance(error, (RedisClusterException, *_ABSENT)) or str(error).startswith(
        _ABSENT_WORDS
    )


def is_full(error: Exception) -> bool:
    """Return whether the server is out of memory."""
    # redis-py 5 and later have this class; its message lacks the code OOM.
    known = getattr(redis.exceptions, "OutOfMemoryError", None)
    return (known is not None and isinstance(error, known)) or str(error).startswith(_FULL)


def plain(error: ResponseError) -> ResponseError:
    """Return the error of a command in a script as if the command had been sent alone."""
    found = _IN_SCRIPT.match(str(error))
    text = found[1] if found else str(error)
    if text.startswith(_NO_RIGHT_IN_SCRIPT):
        return NoPermissionError(text)
    if not found:
        return error
    return ReadOnlyError(text) if text.startswith("READONLY") else ResponseError(text)


def do_without(error: redis.AuthenticationError) -> None:
    """Open the circuit, and warn of a missing permission the first time in this process."""
    circuit.failed(lacks_right=True)
    said = str(error)
    if said in _told or len(_told) >= _MOST_TOLD:
        return
    _told.add(said)
    warn(
        f"The cacheops cache may not use Redis: {said}. {_remedy(error)} "
        "Until then reads come from the database.",
        stacklevel=5,
    )


def _remedy(error: redis.AuthenticationError) -> str:
    if not isinstance(error, MissingRightError):
        return "Set the user and the password in CACHEOPS_REDIS."
    command, user = _COMMAND.search(str(error)), _USER.search(str(error))
    missing = f"+{command[1]}" if command else "~<prefix>* +@read +@write +@scripting +info"
    return (
        f"Grant it: ACL SETUSER {user[1] if user else '<user>'} {missing} (docs/cache.md, Rights)."
    )
