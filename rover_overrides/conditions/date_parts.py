"""Parts of dates and times as Django's transforms extract them: `year@`, `date@Europe/Prague`."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import django

_OF_DATE: dict[str, Callable[[Any], int]] = {
    "year": lambda day: int(day.year),
    "iso_year": lambda day: int(day.isocalendar()[0]),
    "month": lambda day: int(day.month),
    "day": lambda day: int(day.day),
    "week": lambda day: int(day.isocalendar()[1]),
    "week_day": lambda day: int(day.isoweekday()) % 7 + 1,  # 1 is Sunday
    "iso_week_day": lambda day: int(day.isoweekday()),
    "quarter": lambda day: (int(day.month) + 2) // 3,
}
_OF_TIME: dict[str, Callable[[Any], int]] = {
    "hour": lambda moment: int(moment.hour),
    "minute": lambda moment: int(moment.minute),
    # Before 4.2, Django has PostgreSQL compare the fraction too.
    **({"second": lambda moment: int(moment.second)} if django.VERSION >= (4, 2) else {}),
}
_OF_DATETIME: dict[str, Callable[[dt.datetime], Any]] = {
    "date": dt.datetime.date,
    "time": dt.datetime.time,
}
_ALL: dict[str, Callable[[Any], Any]] = {**_OF_DATE, **_OF_TIME, **_OF_DATETIME}


def part_kind(kind: str, part: str) -> str | None:
    """Return the kind of a part of a column, or None if there is no such part or time zone."""
    name, _, zone = part.partition("@")
    if zone and not _is_known(zone):
        return None
    if name in _OF_DATETIME:
        return name if kind == "datetime" else None
    known = (kind in {"date", "datetime"} and name in _OF_DATE) or (
        kind in {"time", "datetime"} and name in _OF_TIME
    )
    return "int" if known else None


@functools.cache
def _is_known(zone: str) -> bool:
    try:
        return bool(ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False


def part_of(value: Any, part: str) -> Any:
    """Return a part of a comparable date, time or datetime; raise ValueError if it has none."""
    name, _, zone = part.partition("@")
    try:
        return _ALL[name](value.astimezone(ZoneInfo(zone)) if zone else value)
    except (ZoneInfoNotFoundError, OverflowError, OSError) as error:
        raise ValueError(f"not known in {zone}: {value}") from error
