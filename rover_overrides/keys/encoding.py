"""Cache keys that preserve the types and the boundaries of a query's parameters."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from binascii import b2a_base64
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Field, QuerySet
from django.db.models.expressions import BaseExpression
from django.utils.functional import Promise, cached_property
from django.utils.tree import Node

from rover_overrides.keys.query_state import state_of, update_state

_DIGEST = "_rover_digest"
UNSTORABLE = "unnamed"

# Pinned, so that processes with different Python versions compute the same key.
_PROTOCOL = 4
PLAIN = frozenset({type(None), bool, int, float, str, bytes, Decimal, date, UUID})
"""Types that `_StablePickler` serialises as pickle does."""

_NEW_FIELD_STATE = vars(Field())
_NO_STATE = frozenset({"creation_counter", "error_messages", "validators"})


class _StablePickler(pickle.Pickler):
    """Serialise values so that equal bytes mean equal values: pickled bytes can be read back."""

    def __init__(self, buffer: io.BytesIO) -> None:
        super().__init__(buffer, _PROTOCOL)
        # No memo, else the bytes of two equal strings depend on whether they are one object.
        self.fast = True

    def persistent_id(self, value: Any) -> Any:
        """Serialise what pickle serialises unstably, not at all, or without its value."""
        if type(value) in (set, frozenset):
            # The iteration order differs between processes.
            return type(value).__name__, sorted(map(_stable_bytes, value))
        if isinstance(value, memoryview):
            return "memoryview", value.format, value.shape, value.tobytes()
        if isinstance(value, (Promise, QuerySet)):
            # A lazy text depends on the active language; pickling a queryset runs its query.
            raise pickle.PicklingError("a lazy value has no spelling of its own")
        if isinstance(value, Field) and not hasattr(value, "model"):
            # The output field of an expression. Its pickle has the number of fields made before it.
            return type(value), _field_state(value)
        if isinstance(value, (BaseExpression, Node)):
            return type(value), _own_state(value)
        return None


def _own_state(value: Any) -> dict[str, Any]:
    """Return the attributes of an expression, without its cached properties."""
    own = type(value)
    return {
        name: held
        for name, held in vars(value).items()
        if not isinstance(getattr(own, name, None), cached_property)
    }


def _field_state(field: Any) -> dict[str, Any]:
    """Return the attributes that distinguish a field without a model from a plain `Field()`."""
    return {
        name: held
        for name, held in vars(field).items()
        if name not in _NO_STATE
        and (name not in _NEW_FIELD_STATE or held != _NEW_FIELD_STATE[name])
        and not isinstance(getattr(type(field), name, None), cached_property)
    }


def _stable_bytes(value: Any) -> bytes:
    buffer = io.BytesIO()
    _StablePickler(buffer).dump(value)
    return buffer.getvalue()


def _plain_bytes(value: Any) -> bytes:
    """Serialise what consists of `PLAIN` types as `_stable_bytes` does, but faster."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, _PROTOCOL)
    pickler.fast = True
    pickler.dump(value)
    return buffer.getvalue()


def short_name(digest: str) -> str:
    """Return the 22 characters that name the first 128 bits of a hex digest in a key."""
    return b2a_base64(bytes.fromhex(digest[:32]))[:22].replace(b"/", b"_").decode()


def digest(value: Any) -> str:
    """Return a hex digest that no other value shares, the same in every process.

    What has no stable serialisation gets a random digest: never a cache hit, rather than a wrong
    one.
    """
    try:
        return stable_digest(value)
    except Exception:  # noqa: BLE001 - serialising runs the code of any class a backend accepts
        return os.urandom(32).hex()


def stable_digest(value: Any) -> str:
    """Return what `digest` does, or raise if a value has no stable serialisation."""
    return hashlib.sha256(_stable_bytes(value)).hexdigest()


def statement_digest(sql: str, params: tuple[Any, ...], names: tuple[Any, ...]) -> str:
    """Return the digest of a statement and of the plain values that identify what makes objects.

    SQL and parameters cannot be mistaken for each other.
    """
    stated = (sql, params, *names)
    if PLAIN.issuperset(map(type, params)):
        return hashlib.sha256(_plain_bytes(stated)).hexdigest()
    return digest(stated)


def note_digest(queryset: Any, found: str) -> str:
    """Note a digest on its queryset for `pop_digest`, and return it."""
    queryset.__dict__[_DIGEST] = found
    return found


def unstorable_digest(queryset: Any) -> str:
    """Return a random digest for a queryset, and note on it that its result must not be stored."""
    queryset.__dict__[_DIGEST] = UNSTORABLE
    return os.urandom(32).hex()


def pop_digest(queryset: Any) -> str | None:
    """Return and remove the digest noted on a queryset, or None.

    It is removed because the queryset may change.
    A query that is about to be aggregated has none, because its statement lacks the aggregates.
    UNSTORABLE means that the result must not be stored.
    """
    found: str | None = queryset.__dict__.pop(_DIGEST, None)
    has_aggregates = state_of(queryset.query).aggregates is not None
    return None if found is not UNSTORABLE and has_aggregates else found


def with_aggregates(queryset: Any, expressions: Mapping[str, Any]) -> Any:
    """Return the queryset, with expressions attached that the analysis takes as part of it."""
    update_state(queryset.query, aggregates=tuple(expressions.values()))
    return queryset
