"""What a reader sees: orders that models say, and values that do not come out of a store as they went in."""

from decimal import Decimal
from typing import Any

import pytest
from django.db.models import F, Func, OuterRef, Subquery, Sum
from django.db.models.functions import Coalesce, Random

from rover_overrides.analysis import dependencies
from rover_overrides.cache_keys import watching
from rover_overrides.conditions import TRUE, UNCACHED
from rover_overrides.dependencies import counted
from rover_overrides.survival import survive
from tests.overrides.asked.models import Item, Maker
from tests.overrides.written.models import Book, Shelf

ITEMS, MAKERS = Item._meta.db_table, Maker._meta.db_table


class Cash(Decimal):
    def __new__(cls, value: Any, currency: str = "") -> Any:
        made = super().__new__(cls, value)
        made.currency = currency
        return made


class Coin(Decimal):
    __slots__ = ("currency",)


class Handle:
    def __init__(self, name: str) -> None:
        self.name, self.lock = name, object()

    def __reduce__(self) -> Any:
        return Handle, (self.name,)


def unkept(queryset: Any) -> bool:
    return dependencies(queryset) == {queryset.model._meta.db_table: [UNCACHED]}


@pytest.mark.parametrize(
    "ordering", [["?"], [Random()], [F("name").asc(), Random()], [Func(function="random", template="%(function)s()")]]
)
def test_rows_in_the_random_order_of_their_model_are_not_kept(ordering, monkeypatch):
    monkeypatch.setattr(Maker._meta, "ordering", ordering)
    assert unkept(Maker.objects.all())
    assert unkept(Maker.objects.values("name"))
    assert unkept(Item.objects.filter(maker__in=Maker.objects.reverse()[:2]))
    assert not unkept(Maker.objects.order_by("name"))


def test_rows_in_the_random_order_of_a_related_model_are_not_kept(monkeypatch):
    monkeypatch.setattr(Maker._meta, "ordering", [Random()])
    assert unkept(Item.objects.order_by("maker"))


def test_number_of_rows_in_a_random_order_is_kept(monkeypatch):
    monkeypatch.setattr(Maker._meta, "ordering", ["?"])
    assert not unkept(counted(Maker.objects.all()))
    assert not unkept(watching(Maker.objects.all(), {"sum": Sum("rank")}))
    assert unkept(watching(Maker.objects.all()[:2], {"sum": Sum("rank")}))


def test_rows_depend_on_what_the_order_of_their_model_reads(monkeypatch):
    dearest = Subquery(Item.objects.filter(maker=OuterRef("pk")).order_by("-pk").values("pk")[:1])
    monkeypatch.setattr(Maker._meta, "ordering", [Coalesce(dearest, 0)])
    assert dependencies(Maker.objects.all())[ITEMS] == [TRUE]
    assert ITEMS not in dependencies(Maker.objects.order_by("name"))


def coin(currency: str) -> Coin:
    made = Coin(1)
    made.currency = currency
    return made


@pytest.mark.parametrize(
    ("value", "survives"),
    [(Cash(1), True), (Cash(1, "EUR"), False), (Coin(1), True), (coin("EUR"), False), (Handle("a"), True)],
)
def test_object_that_would_come_back_with_another_value_is_found(value, survives):
    shelf = Shelf(pk=1)
    shelf.price = value
    middle = Book(pk=2, shelf=shelf)
    far = Book(pk=3)
    far._state.fields_cache["other"] = middle
    rows: list[Any] = [[value], [([value],)], [{"prices": {"a": (1, value)}}], [shelf], [middle], [far]]
    assert [survive(some) for some in rows] == [survives] * len(rows)


class Slim(Shelf):
    class Meta:
        proxy = True
        app_label = "written"

    def __getstate__(self) -> Any:
        return {name: held for name, held in super().__getstate__().items() if name != "before"}


def test_model_that_leaves_out_an_attribute_when_it_is_stored_is_found():
    shelf = Slim(pk=1, name="a")
    assert survive([shelf])
    shelf.before = "a"
    assert not survive([shelf])


def test_object_that_cannot_be_stored_is_no_error():
    shelf = Slim(pk=1)
    shelf.after = lambda: 1
    with pytest.warns(RuntimeWarning, match="cannot be stored"):
        assert not survive([shelf])
