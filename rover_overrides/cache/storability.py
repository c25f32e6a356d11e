"""Whether values come out of the cache as they went in.

A `Decimal` pickles its digits, a date its fields, a `FieldFile` its name. What an application's
subclass adds to such an object is lost when it is read again, so a result that holds such an object
is not stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from types import MemberDescriptorType
from typing import Any

from django.db.models import Model

from rover_overrides.cache import serialization
from rover_overrides.cache.nested_reads import recording_reads
from rover_overrides.cache.row_values import PLAIN
from rover_overrides.introspection.django_classes import cached_by_identity, is_django_class

_HOLDING = (Model, dict, frozenset, list, set, tuple)
_IDENTITY_EQ: Any = object.__eq__
_PICKLING = ("__getstate__", "__reduce__", "__reduce_ex__", "__setstate__")

_is_checking: ContextVar[bool] = ContextVar("rover_trying", default=False)
"""Whether a value is being read back for a check: what it queries meanwhile is not stored."""


def is_being_checked() -> bool:
    """Return whether a value is being read back for a check; what that queries is not stored."""
    return _is_checking.get()


def is_storable(rows: Iterable[Any]) -> bool:
    """Return whether all objects in rows, and in their related objects, can be stored unchanged."""
    if _is_checking.get():
        return False
    return not any(
        _changes_when_stored(value) for value in _parts(rows) if _has_own_pickling(type(value))
    )


def _parts(rows: Iterable[Any]) -> Iterator[Any]:
    """Yield the values in rows, including nested collections and related objects, at any depth."""
    seen: set[int] = set()
    waiting = [iter(rows)]
    while waiting:
        for value in waiting.pop():
            # Most values are plain; passing over them nearly halves what this check adds to a fill.
            if type(value) in PLAIN:
                continue
            if isinstance(value, _HOLDING) and id(value) not in seen:
                seen.add(id(value))
                waiting += map(iter, _contents(value))
            yield value


def _contents(value: Any) -> Iterable[Iterable[Any]]:
    if isinstance(value, Model):
        return value.__dict__.values(), value._state.fields_cache.values()
    return (value.values() if isinstance(value, dict) else value,)


@cached_by_identity
def _has_own_pickling(kind: type) -> bool:
    """Return whether a class has attributes of its own and its own way of pickling.

    That is a way other than that of Python, or of a model, by default.
    """
    if is_django_class(kind) or not (kind.__dictoffset__ or _slots(kind)):
        return False
    base = Model if issubclass(kind, Model) else object
    return any(getattr(kind, name, None) is not getattr(base, name, None) for name in _PICKLING)


@cached_by_identity
def _slots(kind: type) -> list[str]:
    """Return the attributes of a class's objects that are not in their `__dict__`."""
    return [
        name
        for one in kind.__mro__
        for name, held in vars(one).items()
        if isinstance(held, MemberDescriptorType)
    ]


def _changes_when_stored(value: Any) -> bool:
    """Return whether storing and reading an object loses or changes one of its attributes.

    An object that queries the database while it is read counts too.
    """
    held = _state(value)
    if not held:
        return False
    token = _is_checking.set(True)
    try:
        with recording_reads() as reads:
            read = _state(serialization.loads(serialization.dumps(value)))
    except (serialization.UnreadableError, serialization.UnwritableError):
        return True
    finally:
        _is_checking.reset(token)
    return bool(reads.statements or reads.tables) or any(
        name not in read or not _is_same(each, read[name]) for name, each in held.items()
    )


def _state(value: Any) -> dict[str, Any]:
    slots = {name: getattr(value, name) for name in _slots(type(value)) if hasattr(value, name)}
    return {**slots, **getattr(value, "__dict__", {})}


def _is_same(one: Any, other: Any) -> bool:
    """Return whether values are equal, or of one class whose objects compare by identity."""
    kind = type(one)
    return bool(one == other) or (kind is type(other) and kind.__eq__ is _IDENTITY_EQ)
