"""Cache keys that keep the types and the boundaries of a query's parameters."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Field, QuerySet
from django.db.models.expressions import BaseExpression
from django.utils.functional import Promise, cached_property
from django.utils.tree import Node

WATCHED = "rover_watched"
"""The attribute of a query that holds expressions of which it does not know, those of `aggregate()`."""

COUNTED = "rover_counted"
"""The attribute of a query of which no more is asked than how many rows there are."""

_DIGEST = "_rover_digest"
UNNAMED = "unnamed"

# Pinned, so that processes on different Pythons agree on a key.
_PROTOCOL = 4
PLAIN = frozenset({type(None), bool, int, float, str, bytes, Decimal, date, UUID})
"""Types of which `_Speller` changes nothing."""

_OF_A_FIELD = vars(Field())
_NO_STATE = frozenset({"creation_counter", "error_messages", "validators"})


class _Speller(pickle.Pickler):
    """Spells values so that equal bytes mean equal values: what can be read back is unambiguous."""

    def __init__(self, buffer: io.BytesIO) -> None:
        super().__init__(buffer, _PROTOCOL)
        # No memo, else the spelling of two equal strings depends on whether they are one object.
        self.fast = True

    def persistent_id(self, value: Any) -> Any:
        """Spell here what pickle spells unstably, not at all, or without its value."""
        if type(value) in (set, frozenset):
            # Iterated in an order that differs from process to process.
            return type(value).__name__, sorted(map(_spell, value))
        if isinstance(value, memoryview):
            return "memoryview", value.format, value.shape, value.tobytes()
        if isinstance(value, (Promise, QuerySet)):
            # Pickled as a call whose result depends on the active language, and by running the query.
            raise pickle.PicklingError("a lazy value has no spelling of its own")
        if isinstance(value, Field) and not hasattr(value, "model"):
            # The output field of an expression: pickled with the number of fields made before it.
            return type(value), _field_state(value)
        if isinstance(value, (BaseExpression, Node)):
            return type(value), _own_state(value)
        return None


def _own_state(value: Any) -> dict[str, Any]:
    """Return the attributes of an expression without those that it computed and keeps."""
    own = type(value)
    return {
        name: held
        for name, held in vars(value).items()
        if not isinstance(getattr(own, name, None), cached_property)
    }


def _field_state(field: Any) -> dict[str, Any]:
    """Return the attributes that set a field without a model apart from a plain one."""
    return {
        name: held
        for name, held in vars(field).items()
        if name not in _NO_STATE
        and (name not in _OF_A_FIELD or held != _OF_A_FIELD[name])
        and not isinstance(getattr(type(field), name, None), cached_property)
    }


def _spell(value: Any) -> bytes:
    buffer = io.BytesIO()
    _Speller(buffer).dump(value)
    return buffer.getvalue()


def _spell_plain(value: Any) -> bytes:
    """Spell what is made of `PLAIN` as `_spell` does, without asking about each part of it."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, _PROTOCOL)
    pickler.fast = True
    pickler.dump(value)
    return buffer.getvalue()


def digest(value: Any) -> str:
    """Return a hex digest that no other value shares, the same in every process.

    What has no stable spelling gets a random one: its query is never a hit, rather than ever a wrong one.
    """
    try:
        return stable_digest(value)
    except Exception:  # noqa: BLE001 - spelling runs the code of whatever class a backend accepts
        return os.urandom(32).hex()


def stable_digest(value: Any) -> str:
    """Return the same, or raise whatever shows that a value has no stable spelling."""
    return hashlib.sha256(_spell(value)).hexdigest()


def sql_digest(queryset: Any, sql: str, params: Sequence[Any], makers: tuple[Any, ...] = ()) -> str:
    """Return the digest of a queryset's statement, in which SQL and parameters cannot imitate each other.

    The makers of its objects, which are plain values, are a part of it.
    """
    stated = (sql, tuple(params), *makers)
    found = (
        hashlib.sha256(_spell_plain(stated)).hexdigest()
        if PLAIN.issuperset(map(type, params))
        else digest(stated)
    )
    queryset.__dict__[_DIGEST] = found
    return found


def unnamed(queryset: Any) -> str:
    """Return a digest that is never found again, of a queryset whose result is not to be stored."""
    queryset.__dict__[_DIGEST] = UNNAMED
    return os.urandom(32).hex()


def digest_of(queryset: Any) -> str | None:
    """Return the digest that was just made of a queryset's statement, or None; once, for the queryset may change.

    The statement does not say all of a query that is about to be aggregated. UNNAMED is that of one which is not to be stored.
    """
    found: str | None = queryset.__dict__.pop(_DIGEST, None)
    return None if found is not UNNAMED and hasattr(queryset.query, WATCHED) else found


def watching(queryset: Any, expressions: Mapping[str, Any]) -> Any:
    """Return the queryset with expressions that are going to be a part of it, for the analysis to see what is inside them."""
    setattr(queryset.query, WATCHED, tuple(expressions.values()))
    return queryset
