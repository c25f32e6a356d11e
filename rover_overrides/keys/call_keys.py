"""The key of a call through `cached_as`, `@cached`, a cached view or a cached fragment.

Two calls share a key if they call the same function with arguments of the same types and values.
Functions made by the same `def` differ by their closures and their defaults. Objects and functions
are identified by their class and the name that cacheops gives them, requests by that name only.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date, time, timedelta
from typing import Any

from django.db.models import Model

from rover_overrides.keys.encoding import PLAIN, short_name, stable_digest

_TIMES = (date, time, timedelta)
_MUTABLE = (bytearray, dict, list, set)

NameOf = Callable[[Any], Any]
PlainForm = Callable[[Any], Any]


def call_key(factors: Sequence[Any], name: NameOf) -> str:
    """Return the short name of a call; a random one if some part of the call cannot be serialised.

    `factors` are the function, its arguments, its keywords, and whatever else the application
    distinguishes results by. In these others, text that is marked as safe equals plain text,
    because a fragment is named both in a template and by the code that invalidates it. `name` is
    the function by which cacheops names other objects.
    """
    function, args, kwargs, *others = factors
    try:
        found = stable_digest(
            (
                _plain_form((function, args, kwargs), name),
                _plain_form(others, name, texts_alike=True),
            )
        )
    except Exception:  # noqa: BLE001 - serialising runs the code of the arguments
        found = os.urandom(32).hex()
    return short_name(found)


def _plain_form(value: Any, name: NameOf, *, texts_alike: bool = False) -> Any:
    """Return a value as plain values, which are equal if the values and their types are equal."""
    if texts_alike and isinstance(value, str):
        value = "".join(value)  # a plain str
    found = _plain_form_of_parts(
        value, lambda part: _plain_form(part, name, texts_alike=texts_alike)
    )
    if found is not None:
        return found
    if isinstance(value, Model) and value.pk is None:
        raise ValueError("an object that is not saved has no name")
    # A request is identified by its URI, by which a view's result can also be invalidated.
    if hasattr(value, "build_absolute_uri"):
        return _plain_form(name(value), name)
    return (
        _class(value),
        _plain_form(name(value), name),
        _captured_values(value, ()) if inspect.isfunction(value) else (),
    )


def _plain_form_of_parts(value: Any, plain_form: PlainForm) -> Any:
    """Return a value serialised by itself or by its parts, or None if it cannot be."""
    if type(value) in PLAIN:
        return (value,)
    parts = _parts(value, plain_form)
    return None if parts is None else (_class(value), *parts)


def _parts(value: Any, plain_form: PlainForm) -> Iterable[Any] | None:
    if isinstance(value, str):
        return [str.encode(value, errors="surrogatepass")]
    if isinstance(value, _TIMES):
        return [repr(value)]
    if isinstance(value, bytes):
        return [bytes(value)]
    if isinstance(value, (int, float)):
        return [int(value) if isinstance(value, int) else float(value)]
    if isinstance(value, (list, tuple)):
        return map(plain_form, value)
    if isinstance(value, (set, frozenset)):
        # A set has no fixed order, and its plain forms cannot always be compared.
        return sorted(map(stable_digest, map(plain_form, value)))
    if isinstance(value, dict):
        return sorted(
            stable_digest((plain_form(key), plain_form(held))) for key, held in dict.items(value)
        )
    return None


def _captured_values(function: Any, enclosing: Collection[Any]) -> Any:
    """Return what distinguishes a function from others made by the same `def`."""
    if function in enclosing:  # it refers to itself
        return "itself"
    cells = [_content(cell) for cell in function.__closure__ or ()]
    return [
        _captured_value(held, (*enclosing, function))
        for held in (*cells, function.__defaults__, function.__kwdefaults__)
    ]


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # the cell is still empty
        return None


def _captured_value(value: Any, enclosing: Collection[Any]) -> Any:
    """Serialise a value in a function's closure or defaults, without mutable and other objects.

    A function may keep its state in a list. The text of an object may contain an address, or run a
    query. The function that invalidates a fragment has None where the one that renders it has an
    object.
    """
    found = (
        None
        if value is None or isinstance(value, _MUTABLE)
        else _plain_form_of_parts(value, lambda part: _captured_value(part, enclosing))
    )
    if found is not None:
        return found
    if inspect.isfunction(value):
        return (
            value.__module__,
            value.__qualname__,
            value.__code__.co_firstlineno,
            _captured_values(value, enclosing),
        )
    if inspect.isclass(value):
        return value.__module__, value.__qualname__
    if isinstance(value, Model) and value.pk is not None:
        return _class(value), _captured_value(value.pk, enclosing)
    return ()


def _class(value: Any) -> tuple[str, str]:
    return type(value).__module__, type(value).__qualname__
