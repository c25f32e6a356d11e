"""Which columns of its tables a query reads; all of them where it is not wholly understood."""

import json

import pytest
from django.db.models import (
    Case,
    Count,
    Exists,
    F,
    Func,
    IntegerField,
    OuterRef,
    Q,
    Subquery,
    Sum,
    Value,
    When,
)
from django.db.models.expressions import RawSQL

from rover_overrides.conditions.conditions import READS
from rover_overrides.queries.analysis import dependencies
from tests.support.query_models.models import Item, Maker, Owner, Tag

ITEM, OWNER, MAKER, TAG = (model._meta.db_table for model in (Item, Owner, Maker, Tag))
ALL = {"*"}
NAMED = Item.objects.filter(owner__name="x")


def columns_read(queryset, purpose="rows"):
    """Return by table the columns that any of its conditions says are read."""
    return {
        table: set().union(*map(_said, conjs))
        for table, conjs in dependencies(queryset, purpose).items()
    }


def _said(conj):
    return next(
        (set(item[4]) for item in json.loads(conj.template or "[]") if item[3] == READS), ALL
    )


class Plus(Func):
    """An expression of the application's own."""

    template = "%(expressions)s + number"


CASES = {
    "objects": (NAMED, {ITEM: ALL, OWNER: {"id", "name"}}),
    "values": (NAMED.values_list("text"), {ITEM: {"text", "owner_id"}, OWNER: {"id", "name"}}),
    "values of a joined row": (
        Item.objects.values("maker__name"),
        {ITEM: {"made_by"}, MAKER: {"id", "name"}},
    ),
    "order": (
        NAMED.order_by("-day", "pk").values("text"),
        {ITEM: {"id", "text", "day", "owner_id"}, OWNER: {"id", "name"}},
    ),
    "order by a key": (
        Item.objects.order_by("maker_id").values("text"),
        {ITEM: {"text", "made_by"}},
    ),
    "order by a relation": (
        Item.objects.order_by("owner__name").values("text"),
        {ITEM: ALL, OWNER: ALL},
    ),
    "expression": (Item.objects.values(n=F("number") + 1), {ITEM: {"number"}}),
    "case": (
        Item.objects.values(
            n=Case(
                When(Q(text="x"), then=Value(1)), default=F("number"), output_field=IntegerField()
            )
        ),
        {ITEM: {"text", "number"}},
    ),
    "group": (
        Item.objects.values("text").annotate(n=Sum("number")).order_by("text"),
        {ITEM: {"text", "number"}},
    ),
    "columns compared": (
        Item.objects.filter(text=F("body")).values("pk"),
        {ITEM: {"id", "text", "body"}},
    ),
    "outer column": (
        Owner.objects.values("pk").annotate(
            n=Subquery(
                Item.objects.filter(text=OuterRef("name")).order_by("day").values("number")[:1]
            )
        ),
        {OWNER: {"id", "name"}, ITEM: {"text", "day", "number"}},
    ),
    "many to many": (Tag.objects.filter(items__number=1), {TAG: ALL, ITEM: {"id", "number"}}),
    "exists": (
        Owner.objects.filter(Exists(Item.objects.filter(owner=OuterRef("pk"), number=1))),
        {OWNER: ALL, ITEM: {"number", "owner_id"}},
    ),
    "select related": (Item.objects.select_related("owner"), {ITEM: ALL, OWNER: ALL}),
    "raw SQL": (Item.objects.filter(pk__in=RawSQL("SELECT 1", ())).values("text"), {ITEM: ALL}),
    "extra": (Item.objects.extra(where=["number = 1"]).values("text"), {ITEM: ALL}),
    "expression of its own": (
        Item.objects.values(n=Plus("ratio", output_field=IntegerField())),
        {ITEM: ALL},
    ),
    "template of its own": (
        Item.objects.values(
            n=Func("ratio", template="%(expressions)s + number", output_field=IntegerField())
        ),
        {ITEM: ALL},
    ),
    "union": (
        Item.objects.values("text").union(Item.objects.values("body")),
        {ITEM: {"text", "body"}},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_columns_that_a_query_reads(case):
    queryset, expected = CASES[case]
    found = columns_read(queryset)
    assert {table: found[table] for table in expected} == expected


COUNTED = {
    "plain": (NAMED, {ITEM: {"owner_id"}, OWNER: {"id", "name"}}),
    "distinct": (NAMED.distinct(), {ITEM: ALL, OWNER: {"id", "name"}}),
    "grouped": (Item.objects.values("text").annotate(n=Count("pk")), {ITEM: {"text", "id"}}),
}


@pytest.mark.parametrize("case", COUNTED)
def test_columns_that_a_count_reads(case):
    queryset, expected = COUNTED[case]
    found = columns_read(queryset, "count")
    assert {table: found[table] for table in expected} == expected


def test_sample_of_a_function_reads_all_columns():
    assert columns_read(NAMED.values("text"), "sample") == {ITEM: ALL, OWNER: ALL}
