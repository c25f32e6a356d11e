"""Canonical text of column values: the same for a query's operand and for a written row.

A *kind* is how the values of a column compare. If a column's kind is unknown here, or a value has
no certain canonical text, the condition is left out: the query then depends on more rows.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import uuid
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from cacheops.conf import settings as cacheops_settings
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import Field
from django.utils import timezone

from rover_overrides.core.switches import is_enabled
from rover_overrides.introspection.django_classes import (
    cached_by_identity,
    is_django_field,
    resolve_target,
)
from rover_overrides.introspection.field_kinds import FIELD_KINDS


class NotComparableError(Exception):
    """The value has no canonical text on which every database agrees."""


# Kinds with several ways to write the same value, such as 1.0 and 1.00.
_CANONICAL_ONLY = frozenset({"decimal", "float", "datetime", "time", "duration", "ip"})


def kind_of(field: Field[Any, Any]) -> str | None:
    """Return the kind of a column, or None if its values cannot be compared with certainty."""
    kind, internal = _kind_of(field)
    if kind is None or (kind in _CANONICAL_ONLY and not is_enabled("canonical-values")):
        return None
    # The setting lists internal types of fields whose values conditions must not compare.
    return None if internal in cacheops_settings.CACHEOPS_SKIP_FIELDS else kind


def settings_in_effect() -> tuple[bool, tuple[str, ...]]:
    """Return the settings that `kind_of` depends on."""
    return is_enabled("canonical-values"), tuple(cacheops_settings.CACHEOPS_SKIP_FIELDS)


@cached_by_identity
def _kind_of(field: Field[Any, Any]) -> tuple[str | None, str]:
    """Return the kind and the internal type of a field; for a foreign key, those of its target."""
    last = resolve_target(field)
    internal = last.get_internal_type()
    # Under a collation, texts may be equal that differ here.
    plain = getattr(last, "db_collation", None) is None and _is_stored_as_django(field)
    known = FIELD_KINDS.get(internal)
    return (known.kind if plain and known else None), internal


def _is_stored_as_django(field: Field[Any, Any]) -> bool:
    """Return whether the field stores and loads values as Django's own, and is not generated."""
    return is_django_field(field) and not getattr(resolve_target(field), "generated", False)


def stores_none_as_null(field: Field[Any, Any]) -> bool:
    """Return whether None, and nothing else, means NULL in a column.

    This does not hold for JSON, file and custom fields.
    """
    known = FIELD_KINDS.get(_kind_of(field)[1])
    return known is not None and known.kind is not None and _is_stored_as_django(field)


def to_comparable(field: Field[Any, Any], kind: str, value: Any) -> Any:
    """Return the value in a form that compares in Python as it compares in the database.

    Raises NotComparableError if that is not certain.
    """
    return converter_of(kind)(field, value)


def converter_of(kind: str) -> Callable[[Any, Any], Any]:
    """Return `to_comparable` for values of one kind, a function of the field and the value."""
    convert = _CONVERTERS[kind]

    def to_comparable_of_kind(field: Any, value: Any) -> Any:
        try:
            return convert(field, value)
        except (TypeError, ValueError, OverflowError, InvalidOperation, ValidationError) as error:
            raise NotComparableError from error

    return to_comparable_of_kind


def max_digits(field: Field[Any, Any]) -> int:
    """Return how many digits a decimal column has, or 0 if that is unknown."""
    return int(getattr(resolve_target(field), "max_digits", None) or 0)


def encode_value(kind: str, value: Any) -> str:
    """Return the canonical text of a comparable value."""
    return encoder_of(kind)(value)


def encoder_of(kind: str) -> Callable[[Any], str]:
    """Return `encode_value` for values of one kind."""
    return _ENCODERS.get(kind, str)


def decoder_of(kind: str) -> Callable[[str], Any]:
    """Return a function from the canonical text of a value of one kind to the value."""
    return _DECODERS[kind]


def _require(condition: bool) -> None:
    if not condition:
        raise NotComparableError


def _int(_field: Field[Any, Any], value: Any) -> int:
    number = int(value)
    # Reject a number with a fraction, which int() truncates.
    _require(isinstance(value, str) or number == value)
    return number


def _bool(_field: Field[Any, Any], value: Any) -> bool:
    _require(value in (True, False))
    return bool(value)


def _text(_field: Field[Any, Any], value: Any) -> str:
    _require(isinstance(value, str))
    # NOTE: for an Enum that is also a str, drivers send the value, but str() returns the name
    text = str.__str__(value)
    text.encode()  # raises UnicodeEncodeError for a lone surrogate
    return text


def _decimal(field: Any, value: Any) -> Decimal:
    number = field.to_python(value)
    _require(number.is_finite())
    places = getattr(resolve_target(field), "decimal_places", None)
    # If a value has more places than the column, some databases compare all, others round first.
    _require(places is None or number == round(number, places))
    plain = number.normalize() + 0 if number else Decimal(0)
    _require(plain == number)  # the decimal context may have rounded it
    return plain


def _float(_field: Field[Any, Any], value: Any) -> float:
    number = float(value)
    _require(number == number)  # noqa: PLR0124 (false for NaN)
    return number + 0.0  # turns -0.0 into 0.0


def _date(_field: Field[Any, Any], value: Any) -> dt.date:
    _require(isinstance(value, dt.date) and not isinstance(value, dt.datetime))
    return value  # type: ignore[no-any-return]


def _datetime(_field: Field[Any, Any], value: Any) -> dt.datetime:
    _require(isinstance(value, dt.datetime))
    if settings.USE_TZ:
        # Django too takes a naive value for one in the default time zone.
        aware = (
            timezone.make_aware(value, timezone.get_default_timezone())
            if timezone.is_naive(value)
            else value
        )
        return aware.astimezone(dt.timezone.utc)
    _require(timezone.is_naive(value))
    return value  # type: ignore[no-any-return]


def _time(_field: Field[Any, Any], value: Any) -> dt.time:
    _require(isinstance(value, dt.time) and value.tzinfo is None)
    return value  # type: ignore[no-any-return]


def _duration(_field: Field[Any, Any], value: Any) -> int:
    _require(isinstance(value, dt.timedelta))
    return value // dt.timedelta(microseconds=1)  # type: ignore[no-any-return]


def _uuid(_field: Field[Any, Any], value: Any) -> uuid.UUID:
    return value if isinstance(value, uuid.UUID) else uuid.UUID(value)


def _ip(field: Field[Any, Any], value: Any) -> str:
    # NOTE: with `unpack_ipv4` the field stores an IPv4-mapped IPv6 address as IPv4
    return str(ipaddress.ip_address(resolve_target(field).get_prep_value(value)))


COMPARABLE_AS_IS: dict[str, type] = {
    "int": int,
    "bool": bool,
    "date": dt.date,
    "uuid": uuid.UUID,
}
"""The exact type whose values are comparable as they are, by kind."""

_CONVERTERS: dict[str, Callable[[Any, Any], Any]] = {
    "int": _int,
    "bool": _bool,
    "text": _text,
    "decimal": lambda field, value: _decimal(resolve_target(field), value),
    "float": _float,
    "date": _date,
    "datetime": _datetime,
    "time": _time,
    "duration": _duration,
    "uuid": _uuid,
    "ip": _ip,
}
_ENCODERS: dict[str, Callable[[Any], str]] = {
    "bool": lambda value: str(int(value)),
    "date": dt.date.isoformat,
    "datetime": dt.datetime.isoformat,
    "time": dt.time.isoformat,
    "float": float.hex,
    "decimal": lambda number: format(number, "f"),
    "uuid": lambda value: value.hex,
}
_DECODERS: dict[str, Callable[[str], Any]] = {
    "int": int,
    "bool": lambda text: bool(int(text)),
    "text": str,
    "decimal": Decimal,
    "float": float.fromhex,
    "date": dt.date.fromisoformat,
    "datetime": dt.datetime.fromisoformat,
    "time": dt.time.fromisoformat,
    "duration": int,
    "uuid": uuid.UUID,
    "ip": str,
}
