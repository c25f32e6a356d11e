"""A number for what a connection supports, by which SQL differs.

It is the same for all connections that compile queries alike, in any thread.
"""

from __future__ import annotations

from typing import Any

from rover_overrides.introspection.django_classes import (
    is_django_connection,
    is_unpatched_django_class,
)

_NAME = "_rover_backend"
"""The attribute of a connection with what it had when it got its number, and the number."""
_LINKS = frozenset({"_cache", "connection"})

_numbers: dict[Any, int] = {}


def backend_number(connection: Any) -> int | None:
    """Return the number of a connection, or None if not all of it is Django's own.

    Features are compared each time, because some are computed on first use, and tests change them.
    """
    held = connection.__dict__
    operations, features = held["ops"], held["features"]
    found: tuple[Any, int] | None = held.get(_NAME)
    state = operations, operations.__dict__, features, features.__dict__
    if found is not None and found[0] == state:
        return found[1]
    if (
        not is_django_connection(connection)
        or not all(map(is_unpatched_django_class, map(type, (operations, features))))
        # An application's function may write other SQL at each call.
        or any(map(callable, (*operations.__dict__.values(), *features.__dict__.values())))
    ):
        return None
    described = (
        type(connection),
        *(
            (type(part), tuple(sorted(map(repr, _own_attributes(part)))))
            for part in (operations, features)
        ),
    )
    number = _numbers.setdefault(described, len(_numbers))
    held[_NAME] = (operations, {**operations.__dict__}, features, {**features.__dict__}), number
    return number


def _own_attributes(part: Any) -> list[tuple[str, Any]]:
    return [(name, held) for name, held in part.__dict__.items() if name not in _LINKS]
