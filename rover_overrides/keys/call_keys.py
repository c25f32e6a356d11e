"""The key of a call: of `cached_as`, `@cached`, cached views and fragments, by what is called and with what.

Two calls share a key where they are of the same function with arguments of the same types and values. Functions that one `def`
makes are told apart by the values that they closed over and by their defaults. Objects, requests and functions are named as
cacheops names them, beside their class.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date, time, timedelta
from typing import Any

from django.db.models import Model

from rover_overrides.keys.encoding import PLAIN, stable_digest

_TIMES = (date, time, timedelta)
_MUTABLE = (bytearray, dict, list, set)

Name = Callable[[Any], Any]
Spell = Callable[[Any], Any]


def call_key(factors: Sequence[Any], name: Name) -> str:
    """Return a digest of what makes a call; one that is never found again where something in it cannot be spelled.

    The factors are the function, its arguments, its keywords, and what else the application sets results apart by: there a text
    that is marked as safe is the text, for a fragment is named in a template and by who invalidates it. `name` is what cacheops
    spells other objects by.
    """
    function, args, kwargs, *others = factors
    try:
        return stable_digest(
            (_spelled((function, args, kwargs), name), _spelled(others, name, texts_alike=True))
        )
    except Exception:  # noqa: BLE001 - spelling runs the code of whatever is passed
        return os.urandom(32).hex()


def _spelled(value: Any, name: Name, *, texts_alike: bool = False) -> Any:
    """Return a value as plain values, equal where the values and their types are."""
    if texts_alike and isinstance(value, str):
        value = "".join(value)
    found = _spelled_by_parts(value, lambda part: _spelled(part, name, texts_alike=texts_alike))
    if found is not None:
        return found
    if isinstance(value, Model) and value.pk is None:
        raise ValueError("an object that is not saved has no name")
    if hasattr(
        value, "build_absolute_uri"
    ):  # a request is what its URI is, by which a view's result can be invalidated, too
        return _spelled(name(value), name)
    return (
        _class(value),
        _spelled(name(value), name),
        _made_of(value, ()) if inspect.isfunction(value) else (),
    )


def _spelled_by_parts(value: Any, spell: Spell) -> Any:
    """Return what is spelled by its own value or by its parts, None for any other."""
    if type(value) in PLAIN:
        return (value,)
    parts = _parts(value, spell)
    return None if parts is None else (_class(value), *parts)


def _parts(value: Any, spell: Spell) -> Iterable[Any] | None:
    if isinstance(value, str):
        return [str.encode(value, errors="surrogatepass")]
    if isinstance(value, _TIMES):
        return [repr(value)]
    if isinstance(value, bytes):
        return [bytes(value)]
    if isinstance(value, (int, float)):
        return [int(value) if isinstance(value, int) else float(value)]
    if isinstance(value, (list, tuple)):
        return map(spell, value)
    if isinstance(value, (set, frozenset)):
        return sorted(map(stable_digest, map(spell, value)))
    if isinstance(value, dict):
        return sorted(stable_digest((spell(key), spell(held))) for key, held in dict.items(value))
    return None


def _made_of(function: Any, above: Collection[Any]) -> Any:
    """Return what sets a function apart from others that the same `def` made."""
    if function in above:  # it calls itself
        return "itself"
    cells = [_content(cell) for cell in function.__closure__ or ()]
    return [
        _inside(held, (*above, function))
        for held in (*cells, function.__defaults__, function.__kwdefaults__)
    ]


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing is in it yet
        return None


def _inside(value: Any, above: Collection[Any]) -> Any:
    """Spell what a function has inside, but nothing of what may change, and nothing of any other object.

    A list may be where the function keeps what it has done; an object's text may be an address, or run a query; and the
    function by which a fragment is invalidated has None where the one that renders it has an object.
    """
    found = (
        None
        if value is None or isinstance(value, _MUTABLE)
        else _spelled_by_parts(value, lambda part: _inside(part, above))
    )
    if found is not None:
        return found
    if inspect.isfunction(value):
        return (
            value.__module__,
            value.__qualname__,
            value.__code__.co_firstlineno,
            _made_of(value, above),
        )
    if inspect.isclass(value):
        return value.__module__, value.__qualname__
    if isinstance(value, Model) and value.pk is not None:
        return _class(value), _inside(value.pk, above)
    return ()


def _class(value: Any) -> tuple[str, str]:
    return type(value).__module__, type(value).__qualname__
