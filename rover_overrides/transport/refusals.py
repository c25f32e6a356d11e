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

from rover_overrides.core.operator_warnings import warn
from rover_overrides.transport.circuit_breaker import circuit

# Refusals that redis-py has no class for, or that its callers do not treat as an absent server.
_REFUSAL_ERRORS = (ClusterDownError, ReadOnlyError, TryAgainError)
_REFUSAL_PREFIXES = (
    "BUSY ",  # with the space, unlike BUSYKEY and BUSYGROUP
    "CLUSTERDOWN",
    "DENIED",  # in protected mode
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "NOREPLICAS",
    "TRYAGAIN",
    "UNBLOCKED",  # ends a blocking command when the server becomes a replica
)
_OUT_OF_MEMORY_PREFIX = "OOM "

# Redis 6.2 puts its own text before the error of a command in a script. The error keeps its code,
# except for a missing permission.
_SCRIPT_ERROR = re.compile(r"(?:ERR )?Error running script .*@user_script: \d+: -?(.*)", re.DOTALL)
# Of Redis 7 and Valkey; the last one of Redis 6.2.
_PERMISSION_ERRORS_IN_SCRIPTS = (
    "ACL failure in script",
    "NOPERM",
    "The user executing the script can't",
)
_COMMAND_NAME = re.compile(r"the '([^']+)' command")
_USER_NAME = re.compile(r"User (\S+) has")

_MAX_WARNINGS = 100  # a process warns of at most this many different errors
_warned: set[str] = set()


class MissingPermissionError(redis.AuthenticationError):
    """The user that the cache logs in as lacks the permission for a command or a key."""


@contextmanager
def warn_if_unavailable() -> Iterator[None]:
    """Warn, and continue after the block, if the server is away, refuses or is out of memory.

    The warning has upstream's text and is never raised.
    """
    try:
        with refusals_as_connection_errors():
            yield
    except redis.TimeoutError as error:
        warn(f"The cacheops cache timed out! Error: {error}", stacklevel=6)
    except redis.ConnectionError as error:
        warn(f"The cacheops cache is unreachable! Error: {error}", stacklevel=6)


@contextmanager
def refusals_as_connection_errors() -> Iterator[None]:
    """Raise redis.ConnectionError if the server refuses or is out of memory.

    If a permission is missing, continue after the block.
    """
    with suppress_missing_permissions():
        try:
            yield
        except (RedisClusterException, ResponseError) as error:
            if is_refusal(error) or is_out_of_memory(error):
                raise redis.ConnectionError(str(error)) from error
            raise


@contextmanager
def suppress_missing_permissions() -> Iterator[None]:
    """Continue after the block if a permission is missing."""
    try:
        yield
    except redis.AuthenticationError as error:
        handle_missing_permission(error)


def call_or_none(call: Callable[[], Any]) -> Any:
    """Return what a call to Redis returns, or None if the server is away or refuses."""
    with warn_if_unavailable():
        return call()


def is_refusal(error: Exception) -> bool:
    """Return whether an error means that a server or a cluster node refuses for now."""
    # RedisClusterException is raised if no node answers or a slot has no node. It is not a
    # ConnectionError, though nothing else is wrong.
    return isinstance(error, (RedisClusterException, *_REFUSAL_ERRORS)) or str(error).startswith(
        _REFUSAL_PREFIXES
    )


def is_out_of_memory(error: Exception) -> bool:
    """Return whether the server is out of memory."""
    # redis-py 5 and later have this class; its message lacks the code OOM.
    known = getattr(redis.exceptions, "OutOfMemoryError", None)
    return (known is not None and isinstance(error, known)) or str(error).startswith(
        _OUT_OF_MEMORY_PREFIX
    )


def unwrap_script_error(error: ResponseError) -> ResponseError:
    """Return the error of a command in a script as if the command had been sent alone."""
    match = _SCRIPT_ERROR.match(str(error))
    text = match[1] if match else str(error)
    if text.startswith(_PERMISSION_ERRORS_IN_SCRIPTS):
        return NoPermissionError(text)
    if not match:
        return error
    return ReadOnlyError(text) if text.startswith("READONLY") else ResponseError(text)


def handle_missing_permission(error: redis.AuthenticationError) -> None:
    """Open the circuit, and warn of a missing permission the first time in this process."""
    circuit.record_failure(lacks_permission=True)
    message = str(error)
    if message in _warned or len(_warned) >= _MAX_WARNINGS:
        return
    _warned.add(message)
    warn(
        f"The cacheops cache may not use Redis: {message}. {_remedy(error)} "
        "Until then reads come from the database.",
        stacklevel=5,
    )


def _remedy(error: redis.AuthenticationError) -> str:
    if not isinstance(error, MissingPermissionError):
        return "Set the user and the password in CACHEOPS_REDIS."
    command, user = _COMMAND_NAME.search(str(error)), _USER_NAME.search(str(error))
    missing = f"+{command[1]}" if command else "~<prefix>* +@read +@write +@scripting +info"
    return (
        f"Grant it: ACL SETUSER {user[1] if user else '<user>'} {missing} (docs/cache.md, Rights)."
    )
