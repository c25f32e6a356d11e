"""Small pools of values, as Python source, so that matches and near-misses happen; a pool may spell one value in several ways."""

from __future__ import annotations

from random import Random
from typing import Any

TEXT = (
    "'alpha'",
    "'Alpha'",
    "'ALPHA'",
    "'ALPH\\xc1'",
    "'alph\\xe1'",
    "'beta'",
    "'BETA'",
    "'alpha beta'",
    "''",
    "'i'",
    "'I'",
    "'\\u0131'",
    "'\\u0130'",
    "'\\u212a'",
    "'k'",
    "'ss'",
    "'\\xdf'",
    "'50%'",
    "'50x'",
    "'a_b'",
    "'axb'",
    "'a\\\\b'",
    '"it\'s"',
    "'x, y'",
    "'1'",
    "'alpha '",
)
POOLS = {
    "CharField": TEXT,
    "TextField": TEXT,
    "SlugField": ("''", "'alpha'", "'Alpha'", "'beta'", "'x-1'", "'x_1'"),
    "IntegerField": ("-1", "0", "1", "2", "3", "7"),
    "BigIntegerField": (
        "0",
        "1",
        "2**53",
        "2**53 + 1",
        "1700000000000000001",
        "1700000000000000002",
        "-1",
    ),
    "DecimalField": (
        "Decimal('1.5')",
        "Decimal('1.50')",
        "Decimal('2')",
        "Decimal('0')",
        "Decimal('-0.00')",
        "Decimal('100')",
        "1",
    ),
    "FloatField": ("0.0", "-0.0", "1.5", "0.5", "1.0", "-2.25", "1e20"),
    "BooleanField": ("True", "False"),
    "DateField": (
        "date(2024, 2, 29)",
        "date(2024, 12, 30)",
        "date(2025, 1, 1)",
        "date(2023, 12, 31)",
    ),
    "DateTimeField": (
        "at('2024-12-31T23:30:00+00:00')",
        "at('2025-01-01T00:30:00+01:00')",
        "at('2025-01-01T05:00:00+00:00')",
        "at('2024-12-31T22:00:00-07:00')",
        "at('2024-02-29T12:00:00.250000+00:00')",
        "at('2024-07-01T01:59:59+02:00')",
    ),
    "TimeField": ("time(0, 0)", "time(12, 30)", "time(23, 59, 59, 500000)"),
    "DurationField": (
        "timedelta(0)",
        "timedelta(days=1)",
        "timedelta(hours=24)",
        "timedelta(seconds=90)",
    ),
    "UUIDField": (
        "UUID('12345678-1234-5678-1234-567812345678')",
        "UUID('00000000-0000-0000-0000-0000000000aa')",
        "UUID(int=1)",
    ),
    "JSONField": (
        "{}",
        "{'a': 1}",
        "{'a': 1.0}",
        "{'a': None}",
        "{'a': {'b': 'x'}}",
        "[1, 2]",
        "'a'",
        "1",
        "{'b': 'alpha', 'a': 2}",
    ),
    "ArrayField": ("[]", "['a']", "['a', 'b']", "['A', \"it's\"]"),
}
"""What is written into a column of that kind."""

SPELLINGS = {
    "IntegerField": ("'1'", "1.0", "True", "'2'"),
    "BigIntegerField": ("'1700000000000000001'", "float(2**53)"),
    "DecimalField": ("'1.5'", "'1.50'", "'1.500'", "1.5", "2"),
    "FloatField": ("'1.5'", "1", "0", "'-0.0'"),
    "BooleanField": ("1", "0", "'True'"),
    "DateField": ("'2024-02-29'", "'2025-01-01'"),
    "DateTimeField": ("'2025-01-01T00:30:00+01:00'", "'2024-12-31 23:30:00Z'"),
    "TimeField": ("'12:30'",),
    "DurationField": ("'1 00:00:00'",),
    "UUIDField": ("'12345678123456781234567812345678'", "'12345678-1234-5678-1234-567812345678'"),
    "CharField": ("1", "Mood.LOUD", "Mood.CALM"),
    "TextField": ("1", "Mood.LOUD"),
}
"""Other spellings that a query may give for a value of that kind."""

PATTERNS = ("'^alpha'", "'A'", "'[ab]'", "'beta$'", "'^$'", "'.'")
PARTS = {
    "year": ("2024", "2025", "2023"),
    "iso_year": ("2024", "2025"),
    "month": ("1", "2", "12", "7"),
    "day": ("1", "29", "31"),
    "week": ("1", "9", "52"),
    "week_day": ("1", "3", "5"),
    "iso_week_day": ("3", "7"),
    "quarter": ("1", "4"),
    "hour": ("0", "12", "23", "5"),
    "minute": ("0", "30", "59"),
    "second": ("0", "59"),
    "date": POOLS["DateField"],
    "time": POOLS["TimeField"],
}
DATE_PARTS = ("year", "iso_year", "month", "day", "week", "week_day", "iso_week_day", "quarter")
TIME_PARTS = ("hour", "minute", "second")


def stored(rng: Random, field: Any) -> str:
    """Return the source of a value to write into a column that is no relation."""
    kind = field.get_internal_type()
    if field.name == "mood":
        return rng.choice(("'calm'", "'Loud'", "Mood.LOUD", "Mood.CALM"))
    if field.null and rng.random() < 0.2:
        return "None"
    return rng.choice(POOLS[kind])


def operand(rng: Random, field: Any) -> str:
    """Return the source of a value to compare a column with, perhaps in another spelling."""
    kind = field.get_internal_type()
    if field.name == "mood":
        return rng.choice(("'calm'", "'Loud'", "Mood.LOUD", "Mood.CALM", "'loud'"))
    if kind in SPELLINGS and rng.random() < 0.25:
        return rng.choice(SPELLINGS[kind])
    return rng.choice(POOLS[kind])


COUNTS = {
    "Country": 3,
    "Region": 5,
    "Author": 6,
    "Category": 6,
    "Item": 12,
    "ItemProxy": 12,
    "Special": 12,
    "Detail": 4,
    "Comment": 9,
    "Role": 4,
}
"""How many rows of a model there are at first; their keys count from 1."""


def keys(rng: Random, model: Any, number: int = 1, beyond: float = 0.05) -> list[int]:
    """Return keys of a model, nearly always of rows that were there at first."""
    first = 11 if model.__name__ == "Special" and rng.random() < 0.8 else 1
    last = COUNTS[model.__name__] + (rng.random() < beyond)
    found = range(first, last + 1)
    return rng.sample(found, min(number, len(found)))


def key(rng: Random, model: Any) -> int:
    """Return one key."""
    return keys(rng, model)[0]
