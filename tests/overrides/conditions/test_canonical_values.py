"""How values are spelled, and which have no certain spelling."""

import datetime as dt
import enum
import uuid
from decimal import Decimal, localcontext

import pytest
from django.db import models
from django.test import override_settings

from rover_overrides.conditions.canonical_values import (
    NotComparableError,
    decoder_of,
    encode_value,
    kind_of,
    stores_none_as_null,
    to_comparable,
)
from tests.support.query_models.models import Document, Item

UTC = dt.UTC
NOON = dt.datetime(2024, 6, 1, 12, tzinfo=UTC)


class Code(str, enum.Enum):
    RED = "red"


class Upper(models.CharField):
    def get_prep_value(self, value):
        return value.upper()


def field(name):
    return Item._meta.get_field(name)


def spelled(name, value):
    kind = kind_of(field(name))
    return encode_value(kind, to_comparable(field(name), kind, value))


SAME = [
    ("number", [1, "1", 1.0, True, Decimal(1)]),
    ("amount", [Decimal("1.5"), "1.50", 1.5, Decimal("1.500")]),
    ("amount", [0, "-0.00", Decimal(0), Decimal("-0")]),
    ("amount", [100, Decimal("1E+2"), "100.00"]),
    ("ratio", [0.0, -0.0, 0, "0"]),
    ("ratio", [1.5, "1.50", Decimal("1.5")]),
    ("flag", [True, 1]),
    ("text", ["red", Code.RED]),
    (
        "moment",
        [
            NOON,
            NOON.astimezone(dt.timezone(dt.timedelta(hours=9))),
            NOON.astimezone(dt.timezone(-dt.timedelta(hours=3))),
        ],
    ),
    ("span", [dt.timedelta(hours=1), dt.timedelta(minutes=60)]),
    ("uid", [uuid.UUID(int=1), str(uuid.UUID(int=1)), uuid.UUID(int=1).hex]),
    ("address", ["2001:DB8::0:1", "2001:db8::1", "2001:0db8::0001"]),
    ("address", ["10.0.0.1", "::ffff:10.0.0.1"]),
    ("owner", [1, "1"]),
]


@pytest.mark.parametrize(("name", "values"), SAME)
def test_spellings_of_one_value_are_one(name, values):
    assert len({spelled(name, value) for value in values}) == 1


@pytest.mark.parametrize(("name", "values"), SAME)
def test_spelling_is_read_back(name, values):
    kind = kind_of(field(name))
    for value in values:
        assert decoder_of(kind)(spelled(name, value)) == to_comparable(field(name), kind, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("number", 1.5),
        ("number", "one"),
        ("number", float("inf")),
        ("amount", "1.505"),
        ("amount", Decimal("NaN")),
        ("amount", Decimal("Infinity")),
        ("ratio", float("nan")),
        ("flag", "yes"),
        ("flag", 2),
        ("text", 1),
        ("text", b"red"),
        ("text", "\ud800"),
        ("moment", "2024-06-01"),
        ("moment", dt.date(2024, 6, 1)),
        ("day", NOON),
        ("day", "2024-06-01"),
        ("clock", dt.time(12, tzinfo=UTC)),
        ("span", 60),
        ("uid", "no uuid"),
        ("address", "nowhere"),
    ],
)
def test_value_without_a_certain_spelling(name, value):
    with pytest.raises(NotComparableError):
        spelled(name, value)


def test_decimal_is_not_rounded_by_the_context():
    with localcontext() as context:
        context.prec = 3
        with pytest.raises(NotComparableError):
            spelled("amount", Decimal("1234.56"))


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (models.CharField(), "text"),
        (models.EmailField(), "text"),
        (models.CharField(db_collation="NOCASE"), None),
        (Upper(), None),
        (models.FileField(), None),
        (models.JSONField(), None),
        (models.BinaryField(), None),
        (field("owner"), "int"),
    ],
)
def test_kind_is_known_of_djangos_own_columns(made, kind):
    assert kind_of(made) == kind


def test_switched_off_only_plain_kinds_are_known():
    with override_settings(CACHEOPS_ROVER_OFF=("canonical-values",)):
        known = {
            name: kind_of(field(name))
            for name in (
                "number",
                "text",
                "uid",
                "day",
                "flag",
                "amount",
                "ratio",
                "moment",
                "address",
            )
        }
    assert [name for name, kind in known.items() if kind] == [
        "number",
        "text",
        "uid",
        "day",
        "flag",
    ]


@pytest.mark.parametrize(
    ("made", "tells"),
    [
        (models.CharField(), True),
        (models.CharField(db_collation="NOCASE"), True),
        (field("owner"), True),
        (Document._meta.get_field("data"), False),  # None may be the null of JSON
        (Document._meta.get_field("file"), False),  # NULL is a file without a name
        (Upper(), False),
    ],
)
def test_none_tells_null_of_djangos_own_columns(made, tells):
    assert stores_none_as_null(made) is tells
