"""Parts of dates and times, in the zone that the query took them in."""

import datetime as dt

import pytest

from rover_overrides.conditions.date_parts import part_kind, part_of

LATE = dt.datetime(2024, 12, 31, 23, 30, 15, tzinfo=dt.UTC)
PARTS = [
    ("year@", 2024),
    ("year@Asia/Tokyo", 2025),
    ("iso_year@", 2025),
    ("month@Asia/Tokyo", 1),
    ("day@America/New_York", 31),
    ("week@", 1),
    ("week_day@", 3),
    ("iso_week_day@", 2),
    ("quarter@", 4),
    ("hour@Asia/Tokyo", 8),
    ("minute@Asia/Kathmandu", 15),
    ("second@", 15),
    ("date@Asia/Tokyo", dt.date(2025, 1, 1)),
    ("time@", dt.time(23, 30, 15)),
]


@pytest.mark.parametrize(("part", "value"), PARTS)
def test_part_of_a_moment(part, value):
    assert part_of(LATE, part) == value


@pytest.mark.parametrize(
    ("kind", "part", "expected"),
    [
        ("datetime", "year@", "int"),
        ("datetime", "date@Europe/Prague", "date"),
        ("datetime", "time@", "time"),
        ("date", "week@", "int"),
        ("time", "hour@", "int"),
        ("time", "year@", None),
        ("date", "hour@", None),
        ("date", "date@", None),
        ("duration", "hour@", None),
        ("datetime", "epoch@", None),
        ("datetime", "year@UTC+05:00", None),
        ("datetime", "year@Nowhere/Land", None),
    ],
)
def test_kind_of_a_part(kind, part, expected):
    assert part_kind(kind, part) == expected


@pytest.mark.parametrize("zone", ["Nowhere/Land", "Asia/Tokyo"])
def test_part_that_cannot_be_told_is_an_error_of_value(zone):
    with pytest.raises(ValueError, match="not known"):
        part_of(dt.datetime.max.replace(tzinfo=dt.UTC), f"year@{zone}")
