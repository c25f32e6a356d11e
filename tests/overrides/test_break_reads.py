"""What a reader sees: orders that models say."""

from typing import Any

import pytest
from django.db.models import F, Func, OuterRef, Subquery, Sum
from django.db.models.functions import Coalesce, Random

from rover_overrides.analysis import dependencies
from rover_overrides.cache_keys import watching
from rover_overrides.conditions import TRUE, UNCACHED
from rover_overrides.dependencies import counted
from tests.overrides.asked.models import Item, Maker

ITEMS, MAKERS = Item._meta.db_table, Maker._meta.db_table


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
