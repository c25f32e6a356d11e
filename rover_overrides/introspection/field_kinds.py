"""What is known of Django's field types: what they store, and how their values compare.

Fields are known by their internal type (`Field.get_internal_type()`). A type that is not here is
unknown: its values are neither compared nor taken for what is stored.
"""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from typing import NamedTuple


class FieldKind(NamedTuple):
    """What is known of one internal type."""

    stored_type: type
    """The exact type of a value that is prepared for the database."""
    kind: str | None
    """How values compare (see `canonical_values`), or None if they do not with certainty."""


_INTEGER = FieldKind(int, "int")
_BOOLEAN = FieldKind(bool, "bool")
_TEXT = FieldKind(str, "text")
_FILE = FieldKind(str, None)

FIELD_KINDS = {
    "AutoField": _INTEGER,
    "BigAutoField": _INTEGER,
    "BigIntegerField": _INTEGER,
    "BooleanField": _BOOLEAN,
    "CharField": _TEXT,
    "DateField": FieldKind(dt.date, "date"),
    "DateTimeField": FieldKind(dt.datetime, "datetime"),
    "DecimalField": FieldKind(decimal.Decimal, "decimal"),
    "DurationField": FieldKind(dt.timedelta, "duration"),
    "FileField": _FILE,
    "FilePathField": _FILE,
    "FloatField": FieldKind(float, "float"),
    "GenericIPAddressField": FieldKind(str, "ip"),
    "IntegerField": _INTEGER,
    "NullBooleanField": _BOOLEAN,
    "PositiveBigIntegerField": _INTEGER,
    "PositiveIntegerField": _INTEGER,
    "PositiveSmallIntegerField": _INTEGER,
    "SlugField": _TEXT,
    "SmallAutoField": _INTEGER,
    "SmallIntegerField": _INTEGER,
    "TextField": _TEXT,
    "TimeField": FieldKind(dt.time, "time"),
    "UUIDField": FieldKind(uuid.UUID, "uuid"),
}

TEXT_TYPES = frozenset(name for name, kind in FIELD_KINDS.items() if kind in {_TEXT, _FILE})
"""The internal types that are stored as text, under the collation of their column."""
