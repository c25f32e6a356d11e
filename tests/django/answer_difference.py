"""Whether two answers are the same: by value, by type, and by the related objects that hang on their rows."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

from django.db.models import Manager, Model, QuerySet
from django.db.models.fields.files import FieldFile

PLAIN = (str, bytes, int, bool, type(None))


def difference(expected: Any, got: Any, known: Mapping[int, Any] | None = None) -> str:
    """Return where and how an answer differs from the expected one, or no word; `known` are objects of the caller's, by id.

    Where the expected answer holds an object of the caller's, the other one must hold the same object.
    """
    return _Comparison(known or {}).differ(expected, got, "")


class _Comparison:
    def __init__(self, known: Mapping[int, Any]):
        self._known = known
        self._under_way: set[tuple[int, int]] = set()

    def differ(self, one: Any, two: Any, at: str) -> str:
        if one is two:
            return ""
        if id(one) in self._known:
            return f"{at}: not the caller's own {type(one).__name__}"
        if type(one) is not type(two):
            return f"{at}: {_type(two)} in place of {_type(one)}"
        if isinstance(one, PLAIN):
            return "" if one == two else f"{at}: {two!r:.80} in place of {one!r:.80}"
        pair = id(one), id(two)
        if pair in self._under_way:
            return ""
        self._under_way.add(pair)
        return self._differ(one, two, at)

    def _differ(self, one: Any, two: Any, at: str) -> str:
        if isinstance(one, Model):
            return self._models(one, two, at)
        if isinstance(one, dict):
            if list(one) != list(two) and [*map(repr, one)] != [*map(repr, two)]:
                return f"{at}: keys {list(two)!r:.80} in place of {list(one)!r:.80}"
            return self._first(
                (one[key], other, f"{at}[{key!r:.40}]")
                for key, other in zip(one, two.values(), strict=True)
            )
        if isinstance(one, (list, tuple)):
            if len(one) != len(two):
                return f"{at}: {len(two)} items in place of {len(one)}"
            return self._first(
                (first, second, f"{at}[{n}]")
                for n, (first, second) in enumerate(zip(one, two, strict=True))
            )
        if isinstance(one, memoryview):
            return self.differ(bytes(one), bytes(two), at)
        if isinstance(one, FieldFile):
            return self.differ(one.name, two.name, f"{at}.name")
        if isinstance(one, QuerySet):
            return self.differ(one._result_cache, two._result_cache, f"{at}._result_cache")
        if isinstance(one, (Manager, weakref.ref)):
            return ""
        return self._others(one, two, at)

    def _others(self, one: Any, two: Any, at: str) -> str:
        """Compare what has no rule of its own: `1.0` and `1.00` are equal and not the same."""
        found = (
            self.differ(one.__dict__, two.__dict__, at)
            if hasattr(one, "__dict__") and not isinstance(one, type)
            else ""
        )
        if found or repr(one) == repr(two) or " at 0x" in repr(one):
            return found
        if (
            type(one).__eq__ is not object.__eq__
            and one == two
            and isinstance(one, (set, frozenset))
        ):
            return ""
        return f"{at}: {two!r:.80} in place of {one!r:.80}"

    def _models(self, one: Model, two: Model, at: str) -> str:
        first, second = dict(one.__dict__), dict(two.__dict__)
        states = first.pop("_state", None), second.pop("_state", None)
        second.pop("_django_version", None)  # what unpickling a model leaves there
        if first.keys() != second.keys():
            return f"{at}: attributes {sorted(second)} in place of {sorted(first)}"
        found = self._first((first[name], second[name], f"{at}.{name}") for name in first)
        return found or self._states(*states, at)

    def _states(self, one: Any, two: Any, at: str) -> str:
        for name in ("db", "adding", "fetch_mode"):
            found = self.differ(
                getattr(one, name, None), getattr(two, name, None), f"{at}._state.{name}"
            )
            if found:
                return found
        peers = [
            sum(ref() is not None for ref in getattr(state, "peers", ())) for state in (one, two)
        ]
        if peers[0] != peers[1]:
            return f"{at}._state: {peers[1]} peers in place of {peers[0]}"
        first, second = one.__dict__.get("fields_cache", {}), two.__dict__.get("fields_cache", {})
        if first.keys() != second.keys():
            return f"{at}: related {sorted(map(str, second))} in place of {sorted(map(str, first))}"
        return self._first((first[name], second[name], f"{at}.{name}") for name in first)

    def _first(self, pairs: Any) -> str:
        return next(filter(None, (self.differ(*pair) for pair in pairs)), "")


def _type(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__} {value!r:.60}"
