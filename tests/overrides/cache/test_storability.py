"""Results whose objects would come out of the cache with less than they went in are not stored."""

import datetime as dt
from decimal import Decimal
from types import SimpleNamespace

import pytest

from rover_overrides.cache.storability import is_storable
from tests.support.write_models.models import Book, Shelf


class Cash(Decimal):
    pass


class Name(str):  # noqa: SLOT000 - with attributes
    pass


class Day(dt.date):
    pass


class Money:
    def __init__(self):
        self.kept, self.dropped = 1, 2

    def __getstate__(self):
        return {"kept": 1}


def marked(value, **attributes):
    for name, own in attributes.items():
        setattr(value, name, own)
    return value


@pytest.mark.parametrize(
    ("value", "survives"),
    [
        (1, True),
        ("text", True),
        (Decimal("1.5"), True),
        ([1, {"a": 2}], True),
        (SimpleNamespace(a=1), True),
        (Name("a"), True),
        (marked(Name("a"), lang="en"), True),
        (Cash(1), True),
        (marked(Cash(1), currency="EUR"), False),
        (marked(Day(2020, 1, 1), holiday=True), False),
        (Money(), False),
    ],
)
def test_object_that_would_lose_an_attribute_is_found(value, survives):
    book = marked(Book(pk=1, title="One"), price=value)
    shelf = marked(Shelf(pk=1), name=value)
    owner = Book(pk=2, shelf=shelf)
    rows = [[book], [(1, value)], [{"price": value}], [value], [owner], [Book(pk=3), book]]
    assert [is_storable(some) for some in rows] == [survives] * len(rows)
