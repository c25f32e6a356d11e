"""What a server says that is there and does nothing for now: it counts as absent, so that the site runs without it.

A right that is missing, of the user or of the login, is told once, with what grants it. The site runs without the cache until
somebody does, whatever `CACHEOPS_DEGRADE_ON_FAILURE` says.
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

# Refusals that redis-py has no class for, or that its callers do not take for an absent server.
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

# Redis 6.2 puts the error of a command in a script behind its own words, with the code or, of a user's rights, without.
_IN_SCRIPT = re.compile(r"(?:ERR )?Error running script .*@user_script: \d+: -?(.*)", re.DOTALL)
_NO_RIGHT_IN_SCRIPT = (
    "ACL failure in script",
    "NOPERM",
    "The user executing the script can't",
)  # Redis 7 and Valkey; 6.2
_COMMAND = re.compile(r"the '([^']+)' command")
_USER = re.compile(r"User (\S+) has")

_MOST_TOLD = 100  # rights that a process remembers having warned of
_told: set[str] = set()


class MissingRightError(redis.AuthenticationError):
    """The user that the cache logs in as has no right to a command or a key of it."""


@contextmanager
def failures_as_absence() -> Iterator[None]:
    """Go on where the server is away, refuses or has no memory left, after a warning in upstream's words that breaks nothing."""
    try:
        with refusals_as_absence():
            yield
    except redis.TimeoutError as error:
        warn(f"The cacheops cache timed out! Error: {error}", stacklevel=6)
    except redis.ConnectionError as error:
        warn(f"The cacheops cache is unreachable! Error: {error}", stacklevel=6)


@contextmanager
def refusals_as_absence() -> Iterator[None]:
    """Raise ConnectionError where the server refuses, or has no memory left; go on where a right is missing."""
    with missing_rights_as_absence():
        try:
            yield
        except (RedisClusterException, ResponseError) as error:
            if is_refusal(error) or is_full(error):
                raise redis.ConnectionError(str(error)) from error
            raise


@contextmanager
def missing_rights_as_absence() -> Iterator[None]:
    """Go on where a right is missing."""
    try:
        yield
    except redis.AuthenticationError as error:
        do_without(error)


def answered(call: Callable[[], Any]) -> Any:
    """Return what a call to Redis returns; a server that is there and refuses counts as one that is away."""
    with failures_as_absence():
        return call()


def is_refusal(error: Exception) -> bool:
    """Return whether an error says that a server, or the node of a cluster, does nothing for now."""
    # The first is raised where no node answers or a slot is nobody's. It is no ConnectionError, though nothing else is wrong.
    return isinstance(error, (RedisClusterException, *_ABSENT)) or str(error).startswith(
        _ABSENT_WORDS
    )


def is_full(error: Exception) -> bool:
    """Return whether the server has no memory left."""
    known = getattr(
        redis.exceptions, "OutOfMemoryError", None
    )  # redis-py from 5 on, without the word
    return (known is not None and isinstance(error, known)) or str(error).startswith(_FULL)


def plain(error: ResponseError) -> ResponseError:
    """Return the error of a command in a script as if the command had been sent by itself."""
    found = _IN_SCRIPT.match(str(error))
    text = found[1] if found else str(error)
    if text.startswith(_NO_RIGHT_IN_SCRIPT):
        return NoPermissionError(text)
    if not found:
        return error
    return ReadOnlyError(text) if text.startswith("READONLY") else ResponseError(text)


def do_without(error: redis.AuthenticationError) -> None:
    """Leave Redis alone for a moment, and warn of the right that is missing, if it is the first time in this process."""
    circuit.failed(lacks_right=True)
    said = str(error)
    if said in _told or len(_told) >= _MOST_TOLD:
        return
    _told.add(said)
    warn(
        f"The cacheops cache may not use Redis: {said}. {_remedy(error)} Until then reads come from the database.",
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
