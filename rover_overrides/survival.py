"""Whether values come out of the cache as they went in: pickling drops what a class of an application's adds to some objects.

A `Decimal` writes down its digits, a date its fields, a `FieldFile` its name. What a subclass of theirs puts into an object
beside that is gone when it is read again, so a result that holds such an object is not stored.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import Model

from rover_overrides.stock import is_djangos, once


def survive(rows: Iterable[Any]) -> bool:
    """Return whether the objects in rows of a result, and in the related objects that were made along, can be stored whole."""
    chosen = {kind for kind in {type(value) for row in rows for value in _values(row)} if _chooses(kind)}
    return not chosen or not any(type(value) in chosen and _loses(value) for row in rows for value in _values(row))


def _values(row: Any) -> Iterable[Any]:
    if isinstance(row, Model):
        return _of_model(row)
    if isinstance(row, dict):
        return row.values()
    return row if isinstance(row, (tuple, list)) else (row,)


def _of_model(row: Any) -> Iterator[Any]:
    yield from row.__dict__.values()
    for related in row._state.fields_cache.values():
        if isinstance(related, Model):
            yield from related.__dict__.values()


@once
def _chooses(kind: type) -> bool:
    """Return whether a class with attributes of its own has them pickled in another way than Python does by itself."""
    if not kind.__dictoffset__ or is_djangos(kind) or issubclass(kind, Model):
        return False
    return any(
        getattr(kind, name, None) is not getattr(object, name, None) for name in ("__reduce__", "__reduce_ex__", "__getstate__")
    )


def _loses(value: Any) -> bool:
    """Return whether an object that is pickled and read again lacks an attribute."""
    held: dict[str, Any] = vars(value)
    return bool(held) and not held.keys() <= vars(pickle.loads(pickle.dumps(value))).keys()  # noqa: S301 - of our own making
